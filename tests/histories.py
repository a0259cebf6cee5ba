"""Histories that may have happened: events of every type, each about a time of its own, in any order of arrival.

What a rule refuses does not happen in them. The same seed tells the same history.
"""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from schemas.codec import read_event
from schemas.envelope import Sent
from schemas.events import (
    Act,
    AskRecorded,
    DecisionMade,
    EventRetracted,
    PromiseMade,
)
from schemas.values import same_team
from services.ledger import rules
from services.ledger.rules import Aggregate
from services.ledger.rules.retraction import Named
from services.migrate import TEAMS
from tests.log import event
from tests.named import spoken_of_in

START = datetime(2024, 1, 10, 9, tzinfo=UTC)
EVENTS_MIN, EVENTS_MAX = 20, 60
TRIES_MAX = 40  # What is refused is tried again as something else.
PERSONS = ("p-1", "p-2", "p-3")
AGREEMENTS = ("target-market", "target-market", "target-market", "qualified-lead")
REQUIREMENTS = ("R-1", "R-2", "R-3", "R-4")
ACCOUNTS = ("acme", "bank", "cedar", "dune", "zen:1", "zen:2")
ALIASES = ({"system": "zen", "id": "1"}, {"system": "zen", "id": "2"}, {"system": "crm", "id": "9"})
CHANNELS = ("call", "mail", "Renewal")
CURRENCIES = ("EUR", "USD")
SOURCES = ("urn:crm", "urn:desk")
TYPES = ("ledger.ask.recorded.v1", "ledger.opportunity.updated.v1", "ledger.account.profiled.v1")

_TEAMS = frozenset(same_team(team) for team in TEAMS)
_YEAR = re.compile(rb"(?<![0-9])20[0-9]{2}(?=-(?:[0-9]{2}|Q[1-4])(?![0-9]))")


class Told(NamedTuple):
    """An event as its emitter sends it, and when it is recorded."""

    recordedtime: datetime
    event: Any

    @property
    def sent(self) -> Sent:
        return _read(self.event, self.recordedtime)


def tell(seed: int) -> list[Told]:
    """A history, in the order of its positions. Events of one commit have one recorded time."""
    teller = _Teller(random.Random(f"history {seed}"))
    return teller.tell()


def later(told: Sequence[Told], years: int) -> list[Told]:
    """The same history so many years later. 28 years have the same calendar, leap days and weekdays included."""
    return [
        Told(each.recordedtime.replace(year=each.recordedtime.year + years), msgspec.json.decode(text))
        for each in told
        for text in [in_later_years(msgspec.json.encode(each.event), years)]
    ]


def in_later_years(text: bytes, years: int) -> bytes:
    """The same text, with its dates so many years later."""
    return _YEAR.sub(lambda found: str(int(found[0]) + years).encode(), text)


def _read(value: Any, now: datetime) -> Sent:
    found = read_event(value, now=now)
    assert isinstance(found, Sent), (value, found)
    return found


class _Teller:
    """Tells a history event by event. Whatever is random comes from `chance`."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._now = START + timedelta(days=chance.randrange(200), microseconds=chance.randrange(10**6))
        self._told: list[Told] = []
        self._sent: list[Sent] = []
        self._retracted: set[int] = set()
        self._streams: dict[str, Aggregate | None] = {}
        self._adopts = chance.random() < 0.8

    def tell(self) -> list[Told]:
        count = self._chance.randrange(EVENTS_MIN, EVENTS_MAX + 1)
        if self._adopts:
            for each in self._agreed(adopted=True):
                self._record(each)
        while len(self._told) < count:
            if self._chance.random() < 0.4:
                self._now += self._pause()
            for _ in range(TRIES_MAX):
                happened = [self._record(each) for each in self._something()]
                if any(happened):
                    break
        return self._told

    def _record(self, value: Any) -> bool:
        """Whether it happened: an act does only if its rule allows it."""
        value["id"] = f"e-{len(self._told) + 1}"
        sent = _read(value, self._now)
        position = len(self._told) + 1
        if isinstance(sent.event, Act):
            objections = rules.objections(
                sent.event, self._stream, self._named, self._spoken_of, position=position, teams=_TEAMS
            )
            if any(objections):
                return False
        self._streams[sent.subject] = rules.replay(sent.subject, [(position, sent.event)], self._stream(sent.subject))
        if isinstance(sent.event, EventRetracted):
            self._retracted.add(sent.event.position)
        self._told.append(Told(self._now, value))
        self._sent.append(sent)
        return True

    def _stream(self, subject: str) -> Aggregate | None:
        return self._streams.get(subject) or rules.initial(subject)

    def _named(self, position: int) -> Named | None:
        if not 1 <= position <= len(self._sent):
            return None
        sent = self._sent[position - 1]
        return Named(sent.subject, sent.type, position in self._retracted)

    def _spoken_of(self, person: str) -> bool:
        return spoken_of_in([sent.event for sent in self._sent], person)

    # Times

    def _pause(self) -> timedelta:
        most = self._chance.choice([1, 60, 3_600, 86_400, 7 * 86_400, 60 * 86_400])
        return timedelta(microseconds=1 + self._chance.randrange(most * 10**6))

    def _time(self) -> str | None:
        """Of what: none, a while ago, long ago, or by a clock that is fast."""
        match self._chance.choice(["none", "none", "now", "ago", "ago", "long ago", "long ago", "ahead"]):
            case "none":
                return None
            case "now":
                time = self._now
            case "ago":
                time = self._now - timedelta(minutes=self._chance.randrange(60 * 24 * 20))
            case "long ago":
                time = self._now - timedelta(days=self._chance.randrange(500))
            case _:
                time = self._now + timedelta(seconds=self._chance.randrange(290))
        if self._chance.random() < 0.2:
            return (time + timedelta(hours=5, minutes=30)).replace(tzinfo=None).isoformat() + "+05:30"
        return time.isoformat().replace("+00:00", "Z")

    def _day(self, least: int = -40, most: int = 120) -> str:
        return (self._now + timedelta(days=self._chance.randrange(least, most))).date().isoformat()

    # What may happen

    def _something(self) -> list[Any]:
        kinds: dict[Callable[[], list[Any]], int] = {
            self._ask: 11, self._profile: 9, self._sell: 6, self._withdraw: 2, self._retract: 6, self._agree: 2,
            self._propose: 3, self._decide: 6, self._say_of_decision: 5, self._promise: 3, self._close: 2,
            self._assess: 2, self._state: 2, self._identify: 2, self._merge: 5, self._move: 3, self._raise: 2,
            self._reword: 1, self._deliver: 2, self._feedback: 3, self._introduce: 1, self._reconcile: 1,
        }  # fmt: skip
        [kind] = self._chance.choices([*kinds], [*kinds.values()])
        return kind()

    def _event(self, type: str, /, **data: Any) -> Any:
        """An event of this type at some time, by some emitter. What is None is left out."""
        given = {name: item for name, item in data.items() if item is not None}
        made = event(type, source=self._chance.choice(SOURCES), time=self._time(), **given)
        if self._chance.random() < 0.1:  # It comes from a system that had recorded it before.
            before = self._now - timedelta(days=self._chance.randrange(90))
            made["recordedtime"] = before.isoformat().replace("+00:00", "Z")
        return made

    def _by(self, team: str | None = None) -> dict[str, str]:
        by = {"role": self._chance.choice(["head", "clerk"]), "team": team or self._team()}
        return by | ({"person": self._chance.choice(PERSONS)} if self._chance.random() < 0.3 else {})

    def _team(self) -> str:
        return self._chance.choice(["sales", "product", "engineering"])

    def _maybe(self, value: Callable[[], Any], share: float = 0.4) -> Any:
        return value() if self._chance.random() < share else None

    def _requirement(self) -> str:
        return self._chance.choice(REQUIREMENTS)

    def _account(self) -> str:
        return self._chance.choice(ACCOUNTS)

    def _opportunity(self) -> str:
        return f"O-{self._chance.randrange(4)}"

    def _feedback_id(self) -> str:
        return f"F-{self._chance.randrange(4)}"

    def _ask_id(self) -> str:
        return f"k-{self._chance.randrange(4)}"

    def _decision(self) -> str:
        return f"D-{self._chance.randrange(4)}"

    def _made(self) -> list[str]:
        return [sent.event.decision for sent in self._sent if isinstance(sent.event, DecisionMade)]

    def _ask(self) -> list[Any]:
        return [
            self._event(
                "ask.recorded", requirement=self._requirement(), account=self._account(),
                ask=self._maybe(self._ask_id, 0.7), importance=self._maybe(lambda: self._chance.randrange(4), 0.8),
                contact=self._maybe(lambda: self._chance.choice(PERSONS), 0.2),
                channel=self._maybe(lambda: self._chance.choice(CHANNELS)),
                quote=self._maybe(lambda: "we need it", 0.2),
                opportunity=self._maybe(self._opportunity, 0.3), feedback=self._maybe(self._feedback_id, 0.3),
                needed_by=self._maybe(self._day, 0.2), by=self._maybe(self._by),
            )
        ]  # fmt: skip

    def _withdraw(self) -> list[Any]:
        return [self._event("ask.withdrawn", requirement=self._requirement(), ask=self._ask_id())]

    def _move(self) -> list[Any]:
        asks = [each.event for each in self._sent if isinstance(each.event, AskRecorded)]
        if not asks:
            return []
        asked = self._chance.choice(asks)
        named = {"requirement": asked.requirement, "ask": asked.ask}
        return [self._event("ask.moved", **named, to=self._requirement(), reason="meant", by=self._by())]

    def _profile(self) -> list[Any]:
        known = {
            "line": self._chance.choice([1, 2, "1", None]), "size": self._chance.choice([True, 5, 50, None]),
            "regions": self._chance.choice([["EU"], ["EU", "US"], None]),
        }  # fmt: skip
        given = {name: known[name] for name in self._chance.sample(sorted(known), self._chance.randrange(1, 4))}
        account = self._account()
        name = self._maybe(lambda: f"{account} {self._chance.randrange(3)}", 0.3)
        return [self._event("account.profiled", account=account, attributes=given, name=name)]

    def _identify(self) -> list[Any]:
        claimed = [self._chance.choice(ALIASES)]
        return [self._event("account.identified", account=self._chance.choice(ACCOUNTS[:4]), same_as=claimed)]

    def _merge(self) -> list[Any]:
        kind, names = self._chance.choice([("account", ACCOUNTS), ("requirement", REQUIREMENTS)])
        name, into = self._chance.sample(names, 2)
        merged = [getattr(each.event, kind) for each in self._sent if each.type == f"ledger.{kind}.merged.v1"]
        if self._chance.random() < (0.6 if merged else 0.1):
            name = self._chance.choice([*merged, *merged, name])
            return [self._event(f"{kind}.unmerged", **{kind: name}, reason="two", by=self._by())]
        return [self._event(f"{kind}.merged", **{kind: name}, into=into, reason="one", by=self._by())]

    def _sell(self) -> list[Any]:
        amount = self._maybe(lambda: f"{self._chance.randrange(10**7) / 100:.2f}", 0.9)
        stage = self._chance.choice(["open", "open", "won", "lost"])
        return [
            self._event(
                "opportunity.updated", opportunity=self._opportunity(), account=self._account(), stage=stage,
                amount=amount, currency=self._chance.choice(CURRENCIES) if amount else None,
                kind=self._maybe(lambda: self._chance.choice(["new", "expansion", "renewal"])),
                closes=self._maybe(self._day), starts=self._maybe(self._day, 0.2), ends=self._maybe(self._day, 0.6),
                requirements=self._chance.sample(REQUIREMENTS, self._chance.randrange(3)),
                closed_because="price" if stage == "lost" else None,
            )
        ]  # fmt: skip

    def _raise(self) -> list[Any]:
        requirement = self._requirement()
        return [
            self._event(
                "requirement.raised", requirement=requirement, title=f"{requirement} {self._chance.randrange(3)}",
                problem=self._maybe(lambda: "it is slow", 0.2), area=self._maybe(lambda: "Identity"),
                by=self._maybe(self._by),
            )
        ]  # fmt: skip

    def _reword(self) -> list[Any]:
        title = f"words {self._chance.randrange(3)}"
        requirement = self._requirement()
        return [
            self._event("requirement.reworded", requirement=requirement, title=title, reason="plain", by=self._by())
        ]

    def _assess(self) -> list[Any]:
        feasibility = self._chance.choice(["feasible", "costly", "infeasible", "unknown"])
        effort = self._maybe(lambda: {"low": 1.5, "high": 4, "unit": "weeks"})
        return [
            self._event(
                "requirement.assessed", requirement=self._requirement(), feasibility=feasibility, effort=effort,
                risks=self._chance.sample(["late", "dear"], self._chance.randrange(3)),
                plain=self._maybe(lambda: "it takes a while"), by=self._by(),
            )
        ]  # fmt: skip

    def _state(self) -> list[Any]:
        team = self._team()
        return [
            self._event(
                "perspective.stated", requirement=self._requirement(), decision=self._maybe(self._decision),
                team=team, statement=f"{team} sees it so ({self._chance.randrange(9)})", by=self._by(team),
            )
        ]  # fmt: skip

    def _deliver(self) -> list[Any]:
        state = self._chance.choice(["planned", "in_progress", "beta", "shipped", "cancelled"])
        target = self._maybe(self._day)
        return [self._event("delivery.updated", requirement=self._requirement(), state=state, target=target)]

    def _feedback(self) -> list[Any]:
        return [
            self._event(
                "feedback.received", feedback=self._feedback_id(), text="it is slow, we need words",
                account=self._maybe(self._account, 0.8),
                channel=self._maybe(lambda: self._chance.choice(CHANNELS), 0.7),
                contact=self._maybe(lambda: self._chance.choice(PERSONS), 0.2),
            )
        ]  # fmt: skip

    def _introduce(self) -> list[Any]:
        return [self._event("person.introduced", person=self._chance.choice(PERSONS), name="Ada Smith")]

    def _reconcile(self) -> list[Any]:
        period = {"from": self._day(-400, -40), "to": self._day(-39, 10)}
        count = {"type": self._chance.choice(TYPES), "count": self._chance.randrange(4)}
        made = self._event("source.reconciled", **period, **count)
        made["data"]["source"] = made["source"]  # What an emitter counts is its own.
        return [made]

    def _agree(self) -> list[Any]:
        return [*self._agreed(adopted=self._chance.random() < 0.7)]

    def _agreed(self, *, adopted: bool) -> Iterator[Any]:
        agreement = self._chance.choice(AGREEMENTS)
        named = {"agreement": agreement, "revision": f"r{self._chance.randrange(100)}"}
        signs = self._chance.random() < 0.5
        yield self._event(
            "agreement.revised", **named, title="Banks first",
            stage=self._chance.choice(["focused", "focused", "exploratory"]),
            bullets=[*self._bullets()], threshold=self._chance.choice([0, 30, 50, 75, 100]),
            signatories=["sales"] if signs else [], review_by=self._maybe(self._day, 0.2), reason="so", by=self._by(),
        )  # fmt: skip
        if signs:
            meaning = self._chance.choice(["agree", "agree", "agree_with_reservations", "object"])
            yield self._event("agreement.endorsed", **named, team="sales", meaning=meaning, by=self._by("sales"))
        if adopted:
            yield self._event("agreement.adopted", **named, effective=self._day(-200, 60), by=self._by())

    def _bullets(self) -> Iterator[Any]:
        tests = {
            "line": {"op": "eq", "attribute": "line", "value": 1},
            "size": {"op": "gt", "attribute": "size", "value": 10},
            "where": {"op": "any", "tests": [
                {"op": "has", "attribute": "regions", "value": "us"}, {"op": "exists", "attribute": "size"},
            ]},
        }  # fmt: skip
        for name in self._chance.sample(sorted(tests), self._chance.randrange(1, 4)):
            weight, required = self._chance.randrange(1, 4), self._chance.random() < 0.2
            yield {"bullet": name, "text": "a line", "test": tests[name], "weight": weight, "required": required}
        if self._chance.random() < 0.3:
            yield {"bullet": "prose", "text": "who mean it"}

    def _propose(self) -> list[Any]:
        verdicts = self._chance.sample(["good", "neutral", "bad"], 2)
        option = {
            "option": "build",
            "summary": "Build it",
            "arguments": [{"verdict": each, "text": "so it is", "team": self._team()} for each in verdicts],
        }
        return [
            self._event(
                "decision.proposed", decision=self._decision(), question="Shall we?", drivers=["time"],
                requirements=self._chance.sample(REQUIREMENTS, self._chance.randrange(1, 3)),
                options=self._chance.choice([[], [option], [option, {"option": "wait", "summary": "Wait"}]]),
                decide_by=self._maybe(self._day, 0.6), by=self._by(),
            )
        ]  # fmt: skip

    def _decide(self) -> list[Any]:
        outcome = self._chance.choice(["commit", "commit", "commit", "decline", "defer", "explore"])
        available = {"from": self._day(), "confidence": self._chance.choice(["low", "medium", "high"])}
        return [
            self._event(
                "decision.made", decision=self._decision(), outcome=outcome, rationale="so", instruction="Do it.",
                requirements=self._chance.sample(REQUIREMENTS, self._chance.randrange(1, 3)),
                grounds=self._maybe(lambda: self._chance.choice(["target", "exception", "obligation", "technical"])),
                option=self._maybe(lambda: "build"), tell_customer=self._maybe(lambda: "We do it."),
                available=self._maybe(lambda: available), deciders=[self._by() for _ in range(2)],
                consulted=self._maybe(lambda: [self._by()]), informed=self._maybe(lambda: ["sales"]),
                dissent=self._maybe(lambda: [{"team": self._team(), "statement": "not so"}], 0.2),
                revisit=self._maybe(self._day), seen=self._seen(),
            )
        ]  # fmt: skip

    def _seen(self) -> int | None:
        return self._maybe(lambda: self._chance.randrange(len(self._told) + 1))

    def _say_of_decision(self) -> list[Any]:
        made = self._made()
        if not made:
            return self._decide()
        decision = self._chance.choice(made)
        match self._chance.choice(["acknowledged", "reaffirmed", "reaffirmed", "superseded", "superseded"]):
            case "acknowledged":
                team, note = self._team(), self._maybe(lambda: "noted")
                return [
                    self._event("decision.acknowledged", decision=decision, team=team, note=note, by=self._by(team))
                ]
            case "reaffirmed":
                said = {"reason": "it holds", "seen": self._seen(), "by": self._by()}
                return [self._event("decision.reaffirmed", decision=decision, **said)]
            case _:
                by = self._chance.choice([each for each in made if each != decision] or made)
                said = {"superseded_by": by, "reason": "it is over", "by": self._by()}
                return [self._event("decision.superseded", decision=decision, **said)]

    def _promise(self) -> list[Any]:
        return [
            self._event(
                "promise.made", promise=f"P-{self._chance.randrange(3)}", account=self._account(),
                requirement=self._requirement(), opportunity=self._maybe(self._opportunity),
                decision=self._maybe(self._decision), due=self._maybe(self._day, 0.7), by=self._by("sales"),
            )
        ]  # fmt: skip

    def _close(self) -> list[Any]:
        outcome = self._chance.choice(["kept", "released", "missed"])
        promised = [sent.event.promise for sent in self._sent if isinstance(sent.event, PromiseMade)]
        promise = self._chance.choice([*promised, "P-0"])
        return [self._event("promise.closed", promise=promise, outcome=outcome, by=self._by("sales"))]

    def _retract(self) -> list[Any]:
        if not self._sent:
            return []
        position = self._chance.randrange(1, len(self._sent) + 1)
        subject = self._sent[position - 1].subject
        return [self._event("event.retracted", position=position, subject=subject, reason="in error", by=self._by())]
