"""What was recorded in error: shown before the position of its retraction, and no more from there on.

The deciders had it before them all the same, and what they see of it stays.
"""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec
import pytest

from tests.asking import Asking, asking
from tests.conftest import Database
from tests.ledger_service import LedgerService
from tests.log import event
from tests.questions import ask, below, plain_questions

BY = {"role": "head of product", "team": "product"}
SALES = {"role": "account executive", "team": "sales"}
WORD = "quixotic"  # Whatever answer holds it has it from the event that is retracted.

# What the retracted event meets: an agreement, an account, a requirement that is asked for, and other words of each
# kind, which count again once the last one is retracted.
BEFORE: list[Any] = [
    event(
        "agreement.revised", agreement="target-market", revision="r1", title="Banks", stage="focused", threshold=50,
        signatories=[], reason="focus", by=BY,
        bullets=[{"bullet": "bank", "text": "Banks", "test": {"op": "eq", "attribute": "industry", "value": "bank"}}],
    ),
    event("agreement.adopted", agreement="target-market", revision="r1", effective="2026-01-01", by=BY),
    event(
        "account.profiled", account="acme", name="Acme", attributes={"industry": "bank"}, time="2026-02-01T00:00:00Z",
    ),
    event("requirement.raised", requirement="R-1", title="Single sign-on", time="2026-02-01T00:00:00Z"),
    event("ask.recorded", requirement="R-1", account="acme", ask="k-1", importance=2, time="2026-02-02T00:00:00Z"),
    event("ask.recorded", requirement="R-1", account="zen:1", ask="k-2", importance=1, time="2026-02-02T00:00:00Z"),
    event("delivery.updated", requirement="R-1", state="planned", time="2026-02-03T00:00:00Z"),
    event("requirement.assessed", requirement="R-1", feasibility="feasible", plain="Easy.", by=BY),
    event("perspective.stated", requirement="R-1", team="sales", statement="We need it.", by=SALES),
    event("promise.made", promise="P-1", account="acme", requirement="R-1", by=SALES),
    event("decision.proposed", decision="D-1", requirements=["R-1"], question="When?", options=[], by=BY),
]  # fmt: skip


class Kind(NamedTuple):
    """An observation with the word in it, and the answers that show the word while it counts."""

    said: Any
    shown: tuple[str, ...]
    word: str = WORD


KINDS = {
    "ask": Kind(
        event("ask.recorded", requirement="R-1", account="acme", ask=WORD, importance=3, quote=WORD),
        ("requirements/R-1", "accounts/acme"),
    ),
    "revision of an ask": Kind(
        event("ask.recorded", requirement="R-1", account="acme", ask="k-1", importance=3, channel=WORD),
        ("requirements/R-1", "accounts/acme"),
    ),
    "fact": Kind(
        event("account.profiled", account="acme", attributes={"industry": WORD}),
        ("requirements/R-1", "accounts/acme", "attributes"),
    ),
    "attribute": Kind(event("account.profiled", account="acme", attributes={WORD: 1}), ("accounts/acme", "attributes")),
    "name": Kind(
        event("account.profiled", account="acme", name=WORD, attributes={}),
        ("requirements/R-1", "accounts/acme", "accounts"),
    ),
    "opportunity": Kind(
        event(
            "opportunity.updated", opportunity="O-1", account="acme", stage="open", amount="770077.00",
            currency="EUR", requirements=["R-1"],
        ),
        ("accounts/acme", "accounts", "requirements/R-1", "requirements"),
        "770077.00",
    ),
    "delivery": Kind(
        event("delivery.updated", requirement="R-1", state="beta", url=f"https://build.example/{WORD}"),
        ("requirements/R-1",),
    ),
    "title": Kind(
        event("requirement.raised", requirement="R-1", title=WORD),
        ("requirements/R-1", "requirements", "requirements/R-1/brief?voice=sales"),
    ),
    "alias": Kind(
        event("account.identified", account="acme", same_as=[{"system": "zen", "id": WORD}]),
        ("accounts/acme", "accounts"),
    ),
    "feedback": Kind(event("feedback.received", feedback=WORD, text="It is slow.", account="acme"), ("feedback",)),
    "promise": Kind(
        event("promise.made", promise=WORD, account="acme", requirement="R-1", by=SALES), ("promises",)
    ),
    "assessment": Kind(
        event("requirement.assessed", requirement="R-1", feasibility="infeasible", plain=WORD, by=BY),
        ("requirements/R-1", "requirements/R-1/brief?voice=sales"),
    ),
    "perspective": Kind(
        event("perspective.stated", requirement="R-1", team="sales", statement=WORD, by=SALES), ("requirements/R-1",)
    ),
    "an emitter's count": Kind(
        event(
            "source.reconciled", source=f"urn:{WORD}", to="2026-02-01", type="ledger.ask.recorded.v1", count=1,
            **{"from": "2026-01-01"},
        ),
        ("reconciliation",),
    ),
}  # fmt: skip

# History and context are about what happened, and a retraction is one more thing that did.
STAYS = {"history", "known", "true_then_not_yet_known", "happened_later"}


@pytest.fixture
async def client(database: Database) -> AsyncIterator[Asking]:
    async with asking(database) as found:
        yield found


async def post(ledger: LedgerService, client: Asking, *events: Any) -> int:
    """Record these as emitters do; the position of the last."""
    client.head = (await ledger.post(*events)).results[-1]["position"]
    return client.head


def retraction(position: int, subject: str) -> Any:
    return event("event.retracted", position=position, subject=subject, reason="recorded in error", by=BY)


async def everything(client: Asking, as_of: int) -> dict[str, tuple[int, Any]]:
    """Status and JSON of every answer about what these tests name, without what happened."""
    found = {}
    for question in plain_questions():
        path = below(question.route.path).lstrip("/")
        for name, id in (
            ("requirement", "R-1"), ("account", "acme"), ("agreement", "target-market"), ("revision", "r1"),
            ("decision", "D-1"), ("person", "p-1"),
        ):  # fmt: skip
            path = path.replace(f"{{{name}}}", id)
        assert "{" not in path, path
        path += "".join(f"?{name}={value}" for name, value in question.parameters.items())
        reply = await ask(client, path, question, as_of=as_of, timeout=30, key="personal")
        found[path] = (reply.status, without(reply.json, STAYS))
    return found


def without(answer: Any, names: set[str]) -> Any:
    match answer:
        case dict():
            return {name: without(item, names) for name, item in answer.items() if name not in names}
        case list():
            return [without(item, names) for item in answer]
        case _:
            return answer


def showing(word: str, answers: dict[str, tuple[int, Any]]) -> set[str]:
    return {path for path, (_, answer) in answers.items() if word in msgspec.json.encode(answer).decode()}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_what_is_retracted_is_shown_before_and_nowhere_after(
    ledger: LedgerService, client: Asking, kind: Kind
) -> None:
    start = await post(ledger, client, *BEFORE)
    await client.answer("requirements")
    without_it = await everything(client, start)
    said = await post(ledger, client, kind.said)
    with_it = await everything(client, said)
    assert showing(kind.word, without_it) == set()
    assert {*kind.shown} - showing(kind.word, with_it) == set()

    subject = (await ledger.get(f"/v1/ledgers/main/events/{said}")).json["subject"]
    retracted = await post(ledger, client, retraction(said, subject))
    gone = await everything(client, retracted)
    assert showing(kind.word, gone) == set()
    assert await everything(client, retracted - 1) == with_it

    later = await post(ledger, client, event("person.introduced", person="p-1", name="Ada"))
    assert showing(kind.word, await everything(client, later)) == set()
    assert await everything(client, retracted - 1) == with_it


async def test_a_retracted_withdrawal_lets_the_ask_stand_again(ledger: LedgerService, client: Asking) -> None:
    start = await post(ledger, client, *BEFORE)
    said = await post(ledger, client, event("ask.withdrawn", requirement="R-1", ask="k-1"))
    retracted = await post(ledger, client, retraction(said, "requirement/R-1"))
    asked = {
        position: [each["account"] for each in (await client.answer("requirements/R-1", as_of=position))["who_asked"]]
        for position in (start, said, retracted)
    }
    assert asked == {start: ["acme", "zen:1"], said: ["zen:1"], retracted: ["acme", "zen:1"]}
    voices = [
        (await client.answer("requirements", as_of=position))["requirements"][0]["voice"]
        for position in (start, said, retracted)
    ]
    assert voices == [2, 0, 2]


async def test_a_history_keeps_what_was_retracted_and_marks_it(ledger: LedgerService, client: Asking) -> None:
    start = await post(ledger, client, *BEFORE)
    said = await post(ledger, client, event("ask.recorded", requirement="R-1", account="acme", importance=3))
    before = (await client.answer("requirements/R-1", as_of=said))["history"]
    retracted = await post(ledger, client, retraction(said, "requirement/R-1"))
    answer = await client.answer("requirements/R-1")
    mark = {"position": retracted, "recordedtime": answer["as_of"]["recordedtime"]}
    assert [each["position"] for each in before if each["position"] > start] == [said]
    assert answer["history"][:-1] == [*before[:-1], before[-1] | {"retracted": mark}]
    assert (await client.answer("requirements/R-1", as_of=said))["history"] == before


async def test_a_retracted_alias_gives_the_asks_back(ledger: LedgerService, client: Asking) -> None:
    await post(ledger, client, *BEFORE)
    said = await post(
        ledger, client, event("account.identified", account="acme", same_as=[{"system": "zen", "id": "1"}])
    )
    retracted = await post(ledger, client, retraction(said, "account/acme"))
    for position, accounts in ((said - 1, ["acme", "zen:1"]), (said, ["acme"]), (retracted, ["acme", "zen:1"])):
        answer = await client.answer("requirements/R-1", as_of=position)
        assert [each["account"] for each in answer["who_asked"]] == accounts, position
        found = await client.get("accounts/zen:1", as_of=position)
        assert found.json["account"] == accounts[-1], position


async def test_a_retracted_end_of_a_promise_opens_it_again(ledger: LedgerService, client: Asking) -> None:
    await post(ledger, client, *BEFORE)
    said = await post(ledger, client, event("promise.closed", promise="P-1", outcome="kept", by=SALES))
    retracted = await post(ledger, client, retraction(said, "promise/P-1"))
    for position, state in ((said - 1, "open"), (said, "kept"), (retracted, "open")):
        [promise] = (await client.answer("promises", as_of=position))["promises"]
        assert promise["state"] == state, position
        brief = await client.answer("requirements/R-1/brief", voice="sales", as_of=position)
        assert brief["promises"]["open"] == (state == "open"), position


async def test_deciders_keep_what_they_had_before_them(ledger: LedgerService, client: Asking) -> None:
    before = await post(ledger, client, *BEFORE)
    fact = before - len(BEFORE) + 3
    made = await post(
        ledger, client,
        event(
            "decision.made", decision="D-1", requirements=["R-1"], outcome="commit", rationale="a bank asks",
            instruction="Build it.", deciders=[BY],
        ),
    )  # fmt: skip
    then = await client.answer("decisions/D-1", as_of=made)
    # The account was no bank.
    retracted = await post(ledger, client, retraction(fact, "account/acme"))
    now = await client.answer("decisions/D-1", as_of=retracted)
    assert (now["departs"], now["cut"]) == (then["departs"], then["cut"]) == ("no", before)
    assert [each["as_decided"] for each in now["fits"]] == [each["as_decided"] for each in then["fits"]]
    [mark] = now["needs_review"]
    assert (mark["kind"], mark["position"], mark["input"]) == ("withdrawn", retracted, "acme: industry")
    assert mark["classes"] == [{"account": "acme", "as_decided": "on_target", "as_now": "undetermined"}]
    assert (await client.answer("decisions/D-1", as_of=retracted - 1)) == then

    one = await client.answer("requirements/R-1", as_of=retracted)
    [fits] = [each for each in one["how_on_target"]["fits"] if each["account"] == "acme"]
    assert [fits[lens] and fits[lens]["class"] for lens in ("as_decided", "as_now")] == ["on_target", "undetermined"]

    context = await client.answer("decisions/D-1/context", as_of=retracted)
    [item] = [each for each in context["known"] if each["position"] == fact]
    assert item["retracted"]["position"] == retracted
    assert [each["position"] for each in context["happened_later"]] == [retracted]
    [item] = [
        each for each in (await client.answer("decisions/D-1/context", as_of=made))["known"] if each["position"] == fact
    ]
    assert "retracted" not in item


async def test_an_ask_that_was_retracted_before_the_cut_was_not_before_the_deciders(
    ledger: LedgerService, client: Asking
) -> None:
    before = await post(ledger, client, *BEFORE)
    ask = before - len(BEFORE) + 5
    retracted = await post(ledger, client, retraction(ask, "requirement/R-1"))
    made = event(
        "decision.made", decision="D-1", requirements=["R-1"], outcome="commit", rationale="so",
        instruction="Build it.", deciders=[BY],
    )  # fmt: skip
    seen = {**made, "id": "seen", "data": {**made["data"], "decision": "D-2", "seen": retracted - 1}}
    await post(ledger, client, made, seen)
    decided = {
        decision: [each["account"] for each in (await client.answer(f"decisions/{decision}"))["fits"]]
        for decision in ("D-1", "D-2")
    }
    assert decided == {"D-1": ["zen:1"], "D-2": ["acme", "zen:1"]}


async def test_what_acts_have_put_somewhere_is_there_without_the_word_that_first_named_it(database: Database) -> None:
    """Else a voice would be in no answer: merged into a requirement whose only word was retracted."""
    by = {"role": "head of product", "team": "product"}
    async with asking(database) as client:
        await client.record(
            event("requirement.raised", requirement="Y", title="Y"),
            event("ask.recorded", requirement="A", account="acme", ask="k", importance=3),
            event("requirement.merged", requirement="A", into="Y", reason="one", by=by),
            event("event.retracted", position=1, subject="requirement/Y", reason="in error", by=by),
        )
        assert (await client.get("requirements/Y", as_of=1)).status == 200
        for path in ("requirements/Y", "requirements/Y/outcome"):
            assert (await client.answer(path, at_least=client.head))["requirement"] == "Y"
        assert (await client.answer("requirements/Y/brief", voice="sales"))["requirement"] == "Y"
        one = await client.answer("requirements/Y")
        assert (one["title"], [each["account"] for each in one["who_asked"]]) == (None, ["acme"])
        listed = {row["requirement"]: row for row in (await client.answer("requirements"))["requirements"]}
        assert listed["Y"]["accounts"]["undetermined"] == 1 and listed["A"]["into"] == "Y"
