"""What was at stake and what became of it, against a plain recomputation from the events alone."""

import random
from collections.abc import Mapping, Sequence
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest

from services.projector.judgement.revenue import CLASS_NAMES
from tests.asking import asking
from tests.conftest import Database
from tests.integration.test_answers_recomputed import (
    REQUIREMENTS,
    START,
    Happening,
    Recomputed,
    happened,
    some_event,
    time,
)
from tests.log import event

STEPS, EVENTS = 6, 30
BY = {"role": "head of product", "team": "product"}


class Stakes(Recomputed):
    """Each question by going through all events. `retracted`: position → where it was retracted."""

    @property
    def retracted(self) -> dict[int, int]:
        return {each.data["position"]: each.position for each in self.log if each.type == "event.retracted"}

    def state(self, opportunity: str, t: Any, p: int) -> Happening | None:
        said = [
            each
            for each in self.of("opportunity.updated", t, p)
            if each.data["opportunity"] == opportunity and self.retracted.get(each.position, p + 1) > p
        ]
        return said[-1] if said else None

    def named(self, requirements: Sequence[str], t: Any, p: int) -> dict[str, Happening]:
        """The opportunities that name one of these, themselves or by an ask that stands."""
        roots = {self.place(name, None, p) for name in requirements}
        asked = {ask.data.get("opportunity") for root in roots for ask in self.asks(root, t, p)}
        names = {each.data["opportunity"] for each in self.log if each.type == "opportunity.updated"}
        found = {}
        for name in names:
            said = self.state(name, t, p)
            if said and (name in asked or {self.place(each, None, p) for each in said.data["requirements"]} & roots):
                found[name] = said
        return found

    def class_then(self, account: str, made: Happening) -> str:
        cut = made.data.get("seen", made.position - 1)
        heard = self.loudest(self.asks_for(made.data["requirements"], made.valid, cut))
        root = self.account(account, cut)
        if root in heard:
            return self.class_(heard[root], made.valid, cut)
        found = self.fit(root, made.valid, cut)
        return found.class_ if found else "undetermined"

    def outcome(self, made: Happening, requirements: Sequence[str]) -> tuple[dict[str, tuple[str, str]], set[str]]:
        """Opportunity → class and fate, of those at stake; and those that came later."""
        cut, today = made.data.get("seen", made.position - 1), self.now.date().isoformat()
        day = made.valid.date().isoformat()
        then = self.named(requirements, made.valid, cut)
        staked = {}
        for name, said in then.items():
            if runs(said.data, day):
                now = self.state(name, self.now, self.position)
                staked[name] = (self.class_then(said.data["account"], made), fate(said.data, now, today))
        later = {
            name
            for name, said in self.named(requirements, self.now, self.position).items()
            if name not in staked and (name not in then or then[name].data["stage"] != said.data["stage"])
        }
        return staked, later


def runs(data: Mapping[str, Any], day: str) -> bool:
    return data["stage"] == "open" or (data["stage"] == "won" and data.get("ends", day) >= day)


def fate(then: Mapping[str, Any], now: Happening | None, today: str) -> str:
    if now is None:
        return "retracted"
    if now.data["stage"] != "won":
        return str(now.data["stage"])
    if then["stage"] == "won":
        return "kept" if now.data.get("ends", today) >= today else "ended"
    return "renewed" if now.data.get("kind") == "renewal" else "won"


def some_sale(chance: random.Random, now: int, log: Sequence[Happening]) -> Any:
    """An opportunity that names requirements, an ask that names one, or that one was recorded in error."""
    when, name = chance.choice([None, time(chance.randrange(now + 1))]), f"O-{chance.randrange(7)}"
    kind = chance.choice(["sell"] * 4 + ["ask"] * 2 + ["retract"])
    sold = [each for each in log if each.type == "opportunity.updated"]
    gone = {each.data["position"] for each in log if each.type == "event.retracted"}
    if kind == "ask":
        requirement, account = f"R-{chance.randrange(REQUIREMENTS)}", f"a-{chance.randrange(4)}"
        said = {"requirement": requirement, "account": account, "ask": f"A-{chance.randrange(9)}", "importance": 1}
        return event("ask.recorded", **said, opportunity=name, time=when)
    if kind == "retract" and sold and (wrong := chance.choice(sold)).position not in gone:
        subject = f"opportunity/{wrong.data['opportunity']}"
        return event("event.retracted", position=wrong.position, subject=subject, reason="slip", by=BY)
    return event(
        "opportunity.updated", opportunity=name, account=chance.choice(["a-1", "a-2", "z:0"]), time=when,
        stage=chance.choice(["open", "open", "won", "lost"]), amount=f"{chance.randrange(10**9) / 100:.2f}",
        currency=chance.choice(["USD", "EUR"]), ends=chance.choice(["2026-02-28", "2026-03-01", None]),
        kind=chance.choice(["renewal", None]), requirements=chance.sample(["R-0", "R-1", "R-2", "R-3"], 1),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
async def test_outcomes_are_what_the_events_alone_say(database: Database, seed: int) -> None:
    chance = random.Random(seed)
    async with asking(database) as client:
        log: list[Happening] = []
        seen_fates: set[str] = set()
        for step in range(STEPS):
            now = START + timedelta(hours=12 * (step + 1))
            batch: list[Any] = []
            for _ in range(EVENTS):
                before = Recomputed([*log, *happened(batch, now, len(log))], now)
                minutes = 720 * (step + 1)
                made = (
                    some_sale(chance, minutes, log)
                    if chance.random() < 0.5
                    else some_event(chance, minutes, len(log) + len(batch) + 1, before)
                )
                batch += made if isinstance(made, list) else [made]
                for each in batch:
                    each["data"] = {name: item for name, item in each["data"].items() if item is not None}
                    if each["type"] == "ledger.opportunity.updated.v1":
                        each["data"].setdefault("requirements", [])
            taken_back = [each["data"]["position"] for each in batch if "retracted" in each["type"]]
            if len(set(taken_back)) < len(taken_back):
                batch = [each for each in batch if "retracted" not in each["type"]]
            await client.record(*batch, recordedtime=now)
            log += happened(batch, now, len(log))
            expected = Stakes(log, now)
            for number in range(REQUIREMENTS):
                reply = await client.get(f"requirements/R-{number}/outcome", at_least=client.head, timeout=30)
                if reply.status == 200:
                    seen_fates |= compare(expected, reply.json)
        assert len(seen_fates) >= 3


def compare(expected: Stakes, found: Any) -> set[str]:
    """The answer about one requirement against the recomputation. The fates that occur."""
    fates = set()
    for one in found["decisions"]:
        made = next(each for each in expected.log if each.position == one["position"])
        staked, later = expected.outcome(made, one["requirements"])
        shown = {each["opportunity"]: (each["as_decided"], each["became"]) for each in one["opportunities"]}
        assert shown == staked
        assert {each["opportunity"] for each in one["later"]["opportunities"]} == later
        assert one["at_stake"]["opportunities"] == len(staked)
        fates |= {became for _, became in staked.values()}

        # Each is in one of them, and they add up to what was at stake.
        sums: dict[tuple[str, str], Fraction] = {}
        for each in one["became"].values():
            for name, amounts in each["then"].items():
                for amount in amounts:
                    key = (name, amount["currency"])
                    sums[key] = sums.get(key, Fraction(0)) + Fraction(amount["amount"])
        assert sums == {
            (name, each["currency"]): Fraction(each["contracted"]) + Fraction(each["pipeline"])
            for name, amounts in one["at_stake"]["revenue"].items()
            for each in amounts
        }
        assert sums == by_class(one["opportunities"])
        assert sum(each["opportunities"] for each in one["became"].values()) == len(staked)
    return fates


def by_class(opportunities: Sequence[Any]) -> dict[tuple[str, str], Fraction]:
    sums: dict[tuple[str, str], Fraction] = {}
    for each in opportunities:
        key = (CLASS_NAMES[each["as_decided"]], each["then"]["currency"])
        sums[key] = sums.get(key, Fraction(0)) + Fraction(each["then"]["amount"])
    return sums
