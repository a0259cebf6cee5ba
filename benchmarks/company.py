"""A made-up company's log, the same for the same seed: what the benchmarks measure.

The events come as emitters would send them, with the time at which the ledger recorded each. Nothing here writes:
`loading.py` does, through the code of the edge. Requirements and decisions are of a fixed number, while accounts, asks
and all the rest grow with the log; so queries of logs of different lengths are about the same number of things.

Of the events 70 % are about asks, 15 % profiles, 10 % opportunities and 5 % acts, beside the raising of the
requirements. Popularity has a long tail, among requirements and among accounts, and each requirement has its season.
"""

import math
import random
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

from schemas.times import format_time

SEED = 7
REQUIREMENTS = 1_000
DECISIONS = 200
SUPERSEDING = 20  # Each last one of so many decisions supersedes an earlier one of them.
ASKS_AN_ACCOUNT = 10

FIRST_RECORDED = datetime(2023, 1, 1, tzinfo=UTC)
YEARS = timedelta(days=3 * 365)

ASKS, PROFILES, OPPORTUNITIES, ACTS = 0.70, 0.15, 0.10, 0.05

EXPLORATORY, FOCUSED, FOCUSED_ANEW = 0.01, 0.15, 0.60
"""Where in the log, as a share of it, the target market is agreed and revised."""

_RAISED_BY = 0.2  # By then every requirement has been raised.
_SEASONS = 60
_POPULARITY = 1.1
_FIRST_ACCOUNTS = 0.1  # The share of accounts that are there at the start.

_INDUSTRIES = (
    *("banking", "insurance", "retail", "logistics", "health care", "public sector", "energy", "media"),
    *("manufacturing", "software", "education", "travel"),
)
_INDUSTRY_WEIGHTS = (18, 12, 14, 9, 9, 8, 6, 5, 8, 6, 3, 2)
_COUNTRIES = ("DE", "FR", "NL", "GB", "US", "CA", "JP", "BR", "PL", "ES", "SE", "IT")
_REGIONS = {"US": "AMER", "CA": "AMER", "BR": "AMER", "JP": "APAC"}
_PROVIDERS = ("none", "entra", "okta", "ping", "keycloak")
_TOOLS = ("SAP", "Salesforce", "ServiceNow", "Workday", "Snowflake", "Kafka", "Jira", "Zendesk")
_AREAS = ("identity", "reporting", "billing", "mobile", "api", "search", "audit", "workflow", "import", "limits")
_CHANNELS = ("support", "renewal", "sales call", "community", "onboarding", "quarterly review")
_WORDS = (
    *("log in", "export", "every month", "our auditors", "the branch offices", "a second password", "by hand"),
    *("spreadsheet", "before the renewal", "in the mobile app", "as other vendors do", "for each subsidiary"),
    *("approval", "without a call to support", "at quarter's end", "roles", "the data protection officer"),
    *("takes an hour", "with one click", "since the last release", "audit trail", "in our own region"),
)
_SALES = {"role": "account executive", "team": "sales"}
_PRODUCT = {"role": "VP product", "team": "product"}
_ENGINEERING = {"role": "engineering manager", "team": "engineering"}
_SUPPORT = {"role": "support lead", "team": "support"}
_OPERATIONS = {"role": "sales operations", "team": "sales"}
_SIGNATORIES = ("sales", "marketing", "engineering")
_TEAMS = ("sales", "marketing", "engineering", "product", "support", "executive")

TARGET_MARKETS: tuple[dict[str, Any], ...] = (
    {
        "revision": "2023-exploring",
        "title": "Who needs an audit trail",
        "stage": "exploratory",
        "bullets": [
            {"bullet": "regulated", "text": "Regulated", "test": {"op": "eq", "attribute": "regulated", "value": True}},
            {"bullet": "pace", "text": "Decides within a year"},
        ],
        "threshold": 50,
    },
    {
        "revision": "2023-banks",
        "title": "Regional banks and insurers in Europe",
        "stage": "focused",
        "bullets": [
            {
                "bullet": "finance",
                "text": "Banks and insurers",
                "test": {"op": "in", "attribute": "industry", "values": ["banking", "insurance"]},
                "weight": 4,
            },
            {
                "bullet": "size",
                "text": "200 to 5,000 employees",
                "test": {"op": "between", "attribute": "employees", "low": 200, "high": 5000},
                "weight": 2,
            },
            {"bullet": "emea", "text": "In EMEA", "test": {"op": "eq", "attribute": "region", "value": "EMEA"}},
            {
                "bullet": "ready",
                "text": "Has an identity provider, or runs SAP",
                "test": {
                    "op": "any",
                    "tests": [
                        {"op": "not", "test": {"op": "eq", "attribute": "identity_provider", "value": "none"}},
                        {"op": "has", "attribute": "tools", "value": "SAP"},
                    ],
                },
            },
            {"bullet": "pace", "text": "Decides within a year"},
        ],
        "threshold": 60,
    },
    {
        "revision": "2024-regulated",
        "title": "Regulated companies with an identity provider",
        "stage": "focused",
        "bullets": [
            {
                "bullet": "regulated",
                "text": "Regulated",
                "test": {"op": "eq", "attribute": "regulated", "value": True},
                "weight": 3,
                "required": True,
            },
            {
                "bullet": "size",
                "text": "At least 500 employees",
                "test": {"op": "gte", "attribute": "employees", "value": 500},
                "weight": 2,
            },
            {
                "bullet": "provider",
                "text": "Has an identity provider",
                "test": {"op": "in", "attribute": "identity_provider", "values": ["entra", "okta", "ping"]},
                "weight": 2,
            },
            {
                "bullet": "known",
                "text": "We know where they are",
                "test": {"op": "exists", "attribute": "country"},
            },
        ],
        "threshold": 60,
    },
)
"""The revisions of the target market: an exploratory one, then two that are focused."""


class Recorded(NamedTuple):
    """An event as it was sent (CloudEvents, JSON format), and when the ledger recorded it. Those of a log are in
    order: the first is at position 1."""

    time: datetime
    event: dict[str, Any]


class _Account(NamedTuple):
    name: str
    industry: str
    employees: int
    country: str
    regulated: bool
    provider: str
    tools: list[str]
    revenue: int

    def attributes(self) -> dict[str, Any]:
        return {
            "industry": self.industry,
            "employees": self.employees,
            "country": self.country,
            "region": _REGIONS.get(self.country, "EMEA"),
            "regulated": self.regulated,
            "identity_provider": self.provider,
            "tools": self.tools,
            "annual_revenue_eur": self.revenue,
        }


class Scale(NamedTuple):
    """How many there are of what a log is about; a short log names some of them."""

    accounts: int
    requirements: int
    raised: int
    """Of the requirements, the most popular. Of the others no more is known than who asks for them."""
    decisions: int


def scale(
    events: int, *, accounts: int | None = None, requirements: int = REQUIREMENTS, decisions: int = DECISIONS
) -> Scale:
    """That of a log of so many events, of which a tenth at most raise requirements. Without `accounts` there are as
    many as have ASKS_AN_ACCOUNT each."""
    return Scale(
        accounts=max(20, round(events * ASKS / ASKS_AN_ACCOUNT)) if accounts is None else accounts,
        requirements=requirements,
        raised=min(requirements, events // 10),
        decisions=min(decisions, events // 50),
    )


def company(events: int, *, seed: int = SEED, of: Scale | None = None) -> Iterator[Recorded]:
    """A log of so many events."""
    yield from _Company(events, seed=seed, of=of or scale(events)).events()


def growth(head: int, *, seed: int = SEED, of: Scale) -> Iterator[dict[str, Any]]:
    """Events without an end that come after a log of `head` events, recorded now, in the same shares and of about the
    same bytes. None needs another of them, so they may arrive in any order. Each id carries the head and the seed, so
    that none occurs twice."""
    draw = random.Random(f"{seed} {head}")
    for number in range(1, 2**53):
        account = f"acc-{int(of.accounts * draw.random() ** 1.5):06d}"
        requirement = _requirement(int(of.requirements * draw.random() ** 3))
        id = f"grown-{seed}-{head}-{number}"
        match draw.random():
            case share if share < ASKS:
                data = {
                    "requirement": requirement,
                    "account": account,
                    "importance": draw.randint(0, 3),
                    "contact": f"p-{account}",
                    "channel": draw.choice(_CHANNELS),
                    "url": f"https://desk.example/tickets/{number:08d}",
                    "labels": {"language": "en", "plan": "enterprise"},
                    "by": _SUPPORT,
                }
                quote = {"quote": _sentence(draw)} if draw.random() < 1 / 3 else {}
                yield _event(id, "/desk", "ask.recorded", None, data | quote)
            case share if share < ASKS + PROFILES:
                attributes = {
                    "industry": draw.choice(_INDUSTRIES),
                    "employees": draw.randint(20, 9000),
                    "country": draw.choice(_COUNTRIES),
                    "identity_provider": draw.choice(_PROVIDERS),
                    "tools": draw.sample(_TOOLS, 3),
                }
                yield _event(id, "/crm", "account.profiled", None, {"account": account, "attributes": attributes})
            case share if share < ASKS + PROFILES + OPPORTUNITIES or not of.decisions:
                data = {
                    "opportunity": f"opp-{id}",
                    "account": account,
                    "stage": "open",
                    "currency": "EUR",
                    "amount": f"{draw.randint(5, 400)}000.00",
                    "kind": "new",
                    "pipeline_stage": "negotiation",
                    "reason": "As it stands in the weekly call of the region.",
                }
                yield _event(id, "/crm", "opportunity.updated", None, data)
            case _ if draw.random() < 1 / 3:
                raised = _requirement(int(of.raised * draw.random() ** 3))
                data = {"requirement": raised, "title": f"{draw.choice(_WORDS).capitalize()}: {number}"}
                data |= {"reason": "As customers call it.", "by": _PRODUCT}
                yield _event(id, "/roadmap", "requirement.reworded", None, data)
            case _:
                team = draw.choice(_TEAMS)
                data = {
                    "decision": _decision(draw.randrange(of.decisions) // SUPERSEDING * SUPERSEDING),
                    "team": team,
                    "note": "Those who asked have been told, in writing, with the date.",
                    "by": {"role": f"VP {team}", "team": team},
                }
                yield _event(id, "/decisions", "decision.acknowledged", None, data)


class _Company:
    def __init__(self, events: int, *, seed: int, of: Scale) -> None:
        self._draw = random.Random(seed)
        self._count = events
        self._requirements = of.requirements
        self._raises = of.raised
        self._decisions = of.decisions
        self._accounts: list[_Account] = []
        self._accounts_max = of.accounts
        self._unprofiled: list[int] = []
        self._profiled: list[int] = []
        self._aliased: set[int] = set()
        self._apart: set[int] = set()  # Accounts that a merge was ever about.
        self._merged: list[int] = []
        self._raised = 0
        self._opportunities: list[tuple[int, str, int]] = []  # Account, currency, thousands.
        self._closed: set[int] = set()
        # Asks that have an id of their own, by what it is about and where it was recorded.
        self._ask_requirement = array("i")
        self._ask_account = array("i")
        self._ask_position = array("q")
        self._settled: set[int] = set()  # Asks that were moved, withdrawn or retracted.
        self._retracted: set[int] = set()
        self._profiles = array("q")  # The positions of profiles, and whose they are.
        self._profiles_of = array("i")
        self._made: list[int] = []
        self._superseded: set[int] = set()
        self._revised: list[tuple[str, str]] = []
        self._seasons = self._popularity()
        self._position = 0
        self._now = FIRST_RECORDED
        self._step = YEARS / (events + 1)

    def events(self) -> Iterator[Recorded]:
        planned = self._plan()
        acts = sum(1 for kind, _ in planned.values() if kind == "act")
        left = self._count - len(planned)
        shares = [*accumulate((ASKS, PROFILES, OPPORTUNITIES, max(0.0, (ACTS * self._count - acts) / max(1, left))))]
        makers: tuple[Callable[[], dict[str, Any]], ...] = (self._ask, self._profile, self._opportunity, self._act)
        for index in range(self._count):
            self._position = index + 1
            self._now = FIRST_RECORDED + self._step * self._position
            self._grow()
            if index in planned:
                event = planned[index][1]()
            else:
                drawn = self._draw.random() * shares[-1]
                event = makers[min(bisect_right(shares, drawn), len(makers) - 1)]()
            yield Recorded(self._now, event)

    # What is planned: requirements, target markets, decisions

    def _plan(self) -> dict[int, tuple[str, Callable[[], dict[str, Any]]]]:
        """Where in the log (from 0) something happens that is not drawn."""
        planned: dict[int, tuple[str, Callable[[], dict[str, Any]]]] = {}

        def put(share: float, kind: str, make: Callable[[], dict[str, Any]]) -> None:
            index = min(int(share * self._count), self._count - 1)
            while index in planned:
                index += 1
            if index < self._count:
                planned[index] = (kind, make)

        for number in range(self._raises):
            put(_RAISED_BY * number / self._raises, "observation", self._raise)
        for share, market in zip((EXPLORATORY, FOCUSED, FOCUSED_ANEW), TARGET_MARKETS, strict=True):
            for make in self._agreeing(market):
                put(share, "act", make)
        for number in range(self._decisions):
            share = 0.05 + 0.94 * number / self._decisions
            on = self._decided_on(share)
            put(share, "act", partial(self._propose, number, on))
            put(share + 0.004, "act", partial(self._decide, number, on))
            if number % 4 == 0:
                put(share + 0.03, "observation", partial(self._deliver, on[0]))
            if number % SUPERSEDING == SUPERSEDING - 1:
                put(share + 0.005, "act", partial(self._supersede, number))
        return planned

    def _raise(self) -> dict[str, Any]:
        number = self._raised
        self._raised += 1
        draw = self._draw
        data = {
            "requirement": _requirement(number),
            "title": f"{draw.choice(_WORDS).capitalize()}: {draw.choice(_WORDS)}, {draw.choice(_WORDS)}",
            "problem": _sentence(draw),
            "area": draw.choice(_AREAS),
            "labels": {"quarter": f"{self._now.year}-Q{(self._now.month + 2) // 3}"},
            "links": [{"system": "jira", "id": f"P-{number}", "url": f"https://jira.example/browse/P-{number}"}],
            "by": _PRODUCT,
        }
        return self._event("/roadmap", "requirement.raised", data)

    def _agreeing(self, market: dict[str, Any]) -> Iterator[Callable[[], dict[str, Any]]]:
        named = {"agreement": "target-market", "revision": market["revision"]}
        revised = {
            **market,
            **named,
            "statement": "Companies that are audited, and that can buy without a committee.",
            "signatories": [*_SIGNATORIES],
            "reason": "What we have learned since the last one.",
            "by": _PRODUCT,
        }
        yield partial(self._event, "/strategy", "agreement.revised", revised)
        for team in _SIGNATORIES:
            endorsed = {**named, "team": team, "meaning": "agree", "by": {"role": f"VP {team}", "team": team}}
            yield partial(self._event, "/strategy", "agreement.endorsed", endorsed)
        yield partial(self._adopt, named)

    def _adopt(self, named: dict[str, Any]) -> dict[str, Any]:
        data = {**named, "effective": format_time(self._now), "by": _PRODUCT}
        return self._event("/strategy", "agreement.adopted", data)

    def _decided_on(self, share: float) -> list[int]:
        """Popular requirements of the season, more often than others."""
        raised = max(1, int(self._raises * min(1.0, share / _RAISED_BY)) - 1)
        return sorted({self._asked_and_raised(share, raised) for _ in range(1 + (self._draw.random() < 0.2))})

    def _propose(self, number: int, on: list[int]) -> dict[str, Any]:
        data = {
            "decision": _decision(number),
            "requirements": [_requirement(each) for each in on],
            "question": f"Do we build it before the end of {self._now.year}?",
            "drivers": ["Renewals depend on it", "It fits the target market"],
            "options": [
                {
                    "option": "now",
                    "summary": "Build it now",
                    "arguments": [{"verdict": "good", "text": "It keeps renewals", "team": "sales"}],
                },
                {"option": "later", "summary": "After the next release"},
            ],
            "decide_by": (self._now + timedelta(days=30)).date().isoformat(),
            "by": _PRODUCT,
        }
        return self._event("/decisions", "decision.proposed", data)

    def _decide(self, number: int, on: list[int]) -> dict[str, Any]:
        draw = self._draw
        self._made.append(number)
        data: dict[str, Any] = {
            "decision": _decision(number),
            "requirements": [_requirement(each) for each in on],
            "outcome": draw.choices(("commit", "decline", "defer", "explore"), (50, 20, 15, 15))[0],
            "grounds": draw.choices(("target", "exception", "obligation", "technical"), (70, 15, 10, 5))[0],
            "option": draw.choice(("now", "later")),
            "rationale": "Those who ask are those whom we build for. " + _sentence(draw),
            "instruction": "Tell those who asked what was decided, and from when.",
            "deciders": [_PRODUCT, {"role": "VP sales", "team": "sales"}],
            "informed": ["marketing", "support"],
            "revisit": (self._now + timedelta(days=180)).date().isoformat(),
        }
        if draw.random() < 0.3:
            data["seen"] = max(0, self._position - 1 - int(self._count * 0.002 * draw.random()))
        return self._event("/decisions", "decision.made", data)

    def _supersede(self, number: int) -> dict[str, Any]:
        self._superseded.add(number - 10)
        return self._event(
            "/decisions",
            "decision.superseded",
            {
                "decision": _decision(number - 10),
                "superseded_by": _decision(number),
                "reason": "The later one settles both.",
                "by": _PRODUCT,
            },
        )

    def _deliver(self, requirement: int) -> dict[str, Any]:
        state = self._draw.choice(("planned", "in_progress", "beta", "shipped"))
        target = (self._now + timedelta(days=90)).date().isoformat()
        data = {"requirement": _requirement(requirement), "state": state, "target": target, "by": _ENGINEERING}
        return self._event("/builds", "delivery.updated", data)

    # What is drawn: observations

    def _ask(self) -> dict[str, Any]:
        draw = self._draw
        what = draw.random()
        if what < 0.01 and (number := self._standing()) is not None:
            self._settled.add(number)
            withdrawn = {
                "requirement": _requirement(self._ask_requirement[number]),
                "ask": _ask(number),
                "reason": "They have found another way.",
                "by": _SALES,
            }
            return self._event("/desk", "ask.withdrawn", withdrawn)
        data: dict[str, Any] = {}
        number = None
        if what < 0.18 and (number := self._standing()) is not None:
            requirement, account = self._ask_requirement[number], self._ask_account[number]
        else:
            requirement, account = self._asked_for(self._position / self._count), self._busy()
            if draw.random() < 0.7:
                number = len(self._ask_position)
                self._ask_requirement.append(requirement)
                self._ask_account.append(account)
                self._ask_position.append(self._position)
        if number is not None:
            data["ask"] = _ask(number)
        ticket = self._position
        data |= {
            "requirement": _requirement(requirement),
            "account": self._called(account),
            "importance": draw.choices((0, 1, 2, 3), (10, 50, 28, 12))[0],
            "contact": f"p-{account:06d}-{int(draw.random() * 4)}",
            "channel": draw.choice(_CHANNELS),
            "url": f"https://desk.example/tickets/{ticket:08d}",
            "labels": {"language": draw.choice(("en", "de", "fr")), "plan": draw.choice(("team", "enterprise"))},
            "by": _SUPPORT if draw.random() < 0.6 else _SALES,
        }
        if draw.random() < 1 / 3:
            data["quote"] = _sentence(draw)
        if draw.random() < 0.1:
            data["needed_by"] = (self._now + timedelta(days=int(draw.random() * 300))).date().isoformat()
        if self._opportunities and draw.random() < 0.1:
            data["opportunity"] = _opportunity(int(draw.random() * len(self._opportunities)))
        return self._event("/desk", "ask.recorded", data, late=0.03)

    def _profile(self) -> dict[str, Any]:
        draw = self._draw
        what = draw.random()
        if not self._profiled or (self._unprofiled and what < 0.42):
            where = int(draw.random() * len(self._unprofiled)) if self._unprofiled else 0
            if self._unprofiled:
                self._unprofiled[where], self._unprofiled[-1] = self._unprofiled[-1], self._unprofiled[where]
            account = self._unprofiled.pop() if self._unprofiled else 0
            self._profiled.append(account)
            return self._profiling(account, self._accounts[account].attributes())
        account = self._profiled[int(len(self._profiled) * draw.random() ** 1.5)]
        if what < 0.50:
            self._aliased.add(account)
            system, _, id = _alias(account).partition(":")
            claimed = {"account": _account(account), "same_as": [{"system": system, "id": id}]}
            return self._event("/desk", "account.identified", claimed)
        if what < 0.85:
            # A nightly sync sends whatever it has, changed or not.
            night = (self._now - timedelta(hours=2)).replace(hour=2, minute=0, second=0, microsecond=0)
            return self._profiling(account, self._accounts[account].attributes(), time=night)
        known = self._accounts[account]
        match draw.randrange(4):
            case 0:
                known = known._replace(employees=max(1, round(known.employees * (0.7 + draw.random()))))
                name = "employees"
            case 1:
                known = known._replace(provider=draw.choice(_PROVIDERS))
                name = "identity_provider"
            case 2:
                known = known._replace(regulated=not known.regulated)
                name = "regulated"
            case _:
                known = known._replace(industry=draw.choices(_INDUSTRIES, _INDUSTRY_WEIGHTS)[0])
                name = "industry"
        late = what >= 0.93
        if not late:
            self._accounts[account] = known
        # A late fact was true long ago, and what came after it stands.
        return self._profiling(account, {name: known.attributes()[name]}, late=1.0 if late else 0.0)

    def _profiling(
        self, account: int, attributes: dict[str, Any], *, time: datetime | None = None, late: float = 0.0
    ) -> dict[str, Any]:
        self._profiles.append(self._position)
        self._profiles_of.append(account)
        data = {"account": _account(account), "name": self._accounts[account].name, "attributes": attributes}
        return self._event("/crm", "account.profiled", data, time=time, late=late)

    def _opportunity(self) -> dict[str, Any]:
        draw = self._draw
        if not self._opportunities or draw.random() < 0.4:
            number = len(self._opportunities)
            currency = draw.choices(("EUR", "USD", "GBP"), (5, 3, 2))[0]
            self._opportunities.append((self._busy(), currency, 5 + int(400 * draw.random() ** 3)))
            stage = "open"
        else:
            # Mostly one of the newer ones.
            number = int(len(self._opportunities) * (1 - 0.4 * draw.random() ** 2)) - 1
            stage = draw.choices(("open", "won", "lost"), (45, 35, 20))[0]
        account, currency, thousands = self._opportunities[number]
        data: dict[str, Any] = {
            "opportunity": _opportunity(number),
            "account": _account(account),
            "stage": stage,
            "amount": f"{thousands}000.00",
            "currency": currency,
            "kind": ("new", "expansion", "renewal")[number % 3],
            "pipeline_stage": {"open": "negotiation", "won": "signed", "lost": "closed"}[stage],
            "closes": (self._now + timedelta(days=45)).date().isoformat(),
            "competitors": [f"Vendor {number % 17}", f"Vendor {number % 13}"],
            "reason": "As it stands in the weekly call of the region, with what the buyer has said of the budget.",
        }
        if stage == "won":
            data["starts"] = self._now.date().isoformat()
            data["ends"] = (self._now + timedelta(days=365)).date().isoformat()
        if number % 3 == 0:
            data["requirements"] = [_requirement(self._asked_for(self._position / self._count))]
        return self._event("/crm", "opportunity.updated", data)

    # What is drawn: acts

    def _act(self) -> dict[str, Any]:
        makers: tuple[tuple[int, Callable[[], dict[str, Any] | None]], ...] = (
            (10, self._move),
            (6, self._merge),
            (1, self._unmerge),
            (8, self._retract),
            (20, self._reword),
            (20, self._acknowledge),
            (5, self._reaffirm),
            (30, self._endorse),
        )
        made = self._draw.choices([make for _, make in makers], [weight for weight, _ in makers])[0]()
        return made or self._endorse()

    def _move(self) -> dict[str, Any] | None:
        number = self._standing()
        to = self._asked_for(self._position / self._count)
        if number is None or to == self._ask_requirement[number]:
            return None
        self._settled.add(number)
        data = {
            "requirement": _requirement(self._ask_requirement[number]),
            "ask": _ask(number),
            "to": _requirement(to),
            "reason": "They mean that one: see the ticket.",
            "by": _PRODUCT,
        }
        return self._event("/roadmap", "ask.moved", data)

    def _merge(self) -> dict[str, Any] | None:
        account, into = self._busy(), self._busy()
        if account == into or account in self._apart or into in self._apart:
            return None
        self._apart |= {account, into}
        self._merged.append(account)
        data = {"account": _account(account), "into": _account(into), "reason": "One company, one contract."}
        return self._event("/crm", "account.merged", data | {"by": _OPERATIONS})

    def _unmerge(self) -> dict[str, Any] | None:
        if not self._merged:
            return None
        account = self._merged.pop()
        data = {"account": _account(account), "reason": "The subsidiary buys for itself again.", "by": _OPERATIONS}
        return self._event("/crm", "account.unmerged", data)

    def _retract(self) -> dict[str, Any] | None:
        draw = self._draw
        if draw.random() < 0.6 and (number := self._standing()) is not None:
            self._settled.add(number)
            position = self._ask_position[number]
            subject = f"requirement/{_requirement(self._ask_requirement[number])}"
        elif self._profiles:
            which = int(draw.random() * len(self._profiles))
            position, subject = self._profiles[which], f"account/{_account(self._profiles_of[which])}"
        else:
            return None
        if position in self._retracted:
            return None
        self._retracted.add(position)
        data = {"position": position, "subject": subject, "reason": "It was another customer's.", "by": _OPERATIONS}
        return self._event("/corrections", "event.retracted", data)

    def _reword(self) -> dict[str, Any] | None:
        if not self._raised:
            return None
        requirement = self._asked_and_raised(self._position / self._count, self._raised)
        title = f"{self._draw.choice(_WORDS).capitalize()}: {self._draw.choice(_WORDS)}"
        data = {"requirement": _requirement(requirement), "title": title, "reason": "As customers call it."}
        return self._event("/roadmap", "requirement.reworded", data | {"by": _PRODUCT})

    def _acknowledge(self) -> dict[str, Any] | None:
        decision = self._in_force()
        if decision is None:
            return None
        team = self._draw.choice(_TEAMS)
        data = {
            "decision": _decision(decision),
            "team": team,
            "note": "Those who asked have been told, in writing, with the date.",
            "by": {"role": f"VP {team}", "team": team},
        }
        return self._event("/decisions", "decision.acknowledged", data)

    def _reaffirm(self) -> dict[str, Any] | None:
        decision = self._in_force()
        if decision is None:
            return None
        data = {"decision": _decision(decision), "reason": "It holds with what is known now.", "by": _PRODUCT}
        return self._event("/decisions", "decision.reaffirmed", data)

    def _endorse(self) -> dict[str, Any]:
        """Agreements of the regions on what a qualified lead is, which asks are not judged by."""
        agreement = f"qualified-lead-{self._draw.randrange(12):02d}"
        if len(self._revised) < 20 or self._draw.random() < 0.1:
            revision = f"r{len(self._revised)}"
            self._revised.append((agreement, revision))
            revised = {
                "agreement": agreement,
                "revision": revision,
                "title": "What the region hands over",
                "stage": "focused",
                "bullets": [
                    {
                        "bullet": "size",
                        "text": "At least 50 employees",
                        "test": {"op": "gte", "attribute": "employees", "value": 50},
                    }
                ],
                "threshold": 50,
                "signatories": ["sales", "marketing"],
                "reason": "The region asked for it.",
                "by": _OPERATIONS,
            }
            return self._event("/strategy", "agreement.revised", revised)
        agreement, revision = self._draw.choice(self._revised)
        team = self._draw.choice(("sales", "marketing"))
        data = {
            "agreement": agreement,
            "revision": revision,
            "team": team,
            "meaning": self._draw.choice(("agree", "agree_with_reservations")),
            "note": "We keep what we have promised to the customers that we have there.",
            "by": {"role": f"VP {team}", "team": team},
        }
        return self._event("/strategy", "agreement.endorsed", data)

    # Whom and what it is about

    def _popularity(self) -> list[list[float]]:
        """For each season the running sums of how often the requirements are asked for. A requirement has a rank
        (Zipf), a best time, and how long that is."""
        draw = self._draw
        ranks = [*range(1, self._raises + 1)]
        draw.shuffle(ranks)
        ranks += range(self._raises + 1, self._requirements + 1)
        shapes = [(rank**-_POPULARITY, 1.1 * draw.random(), 0.1 + 0.4 * draw.random()) for rank in ranks]
        seasons = []
        for season in range(_SEASONS):
            at = (season + 0.5) / _SEASONS
            seasons.append(
                [
                    *accumulate(
                        weight * (0.15 + math.exp(-(((at - best) / width) ** 2)))
                        if number < self._raises * min(1.0, at / _RAISED_BY) or number >= self._raises
                        else 0.0
                        for number, (weight, best, width) in enumerate(shapes)
                    )
                ]
            )
        return seasons

    def _asked_for(self, share: float) -> int:
        sums = self._seasons[min(_SEASONS - 1, int(share * _SEASONS))]
        # By now each that ever is has been raised, but for those of the season's end.
        number = bisect_right(sums, self._draw.random() * sums[-1])
        return min(number, self._requirements - 1)

    def _asked_and_raised(self, share: float, before: int) -> int:
        """One that is asked for, of the first that are raised."""
        while (number := self._asked_for(share)) >= self._raises:
            pass
        return min(number, before - 1)

    def _busy(self) -> int:
        """An account that is there; some are heard of far more often than others."""
        return int(len(self._accounts) * self._draw.random() ** 1.5)

    def _grow(self) -> None:
        wanted = self._accounts_max * (_FIRST_ACCOUNTS + (1 - _FIRST_ACCOUNTS) * self._position / self._count)
        while len(self._accounts) < min(wanted, self._accounts_max):
            number = len(self._accounts)
            draw = self._draw
            industry = draw.choices(_INDUSTRIES, _INDUSTRY_WEIGHTS)[0]
            employees = round(10 ** (1 + 3.3 * draw.random()))
            self._accounts.append(
                _Account(
                    name=f"{draw.choice(_WORDS).title()} {industry.title()} {number}",
                    industry=industry,
                    employees=employees,
                    country=draw.choice(_COUNTRIES),
                    regulated=draw.random() < (0.9 if industry in ("banking", "insurance", "health care") else 0.2),
                    provider=draw.choices(_PROVIDERS, (30, 30, 20, 10, 10))[0],
                    tools=draw.sample(_TOOLS, 1 + int(draw.random() * 4)),
                    revenue=employees * (50_000 + int(150_000 * draw.random())),
                )
            )
            if draw.random() < 0.85:
                self._unprofiled.append(number)

    def _standing(self) -> int | None:
        """An ask with an id of its own that was neither moved nor taken back, or None if none was hit upon."""
        if not self._ask_position:
            return None
        number = int(self._draw.random() * len(self._ask_position))
        return None if number in self._settled else number

    def _in_force(self) -> int | None:
        if not self._made:
            return None
        decision = self._draw.choice(self._made)
        return None if decision in self._superseded else decision

    def _called(self, account: int) -> str:
        """What an emitter calls it: some know it by the id of another system only."""
        return _alias(account) if account in self._aliased and self._draw.random() < 0.3 else _account(account)

    def _event(
        self, source: str, kind: str, data: dict[str, Any], *, time: datetime | None = None, late: float = 0.0
    ) -> dict[str, Any]:
        """An event of now: some say nothing of the time, most are some minutes old, those that are late some months."""
        draw = self._draw
        if time is None:
            if late and draw.random() < late:
                time = self._now - timedelta(days=30 + int(300 * draw.random()))
            elif draw.random() < 0.8:
                time = self._now - timedelta(seconds=int(3600 * draw.random()))
        return _event(f"{source[1:]}-{self._position:08d}", source, kind, time, data)


def _event(id: str, source: str, kind: str, time: datetime | None, data: dict[str, Any]) -> dict[str, Any]:
    said = {"specversion": "1.0", "id": id, "source": source, "type": f"ledger.{kind}.v1"}
    return said | ({"time": format_time(time)} if time else {}) | {"data": data}


def _sentence(draw: random.Random) -> str:
    return f"We need this: {', '.join(draw.choices(_WORDS, k=5))}. {draw.choice(_WORDS).capitalize()} is what it is."


def _requirement(number: int) -> str:
    return f"REQ-{number:04d}"


def _account(number: int) -> str:
    return f"acc-{number:06d}"


def _alias(number: int) -> str:
    return f"desk:{number:06d}"


def _ask(number: int) -> str:
    return f"ask-{number:07d}"


def _opportunity(number: int) -> str:
    return f"opp-{number:06d}"


def _decision(number: int) -> str:
    return f"D-{number:04d}"
