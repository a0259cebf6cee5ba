"""A decision's context against a plain recomputation from the events alone, and the silence of what only repeats."""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.criteria import attributes
from schemas.events import (
    AccountIdentified,
    AccountMerged,
    AccountProfiled,
    AccountUnmerged,
    AskMoved,
    AskRecorded,
    AskWithdrawn,
    DecisionMade,
    DecisionProposed,
    DecisionSuperseded,
    DeliveryUpdated,
    EventRetracted,
    FeedbackReceived,
    OpportunityUpdated,
    PerspectiveStated,
    PromiseClosed,
    PromiseMade,
    RequirementAssessed,
    RequirementMerged,
    RequirementRaised,
    RequirementReworded,
    RequirementUnmerged,
)
from schemas.times import read_time
from services.projector.judgement.context import NOTHING, Said, differences
from services.projector.judgement.resolution import Claim, Merge, Resolution
from tests.asking import Asking, asking
from tests.conftest import Database
from tests.histories import Told, tell

HISTORIES = 12
MOMENTS = 4
START = datetime(2026, 1, 1, tzinfo=UTC)
LISTS = ("known", "true_then_not_yet_known", "happened_later")
_OF_DECISIONS = "ledger.decision."


class Happened(NamedTuple):
    """An event of the log: from when it counts, where it is, when it was recorded and came to be known."""

    valid: datetime
    position: int
    recorded: datetime
    declared: datetime | None
    type: str
    event: Any


class Item(NamedTuple):
    """What an answer shows of an event, or of one attribute that it has."""

    valid: datetime
    position: int
    attribute: str | None
    before: Any
    retracted: int | None


def happened(told: Sequence[Told]) -> list[Happened]:
    found = []
    for position, each in enumerate(told, 1):
        sent = each.sent
        text = sent.attributes.get("sourcerecordedtime")
        valid = min(sent.time or each.recordedtime, each.recordedtime)
        declared = None if text is None else read_time(text)
        found.append(Happened(valid, position, each.recordedtime, declared, sent.type, sent.event))
    return found


class Context:
    """What bears on one decision, by going through all events for each question."""

    def __init__(self, log: Sequence[Happened], decision: str) -> None:
        self.log, self.decision, self.position = log, decision, len(log)
        mine = [each for each in log if getattr(each.event, "decision", None) == decision]
        proposals = [each for each in mine if isinstance(each.event, DecisionProposed)]
        made = [each for each in mine if isinstance(each.event, DecisionMade)]
        self.exists = bool(proposals or made)
        if not self.exists:
            return
        self.made = made[-1] if made else None
        self.requirements = (made or proposals)[-1].event.requirements
        self.cut = self.position
        self.declared: datetime | None = None
        if self.made is not None:
            seen = self.made.event.seen
            self.cut = self.made.position - 1 if seen is None else seen
            self.declared = self.made.declared if seen is None else None
        self.retracted = {each.event.position: each for each in log if isinstance(each.event, EventRetracted)}
        until = {at: by.position for at, by in self.retracted.items()}
        accounts = Resolution(
            merges=self._merges(AccountMerged, AccountUnmerged, "account"),
            claims=(
                Claim(each.position, each.valid, each.event.account, same.alias, until.get(each.position))
                for each in log
                if isinstance(each.event, AccountIdentified)
                for same in each.event.same_as
            ),
        )
        requirements = Resolution(self._merges(RequirementMerged, RequirementUnmerged, "requirement"))
        self.names = self._all_names(requirements, self.requirements)
        self.asks = [each for each in log if self._is_ask(each.event)]
        asking = {each.event.account for each in self.asks if isinstance(each.event, AskRecorded)}
        self.accounts = self._all_names(accounts, asking)
        bullets = [
            bullet
            for each in log
            if each.type == "ledger.agreement.revised.v1" and each.event.agreement == "target-market"
            for bullet in each.event.bullets
        ]
        self.looked_at = {name for bullet in bullets if bullet.test for name in attributes(bullet.test)}

    def _merges(self, merged: type, unmerged: type, kind: str) -> Iterator[Merge]:
        for each in self.log:
            if isinstance(each.event, merged | unmerged):
                name, into = getattr(each.event, kind), getattr(each.event, "into", None)
                yield Merge(each.position, each.valid, name, into)

    def _all_names(self, resolution: Resolution, names: Any) -> set[str]:
        return {other for name in names for at in (self.cut, self.position) for other in resolution.members(name, at)}

    def _is_ask(self, said: Any) -> bool:
        if not isinstance(said, AskRecorded | AskWithdrawn | AskMoved):
            return False
        return said.requirement in self.names or any(
            isinstance(each.event, AskMoved)
            and (each.event.requirement, each.event.ask) == (said.requirement, said.ask)
            and each.event.to in self.names
            for each in self.log
        )

    def _any(self, holds: Callable[[Any], bool]) -> bool:
        return any(holds(each.event) for each in self.log)

    def _merged_here(self, said: Any, kind: str, names: set[str]) -> bool:
        name, into = getattr(said, kind), getattr(said, "into", None)
        return name in names or into in names or (
            into is None
            and self._any(lambda each: getattr(each, kind, None) == name and getattr(each, "into", None) in names)
        )  # fmt: skip

    def _is_related(self, decision: str) -> bool:
        return decision == self.decision or self._any(
            lambda each: (
                isinstance(each, DecisionMade | DecisionProposed)
                and each.decision == decision
                and not self.names.isdisjoint(each.requirements)
            )
        )

    def series_of(self, each: Happened) -> Iterator[tuple[Any, Any, str | None]]:
        """Of what belongs here: what it replaces the earlier of, what it says there, and of which attribute.

        An act is alone in its series.
        """
        said, alone = each.event, each.position
        match said:
            case AccountProfiled() if said.account in self.accounts:
                for name in self.looked_at & said.attributes.keys():
                    value = said.attributes[name]
                    yield ("fact", said.account, name), (isinstance(value, bool), value), name
            case AccountIdentified():
                for same in said.same_as:
                    if said.account in self.accounts or same.alias in self.accounts:
                        yield ("alias", said.account, same.alias), "", None
            case AccountMerged() | AccountUnmerged() if self._merged_here(said, "account", self.accounts):
                yield alone, "", None
            case RequirementMerged() | RequirementUnmerged() if self._merged_here(said, "requirement", self.names):
                yield alone, "", None
            case OpportunityUpdated() if self._any(
                lambda other: (
                    isinstance(other, OpportunityUpdated)
                    and other.opportunity == said.opportunity
                    and (other.account in self.accounts or not self.names.isdisjoint(other.requirements))
                )
            ) or any(getattr(ask.event, "opportunity", None) == said.opportunity for ask in self.asks):
                amount = None if said.amount is None else float(said.amount)
                shown = (said.account, said.stage, amount, said.currency, said.closes, said.ends, said.closed_because)
                yield ("opportunity", said.opportunity), (*shown, said.requirements), None
            case FeedbackReceived() if any(getattr(ask.event, "feedback", None) == said.feedback for ask in self.asks):
                yield ("feedback", said.feedback), (said.account, said.channel), None
            case RequirementRaised() if said.requirement in self.names:
                yield ("title", said.requirement), (said.title, said.area), None
            case RequirementReworded() if said.requirement in self.names:
                yield ("title", said.requirement), (said.title, said.area, each.position), None
            case AskRecorded() if each in self.asks:
                content = (said.importance, said.opportunity, said.feedback, said.needed_by)
                yield ("ask", said.requirement, said.ask, said.account), content, None
            case AskWithdrawn() if each in self.asks:
                named = (said.requirement, said.ask)
                by = {
                    ask.event.account
                    for ask in self.asks
                    if isinstance(ask.event, AskRecorded) and (ask.event.requirement, ask.event.ask) == named
                }
                for account in by or {None}:
                    yield ("ask", *named, account), "withdrawn", None
            case AskMoved() if each in self.asks or said.to in self.names:
                yield alone, "", None
            case DeliveryUpdated() if said.requirement in self.names:
                yield ("delivery", said.requirement), (said.state, said.target), None
            case RequirementAssessed() if said.requirement in self.names:
                effort = None if said.effort is None else msgspec.structs.astuple(said.effort)
                content = (said.feasibility, effort, said.risks, said.plain)
                yield ("assessed", said.requirement, said.by.team), content, None
            case PerspectiveStated() if said.requirement in self.names:
                yield ("seen so", said.requirement, said.decision, said.team), said.statement, None
            case PromiseMade() | PromiseClosed() if self._any(
                lambda other: (
                    isinstance(other, PromiseMade) and other.promise == said.promise and other.requirement in self.names
                )
            ):
                yield ("promise", said.promise), msgspec.structs.replace(said, by=None), None
            case DecisionMade():
                if said.decision != self.decision and self._is_related(said.decision):
                    yield alone, "", None
            case DecisionSuperseded() if said.superseded_by == self.decision or self._is_related(said.decision):
                yield alone, "", None
            case _ if each.type.startswith(_OF_DECISIONS) and not isinstance(said, DecisionSuperseded):
                if self._is_related(said.decision):
                    yield alone, "", None
            case _ if getattr(said, "agreement", None) == "target-market":
                yield alone, "", None

    def lists(self) -> dict[str, list[Item]]:
        said = [(each, *one) for each in self.log for one in self.series_of(each)]
        found: dict[tuple[int, str | None], Item] = {}
        for each, series, content, attribute in said:
            earlier = [
                (other, there)
                for other, name, there, _ in said
                if name == series and (other.valid, other.position) < (each.valid, each.position)
            ]
            befores = [
                max(standing, key=lambda one: (one[0].valid, one[0].position))[1] if standing else (False, None)
                for known in (each.position, self.position)
                for standing in [
                    [
                        (other, there)
                        for other, there in earlier
                        if other.position <= known
                        and (other.position not in self.retracted or self.retracted[other.position].position > known)
                    ]
                ]
            ]
            different = [before for before in befores if before != content]
            if different:
                by = self.retracted.get(each.position)
                before = None if attribute is None else different[0][1]
                found[each.position, attribute] = Item(
                    each.valid, each.position, attribute, before, by.position if by else None
                )
        for at, by in self.retracted.items():
            if any(position == at for position, _ in found):
                found[by.position, None] = Item(by.valid, by.position, None, None, None)
        lists: dict[str, list[Item]] = {name: [] for name in LISTS}
        for item in sorted(found.values(), key=lambda each: (each.valid, each.position, each.attribute or "")):
            lists[self._list_of(self.log[item.position - 1])].append(item)
        return lists

    def _list_of(self, each: Happened) -> str:
        if self.made is not None and each.valid > self.made.valid:
            return "happened_later"
        if self.declared is None:
            known = each.position <= self.cut
        else:
            known = (each.declared or each.recorded) <= self.declared
        return "known" if known else "true_then_not_yet_known"


def shown(context: Any) -> dict[str, list[Item]]:
    """The lists of an answer, as the recomputation has them."""
    return {
        name: [
            Item(
                min(read_time(each["time"]), read_time(each["recordedtime"])),
                each["position"],
                each.get("attribute"),
                each.get("from"),
                each["retracted"]["position"] if "retracted" in each else None,
            )
            for each in context[name]
        ]
        for name in LISTS
    }


def decided(first: int) -> list[Told]:
    """The first history from this seed on in which at least two decisions were made."""
    histories = (tell(seed) for seed in itertools.count(first))
    return next(
        each for each in histories if sum(told.event["type"] == "ledger.decision.made.v1" for told in each) >= 2
    )


async def record(client: Asking, history: Sequence[Told]) -> None:
    for recordedtime, told in itertools.groupby(history, key=lambda each: each.recordedtime):
        await client.record(*(each.event for each in told), recordedtime=recordedtime)


@pytest.mark.parametrize("seed", range(HISTORIES))
async def test_a_context_is_what_can_be_recomputed_from_the_events_up_to_its_position(
    database: Database, seed: int
) -> None:
    chance = random.Random(seed)
    history = decided(1_000 + 10 * seed)
    async with asking(database) as client:
        await record(client, history)
        log = happened(history)
        compared = 0
        for position in sorted({*chance.sample(range(1, len(history)), MOMENTS - 1), len(history)}):
            for decision in (f"D-{number}" for number in range(4)):
                expected = Context(log[:position], decision)
                reply = await client.get(f"decisions/{decision}/context", as_of=position, timeout=30)
                assert reply.status == (200 if expected.exists else 404), (position, decision, reply.body)
                if not expected.exists:
                    continue
                context = reply.json
                assert shown(context) == expected.lists(), (position, decision)
                places = [(each["position"], each.get("attribute")) for name in LISTS for each in context[name]]
                assert len(places) == len({*places})
                assert all(at <= position for at, _ in places)
                assert context["basis"] == ("recorded" if expected.declared is None else "declared")
                assert context["cut"]["position"] == (expected.cut if expected.declared is None else None)
                assert context["totals"] == {name: len(context[name]) for name in LISTS}
                compared += 1
        assert compared


@pytest.mark.parametrize("seed", range(3))
async def test_what_a_sync_repeats_adds_nothing(database: Database, seed: int) -> None:
    """Each observation is said again at once, and everything that holds is said again in the end."""
    kinds = {"account.profiled", "opportunity.updated", "account.identified", "delivery.updated", "ask.recorded"}
    chance = random.Random(seed)
    once = [
        each for each in decided(2_000 + 10 * seed) if each.event["type"] != "ledger.event.retracted.v1"
    ]  # What repeats stands if what it repeats is retracted, and then it is no longer silent.
    decisions = {each.event["data"]["decision"] for each in once if each.event["type"].startswith(_OF_DECISIONS)}
    again: list[Told] = []
    for each in once:
        again.append(each)
        if each.event["type"].removeprefix("ledger.").removesuffix(".v1") in kinds:
            event_id = f"{each.event['id']}-again"
            named = {"id": event_id, "data": each.event["data"]}
            if each.event["type"] == "ledger.ask.recorded.v1":
                named["data"] = {"ask": each.sent.event.ask, **each.event["data"]}
            again += [Told(each.recordedtime, each.event | named)] * chance.choice([0, 1])
    places = {each.event["id"]: place for place, each in enumerate(once, 1)}

    def told(context: Any, history: Sequence[Told]) -> Any:
        """The lists with the positions that their events have where nothing is repeated."""
        return [
            [(places.get(history[each["position"] - 1].event["id"]), each.get("attribute"), each.get("from"))
             for each in context[name]]
            for name in LISTS
        ]  # fmt: skip

    async with asking(database) as client:
        await record(client, again)
        without_seen = {
            each.event["data"]["decision"]
            for each in once
            if each.event["type"] == "ledger.decision.made.v1" and "seen" not in each.event["data"]
        }
        for decision in sorted(decisions):
            expected = Context(happened(once), decision)
            if not expected.exists or (expected.made is not None and decision not in without_seen):
                continue  # `seen` would be of another position.
            context = await client.answer(f"decisions/{decision}/context")
            wanted = [
                [(each.position, each.attribute, each.before) for each in items] for items in expected.lists().values()
            ]
            assert told(context, again) == wanted


moments = st.integers(0, 6)
contents = st.sampled_from(["a", "b", "c"])


@given(
    st.lists(st.tuples(moments, contents), max_size=12),
    st.dictionaries(st.integers(1, 12), st.integers(1, 8)),
    st.data(),
)
def test_what_repeats_what_was_said_just_before_it_is_silent_and_silences_nothing(
    said: list[tuple[int, str]], ends: dict[int, int], data: st.DataObject
) -> None:
    series = [
        Said(START + timedelta(days=moment), 10 * number, content, START)
        for number, (moment, content) in enumerate(said, 1)
    ]
    until = {10 * number: 10 * (number + after) + 5 for number, after in ends.items()}
    found = [*differences(series, until)]
    assert {each.position for each, _ in found} <= {each.position for each in series}
    assert all(before != each.content for each, before in found)
    if series:
        assert min(series, key=lambda each: each.position) in [each for each, _ in found]
        assert found[0][1] == NOTHING
        repeated = data.draw(st.sampled_from(series))
        if repeated.position not in until:
            more = [*series, repeated._replace(position=repeated.position + 1)]
            assert [*differences(more, until)] == found
            assert [*differences(more[::-1], until)] == found
