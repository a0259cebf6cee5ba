"""What becomes of a webhook: events in the ledger, or a body that is kept, and why.

The signature comes first: of a request without one nothing is kept, and nothing is told but that. What is authentic is
never lost: it is in the ledger, or in the file, before its sender is answered. What only waits for the ledger goes on
by itself, in the order in which it came; what does not fit waits for somebody to mend the hook.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import structlog
from msgspec import Struct

from ledger_client.ledger import Recorded
from schemas.codec import MalformedJson, parse
from services.receiver.bodies import Misfit, Objection, headers_read, make_events
from services.receiver.hooks import Hook, HookMissing, Hooks, HookUnusable
from services.receiver.kept import Came, Delivery, Item, Kept, KeptUnusable, State
from services.receiver.posting import Away, Barred, Ledgers, NotRecorded
from services.receiver.signatures import Request, Unsigned, verify

PAGE_ITEMS = 100
PAUSE_SECONDS = (1.0, 2.0, 5.0, 10.0)  # Between two attempts to go on; the last one repeats.
LOOK_SECONDS = 30.0
EXPIRE_SECONDS = 3600.0
# They say who asks, or sign this request only; no mapping has a use for them, and so they are not kept.
NOT_KEPT = frozenset({"authorization", "proxy-authorization", "cookie"})

_log = structlog.get_logger()


class Done(Struct, frozen=True):
    """The events are in the ledger. There are none if the mapping makes none of this body."""

    events: list[dict[str, Any]]
    recorded: list[Recorded]


class Stopped(Struct, frozen=True, kw_only=True):
    """There are no events yet. `state`: waiting for the ledger, or refused; `status` is that of the answer."""

    state: State
    status: int
    problem: str
    reason: str
    objections: list[Objection] = []


class Received(Struct, frozen=True):
    """What became of a request, and the id under which it is kept, if it is."""

    outcome: Done | Stopped
    kept: int | None = None


def _now() -> datetime:
    return datetime.now(UTC)


class Reception:
    """Takes webhooks in. `key_file`: that of the receiver's own API key."""

    def __init__(
        self,
        hooks: Hooks,
        kept: Kept,
        ledgers: Ledgers,
        key_file: Path,
        *,
        days_max: int,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._hooks = hooks
        self._kept = kept
        self._ledgers = ledgers
        self._key_file = key_file
        self._days_max = days_max
        self._now = now
        self._work = asyncio.Event()

    async def receive(self, hook: Hook, request: Request) -> Received:
        """Take in a request.

        Raises SignatureInvalid, SignatureStale, AnotherBody, KeptFull and KeptUnusable; then nothing of it is kept.
        Of several that come at once under one delivery id, each may make its events; those that are not the first are
        told AnotherBody even so.
        """
        now = self._now()
        id = verify(hook.signature, hook.secrets, request, now)
        came = Came(
            {name: value for name, value in joined(request.headers).items() if name not in NOT_KEPT}, request.body
        )
        delivery = self._kept.delivery(hook.name, id, came.body, _read_of(hook, came.headers))
        await asyncio.to_thread(self._kept.check, delivery)
        if await asyncio.to_thread(self._kept.is_waiting, hook.name):
            # It has its place behind those that came before.
            outcome = await asyncio.to_thread(self._queued, hook, came, now)
        else:
            outcome = await self.attempt(hook, came)
        return await self._settled(hook, delivery, came, outcome)

    async def attempt(self, hook: Hook, came: Came) -> Done | Stopped:
        """Make events of a request and have them recorded."""
        events = await asyncio.to_thread(self._events, hook, came, self._now())
        if isinstance(events, Stopped):
            return events
        if not events:
            return Done([], [])
        written = hook.usable
        try:
            recorded = await self._ledgers.record(written.ledger, hook.key_file or self._key_file, events)
        except Away as error:
            if isinstance(error, Barred):
                _log.error("hook_barred", hook=hook.name, problem=error.problem, reason=str(error))
            return Stopped(state="waiting", status=202, problem=error.problem, reason=str(error))
        except NotRecorded as error:
            return Stopped(
                state="refused",
                status=error.status,
                problem="not-recorded",
                reason=str(error),
                objections=error.objections,
            )
        return Done(events, recorded)

    async def attempt_again(self, item: Item) -> Done | Stopped | None:
        """What becomes of one that is kept, by the hook as it stands now; the file knows it afterwards.

        None if it is kept no longer: its sender has sent it again meanwhile, or somebody has dropped it.
        """
        came = await asyncio.to_thread(self._kept.came, item)
        if came is None:
            return None
        try:
            hook = await asyncio.to_thread(self._hooks.get, item.delivery.hook)
        except HookMissing:
            outcome: Done | Stopped = _misfit(f"there is no hook {item.delivery.hook!r} any more")
        except HookUnusable as error:
            outcome = _misfit(str(error))
        else:
            outcome = await self.attempt(hook, came)
        if isinstance(outcome, Stopped):
            why: dict[str, Any] = {"problem": outcome.problem, "reason": outcome.reason, "now": self._now()}
            await asyncio.to_thread(self._kept.keep_on, item, outcome.state, **why)
        else:
            await asyncio.to_thread(self._settle, item.delivery, outcome, item.tries)
        return outcome

    async def go_on(self) -> None:
        """Deliver what waits for the ledger, for ever. Each hook by itself, in its order."""
        attempt = 0
        while True:
            self._work.clear()
            try:
                left = await self._deliver_waiting()
            except KeptUnusable as error:
                _log.error("kept_unusable", reason=str(error))
                left = True
            attempt = attempt + 1 if left else 0
            if left:
                await asyncio.sleep(PAUSE_SECONDS[min(attempt, len(PAUSE_SECONDS)) - 1])
            else:
                # What another process has left waiting makes no noise here.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._work.wait(), LOOK_SECONDS)

    async def forget(self) -> None:
        """Forget what was refused too long ago, for ever. Not at once: a clock that is wrong when the machine starts is
        set right soon after."""
        while True:
            await asyncio.sleep(EXPIRE_SECONDS)
            try:
                count = await asyncio.to_thread(self._kept.expire, now=self._now(), days_max=self._days_max)
                if count:
                    _log.warning("kept_expired", bodies=count, days=self._days_max)
                await asyncio.to_thread(self._kept.give_back)
            except KeptUnusable as error:
                _log.error("kept_unusable", reason=str(error))

    async def _deliver_waiting(self) -> bool:
        """One round. Whether something still waits."""
        left = False
        for hook in await asyncio.to_thread(self._kept.waiting_hooks):
            try:
                left |= await self._deliver_waiting_of(hook)
            except KeptUnusable:
                raise
            except Exception as error:
                # Ours to mend, and told with where it is; the other hooks go on, and this one is tried again.
                _log.error("hook_failed", hook=hook, exc_info=error)
                left = True
        return left

    async def _deliver_waiting_of(self, hook: str) -> bool:
        while items := await asyncio.to_thread(self._page_waiting, hook):
            for item in items:
                outcome = await self.attempt_again(item)
                if outcome is None:
                    continue
                _log.info("kept_tried", hook=hook, kept=item.id, outcome=_word(outcome))
                if isinstance(outcome, Stopped) and outcome.state == "waiting":
                    return True
        return False

    def _page_waiting(self, hook: str) -> list[Item]:
        return self._kept.page(hook=hook, state="waiting", limit=PAGE_ITEMS)

    def _queued(self, hook: Hook, came: Came, now: datetime) -> Done | Stopped:
        events = self._events(hook, came, now)
        if isinstance(events, Stopped):
            return events
        if not events:
            return Done([], [])
        reason = "others of this hook, which came before, wait for the ledger"
        return Stopped(state="waiting", status=202, problem="unavailable", reason=reason)

    def _events(self, hook: Hook, came: Came, now: datetime) -> list[dict[str, Any]] | Stopped:
        try:
            written = hook.usable
            return make_events(written.recipes, parse(came.body), came.headers, now)
        except HookUnusable as error:
            return _misfit(str(error))
        except MalformedJson as error:
            reason = f"the body is not JSON: {error}{_form_hint(came)}"
            return Stopped(state="refused", status=400, problem="malformed-json", reason=reason)
        except Misfit as error:
            return _misfit(str(error), error.objections)
        except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
            # Ours to mend; the body is authentic, and it is kept like any other that does not fit.
            _log.error("mapping_failed", hook=hook.name, exc_info=error)
            return _misfit(f"the receiver could not apply the mapping ({type(error).__name__}); its log says where")

    async def _settled(self, hook: Hook, delivery: Delivery, came: Came, outcome: Done | Stopped) -> Received:
        if isinstance(outcome, Stopped) and outcome.state == "refused" and isinstance(hook.signature, Unsigned):
            # Whoever knows the address may post. What only waits for the ledger is kept, within the hook's share.
            return Received(outcome)
        if isinstance(outcome, Done):
            await asyncio.to_thread(self._settle, delivery, outcome)
            return Received(outcome)
        why: dict[str, Any] = {"problem": outcome.problem, "reason": outcome.reason, "now": self._now()}
        kept = await asyncio.to_thread(self._kept.keep, delivery, came, outcome.state, **why)
        _log.warning("webhook_kept", hook=hook.name, kept=kept, state=outcome.state, problem=outcome.problem)
        if outcome.state == "waiting":
            self._work.set()
        return Received(outcome, kept)

    def _settle(self, delivery: Delivery, outcome: Done, tries: int | None = None) -> None:
        """It is kept no longer. A body that makes no event may make some by another mapping, and is not remembered."""
        if outcome.events:
            self._kept.settle(delivery, now=self._now(), tries=tries)
        else:
            self._kept.release(delivery, tries=tries)


def joined(headers: list[tuple[str, str]]) -> dict[str, str]:
    """Headers by their names; what is there more than once is one list, as RFC 9110 has it."""
    found: dict[str, str] = {}
    for name, value in headers:
        # A header may hold any bytes; those that are not UTF-8 cannot be kept as a text.
        text = value.encode("utf-8", "replace").decode()
        found[name] = f"{found[name]}, {text}" if name in found else text
    return found


def _read_of(hook: Hook, headers: dict[str, str]) -> dict[str, str]:
    """The headers that events of this hook are made of; all, while its mapping cannot say which."""
    if hook.written is None:
        return headers
    names = headers_read(hook.written.recipes)
    return {name: value for name, value in headers.items() if name in names}


def _misfit(reason: str, objections: list[Objection] | None = None) -> Stopped:
    return Stopped(state="refused", status=422, problem="mapping-misfit", reason=reason, objections=objections or [])


def _form_hint(came: Came) -> str:
    form = came.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    return "; it is a form: have the sender send application/json" if form else ""


def _word(outcome: Done | Stopped) -> Literal["recorded", "waiting", "refused"]:
    return "recorded" if isinstance(outcome, Done) else outcome.state
