"""Events go to the ledger over HTTP, by the client that every emitter may use."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from ledger_client.errors import Conflict, Forbidden, LedgerError, NoSuchLedger, Refused, Unauthorized
from ledger_client.ledger import Ledger, Recorded
from ledger_client.retries import Retries
from services.receiver.bodies import Objection
from services.receiver.private_files import PrivateFileUnusable, key_of

PATIENCE_SECONDS = 4.0  # A sender waits meanwhile, and most of them for ten seconds at most.


class Away(Exception):
    """The ledger cannot be reached. The events may or may not be recorded. `problem`: the kind that comes nearest."""

    problem = "unavailable"


class Barred(Away):
    """The ledger takes nothing from this key, until somebody mends the key or the hook. Nothing was recorded."""

    def __init__(self, problem: str, reason: str) -> None:
        super().__init__(reason)
        self.problem = problem


class NotRecorded(Exception):
    """The ledger refuses the events, all of them. `status`: 409 where an id was recorded with other content."""

    def __init__(self, status: int, objections: list[Objection]) -> None:
        super().__init__("; ".join(each.message for each in objections))
        self.status = status
        self.objections = objections


class Ledgers:
    """The ledgers of one service, each reached by a key in a file, which is read again for each request."""

    def __init__(self, url: str, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._url = url
        self._retries = Retries(deadline_seconds=patience_seconds, attempt_seconds_max=patience_seconds)
        self._open: dict[tuple[str, Path], Ledger] = {}

    async def __aenter__(self) -> "Ledgers":
        self._stack = AsyncExitStack()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def record(self, ledger: str, key_file: Path, events: list[dict[str, Any]]) -> list[Recorded]:
        """Record events as one unit. Raises Away, Barred among them, and NotRecorded."""
        try:
            await asyncio.to_thread(key_of, key_file)
        except PrivateFileUnusable as error:
            raise Barred("unauthorized", f"the file of the key {key_file.name} {error}") from error
        if (ledger, key_file) not in self._open:
            self._open[ledger, key_file] = await self._stack.enter_async_context(
                Ledger(self._url, key_file, ledger=ledger, retries=self._retries)
            )
        try:
            return await self._open[ledger, key_file].post(events)
        except (Refused, Conflict, Forbidden) as error:
            objections = [
                Objection(spot.message, event=_id(events, spot.index), pointer=spot.pointer) for spot in error.errors
            ]
            if isinstance(error, Forbidden) and not objections:
                raise Barred("forbidden", f"the key {key_file.name} may not: {error}") from error
            # Another body may be about what the key is granted: this one holds up none of them.
            status = 409 if isinstance(error, Conflict) else 422
            raise NotRecorded(status, objections or [Objection(str(error))]) from error
        except Unauthorized as error:
            raise Barred("unauthorized", f"the key {key_file.name} is not valid: {error}") from error
        except NoSuchLedger as error:
            raise Barred("no-such-ledger", str(error)) from error
        except LedgerError as error:
            raise Away(str(error)) from error
        except ValueError as error:
            # More than one request may hold.
            raise NotRecorded(422, [Objection(str(error))]) from error


def _id(events: list[dict[str, Any]], index: int) -> str | None:
    return str(events[index].get("id")) if 0 <= index < len(events) else None
