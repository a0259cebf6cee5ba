"""The audit of a ledger over HTTP alone: its checkpoint, its keys and its entries, as any outsider gets them; and the
digests of its read models, where the projector can be asked."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple

import aiohttp
import msgspec
from msgspec import Struct

from services.auditor.checkpoints import KeptCheckpoint
from services.auditor.digests import Kept, Replay
from services.auditor.findings import Finding, KeysTried, Progress
from services.auditor.imports import Import
from services.auditor.log import Stored, Walk
from services.auditor.outside import Stamped
from services.auditor.read_models import fold
from services.proof.checkpoint import Checkpoint
from services.proof.note import Note
from services.proof.tiles import ENTRIES, WIDTH, Tile, split_bundle

AT_ONCE = 4
SECONDS_MAX = 60
TOLD_OCTETS_MAX = 300
NONE_THERE = 404


class _ProjectionShown(Struct):
    digest_note: str | None


class _ProjectionList(Struct):
    projections: list[_ProjectionShown]


class HttpError(Exception):
    """The ledger does not answer as it should; the text says how."""


class OverHttp:
    """A ledger as its HTTP interface shows it, up to its latest checkpoint."""

    is_database = False
    reached: Mapping[str, int] = {}
    keys_tried: KeysTried | None = None

    def __init__(
        self, session: aiohttp.ClientSession, ledger: str, url: str, checkpoint: str, projector_url: str | None
    ) -> None:
        self.ledger = ledger
        self.origin: str | None = None
        self.told = url if projector_url is None else f"{url} and {projector_url}"
        self._projector_url = projector_url
        self._session = session
        self._url = url
        self._checkpoint = checkpoint
        self._size = Checkpoint.read(Note.read(checkpoint.encode()).text).size

    @classmethod
    async def open(
        cls, session: aiohttp.ClientSession, ledger: str, url: str, projector_url: str | None = None
    ) -> "OverHttp":
        """The ledger at the URL of a ledger service, and that of a projector. Raises HttpError and NoteError."""
        below = f"{url.rstrip('/')}/v1/ledgers/{ledger}"
        projector = None if projector_url is None else f"{projector_url.rstrip('/')}/v1/ledgers/{ledger}"
        return cls(session, ledger, below, (await _get(session, f"{below}/checkpoint")).decode(), projector)

    async def head(self) -> int:
        return self._size

    async def checkpoints(self) -> list[KeptCheckpoint]:
        """The latest one: older ones are asked of who kept them."""
        return [KeptCheckpoint(self._checkpoint, None)]

    async def verifier_keys(self) -> list[str]:
        return (await self._get("key")).decode().splitlines()

    async def digest_keys(self) -> list[str]:
        """They are listed with the others; their name tells them apart."""
        return await self.verifier_keys()

    async def digests(self) -> list[Kept] | None:
        """The last ones: older ones are asked of who kept them."""
        if self._projector_url is None:
            return None
        url = f"{self._projector_url}/projections"
        try:
            shown = msgspec.json.decode(await _get(self._session, url), type=_ProjectionList)
        except msgspec.MsgspecError as error:
            raise HttpError(f"GET {url}: {error}") from error
        notes = [each.digest_note.encode() for each in shown.projections if each.digest_note is not None]
        return [Kept(note, None) for note in notes]

    async def timestamps(self) -> list[Stamped]:
        """The latest one, with its checkpoint."""
        found = await _answer(self._session, f"{self._url}/checkpoint/timestamp")
        if found.status == NONE_THERE:
            return []
        size = found.location.removesuffix("/timestamp").rpartition("/")[2]
        if not size.isdecimal():
            raise HttpError(f"{self._url}/checkpoint/timestamp does not say of which checkpoint it is")
        note = await self._get(f"checkpoints/{size}")
        return [Stamped("the latest timestamp", int(size), found.body, note)]

    async def imports(self) -> list[Import]:
        """Nobody outside is told."""
        return []

    async def audit(
        self, walk: Walk, *, read_models: bool, replay: Replay | None, progress: Progress
    ) -> AsyncIterator[Finding]:
        """Everything that is found on the way through the entries."""
        async for page in self.pages(hashes_only=walk.hashes_only):
            found, _ = walk.page(page)
            for each in found:
                yield each
            if replay is not None:
                for each in replay.page(fold(page), page[-1].position):
                    yield each
            progress(page[-1].position, self._size)
        for each in walk.end():
            yield each
        # The checkpoint is a second old, and a digest may be of a position beyond it; that one is not replayed.

    async def pages(self, *, hashes_only: bool) -> AsyncIterator[Sequence[Stored]]:
        """The log in order, up to the checkpoint. There is nothing beside the stored bytes. Raises HttpError."""
        bundles = [
            Tile(ENTRIES, number, min(WIDTH, self._size - number * WIDTH)) for number in range(-(-self._size // WIDTH))
        ]
        for begun in range(0, len(bundles), AT_ONCE):
            some = bundles[begun : begun + AT_ONCE]
            for tile, octets in zip(some, await asyncio.gather(*map(self._bundle, some)), strict=True):
                try:
                    entries = split_bundle(octets)
                except ValueError as error:
                    raise HttpError(f"tile/{tile.path}: {error}") from None
                if len(entries) != tile.width:
                    raise HttpError(f"tile/{tile.path} has {len(entries)} entries")
                yield [Stored(tile.start + at, entry, None, None) for at, entry in enumerate(entries, 1)]

    async def _bundle(self, tile: Tile) -> bytes:
        return await self._get(f"tile/{tile.path}")

    async def _get(self, path: str) -> bytes:
        return await _get(self._session, f"{self._url}/{path}")


class _Answer(NamedTuple):
    """`status`: 200, or NONE_THERE."""

    status: int
    location: str
    body: bytes


async def _get(session: aiohttp.ClientSession, url: str) -> bytes:
    answer = await _answer(session, url)
    if answer.status == NONE_THERE:
        raise _not_answered(url, answer.status, answer.body)
    return answer.body


async def _answer(session: aiohttp.ClientSession, url: str) -> _Answer:
    try:
        async with session.get(url) as answer:
            body = await answer.read()
            if answer.status not in (200, NONE_THERE):
                raise _not_answered(url, answer.status, body)
            return _Answer(answer.status, answer.headers.get("Content-Location", ""), body)
    except (aiohttp.ClientError, TimeoutError) as error:
        is_away = isinstance(error, aiohttp.ClientConnectionError)
        told = "nobody answers there; does the service run?" if is_away else f"{type(error).__name__} {error}"
        raise HttpError(f"GET {url}: {told}") from error


def _not_answered(url: str, status: int, body: bytes) -> HttpError:
    said = body[:TOLD_OCTETS_MAX].decode(errors="replace")
    return HttpError(f"GET {url} is answered {status}: {said}")
