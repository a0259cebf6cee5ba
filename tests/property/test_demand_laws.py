"""For whom demand comes, of all asks at once, is what the lenses say of each."""

import random
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.projector.counting.clusters import Shared
from services.projector.counting.columns import Column
from services.projector.counting.demand import Judged, Made, demand, most_asked, requirements_asked, shared, waiting
from services.projector.counting.worth import money
from services.projector.judgement.fit import CLASSES
from services.projector.judgement.lenses import Ask, as_asked, as_now, class_of, count_by_class
from services.projector.judgement.period import Period
from services.projector.judgement.revenue import Revenue, total
from tests.counting import ATTRIBUTES, History, counted, some_history
from tests.property.test_standings_laws import revenue_by_account

Judge = tuple[History, Judged, list[Ask]]


@st.composite
def histories(draw: st.DrawFn) -> Judge:
    """A random history at a random position, and the asks of a random period, as columns and as the lenses have
    them."""
    chance = random.Random(draw(st.integers(0, 2**32)))
    length = draw(st.integers(5, 70))
    history = some_history(chance, length)
    position = draw(st.integers(1, length))
    ends = sorted(chance.choice([history.now(at), *(ask.asked[0] for ask in history.live(at))]) for at in (1, length))
    since, until = (end if chance.random() < 0.5 else None for end in ends)
    period = Period(since=since, until=until)
    asks = [ask for ask in history.live(position) if period.holds(ask.asked[0])]
    return history, Judged.within(counted(history), position, history.now(position), period), asks


@given(histories())
def test_asks_accounts_and_revenue_by_class_and_month(found: Judge) -> None:
    history, judged, asks = found
    result = demand(judged)
    assert shown(judged, result.as_asked) == expected(history, judged, asks, "asked")
    assert shown(judged, result.as_now) == expected(history, judged, asks, "now")
    months: dict[str, list[Ask]] = {}
    for ask in asks:
        months.setdefault(f"{ask.asked[0].astimezone(UTC):%Y-%m}", []).append(ask)
    assert [each.month for each in result.months] == sorted(months)
    for each in result.months:
        assert shown(judged, each.as_asked) == expected(history, judged, months[each.month], "asked")
        assert shown(judged, each.as_now) == expected(history, judged, months[each.month], "now")


@given(histories())
def test_who_is_off_target_or_waits_and_for_what(found: Judge) -> None:
    history, judged, asks = found
    result = demand(judged)
    knowledge = history.knowledge(judged.position)
    askers = as_now(knowledge, asks, judged.now, judged.position)
    off = {each.account for each in askers if each.class_ == "off_target"}
    assert names(judged, result.off_target) == sorted(off)
    assert waiting(judged, result.undetermined) == {
        each.account: each.judgement.fit.would_settle if each.judgement else []
        for each in askers
        if each.class_ == "undetermined"
    }
    revenues = revenue_by_account(history, judged.position)
    assert judged.revenue_of(result.off_target) == total(revenues.get(account, {}) for account in off)
    asked_for = Counter(name for name, account in {(ask.requirement, ask.account) for ask in asks} if account in off)
    most = sorted(asked_for.items(), key=lambda each: (-each[1], each[0]))
    assert most_asked(judged, result.off_target) == most[:3]
    assert requirements_asked(judged.counted, judged.position) == {
        ask.requirement for ask in history.live(judged.position)
    }


@given(histories())
def test_what_is_known_of_all_and_of_some(found: Judge) -> None:
    history, judged, _ = found
    knowledge, accounts = history.knowledge(judged.position), history.lineage.accounts
    off = demand(judged).off_target
    roots = sorted({accounts.root(name, judged.position) for name in judged.counted.accounts.texts})
    profiles = {
        root: dict(zip(ATTRIBUTES, knowledge.profile(root, ATTRIBUTES, judged.now, judged.position), strict=True))
        for root in roots
    }
    expected = []
    for name in sorted(ATTRIBUTES):
        having = {root: profile[name] for root, profile in profiles.items() if profile[name] != "null"}
        if having:
            askers = {root: text for root, text in having.items() if root in names(judged, off)}
            expected.append(Shared(attribute=name, accounts=dict(Counter(having.values())), askers=askers))
    assert [*shared(judged, off)] == expected


def names(judged: Judged, accounts: Column) -> list[str]:
    return sorted(judged.name(account) for account in accounts.tolist())


def shown(judged: Judged, made: Made) -> tuple[Any, ...]:
    revenue = {
        class_: money(judged.counted.currencies, amounts) for class_, amounts in zip(CLASSES, made.revenue, strict=True)
    }
    asks, accounts = (dict(zip(CLASSES, each.tolist(), strict=True)) for each in (made.asks, made.accounts))
    return asks, accounts, revenue


def expected(history: History, judged: Judged, asks: Iterable[Ask], lens: str) -> tuple[Any, ...]:
    knowledge, now, position = history.knowledge(judged.position), judged.now, judged.position
    asks = [*asks]

    def class_at(ask: Ask, time: datetime) -> Any:
        assert ask.account is not None
        return class_of(knowledge.judge(ask.account, time, position, ask))

    askers = as_now(knowledge, asks, now, position) if lens == "now" else as_asked(knowledge, asks, position)
    revenues = revenue_by_account(history, position)
    earned: dict[str, list[Revenue]] = {class_: [] for class_ in CLASSES}
    for each in askers:
        earned[each.class_].append(revenues.get(each.account, {}))
    return (
        count_by_class(class_at(ask, now if lens == "now" else ask.asked[0]) for ask in asks),
        count_by_class(each.class_ for each in askers),
        {class_: total(amounts) for class_, amounts in earned.items()},
    )
