"""What cannot be asked, and what looks back at what is not there: each is told so, and nothing is recorded."""

import random
from collections.abc import AsyncIterator
from typing import Any, Literal, get_args, get_origin
from urllib.parse import quote

import pytest
from msgspec import UnsetType

from schemas.events import EVENT_TYPES, Observation
from schemas.examples import EXAMPLES
from services.problems import KINDS
from services.web import Route
from tests.asking import Asking, Reply, asking
from tests.conftest import Database
from tests.ledger_service import LedgerService
from tests.log import event
from tests.questions import ask, below, parameters, path_of, plain_questions

BY = {"role": "head of product", "team": "product"}
AGREEMENT = {"agreement": "target-market", "revision": "r1"}
BEFORE_ALL = "1999-12-31T23:59:59Z"

# An agreement that two teams sign, one requirement, one decision that was made and one that was superseded, and
# something to retract. Positions are those of the list.
RECORDED: list[Any] = [
    event(
        "agreement.revised", **AGREEMENT, title="Banks", stage="focused", threshold=50,
        signatories=["sales", "product"],
        bullets=[{"bullet": "bank", "text": "Banks", "test": {"op": "eq", "attribute": "industry", "value": "bank"}}],
        reason="focus", by=BY,
    ),
    event("requirement.raised", requirement="R-1", title="Single sign-on"),
    event("ask.recorded", requirement="R-1", account="acme", ask="k-1", importance=3),
    event("account.profiled", account="acme", attributes={"industry": "bank"}),
    event("feedback.received", feedback="F-1", text="slow"),
    event("event.retracted", position=5, subject="feedback/F-1", reason="a test", by=BY),
    event(
        "decision.made", decision="D-1", requirements=["R-1"], outcome="commit", rationale="so", instruction="Do it.",
        deciders=[BY],
    ),
    event(
        "decision.made", decision="D-2", requirements=["R-1"], outcome="decline", rationale="so", instruction="Do not.",
        deciders=[BY],
    ),
    event("decision.superseded", decision="D-2", superseded_by="D-1", reason="looked at again", by=BY),
    event("decision.proposed", decision="D-3", requirements=["R-1"], question="When?", options=[], by=BY),
    event("promise.made", promise="P-1", account="acme", requirement="R-1", due="2026-12-01", by=BY),
]  # fmt: skip
HEAD = len(RECORDED)


def made(**more: Any) -> Any:
    return event(
        "decision.made", decision="D-9", requirements=["R-1"], outcome="defer", rationale="so", instruction="Wait.",
        deciders=[BY], **more,
    )  # fmt: skip


def retracted(position: int, subject: str) -> Any:
    return event("event.retracted", position=position, subject=subject, reason="in error", by=BY)


def endorsed(revision: str = "r1", **more: Any) -> Any:
    said = {"agreement": "target-market", "revision": revision, "team": "sales", "meaning": "agree", "by": BY}
    return event("agreement.endorsed", **(said | more))


def adopted(revision: str = "r1") -> Any:
    return event("agreement.adopted", agreement="target-market", revision=revision, effective="2026-01-01", by=BY)


def superseded(decision: str, by: str) -> Any:
    return event("decision.superseded", decision=decision, superseded_by=by, reason="so", by=BY)


def reaffirmed(decision: str, **more: Any) -> Any:
    return event("decision.reaffirmed", decision=decision, reason="so", by=BY, **more)


def acknowledged(decision: str) -> Any:
    return event("decision.acknowledged", decision=decision, team="sales", by=BY)


# What it is, the event, and for each thing that speaks against it: the pointer, words of the message, whether a later
# event can change that.
REFUSED: dict[str, tuple[Any, list[tuple[str, str, bool]]]] = {
    "seen at its own position": (made(seen=HEAD + 1), [("/data/seen", f"would be at position {HEAD + 1}", False)]),
    "seen above its own position": (made(seen=10**12), [("/data/seen", f"would be at position {HEAD + 1}", False)]),
    "reaffirmed, seen at its own position": (
        reaffirmed("D-1", seen=HEAD + 1), [("/data/seen", f"would be at position {HEAD + 1}", False)],
    ),
    "endorsing what was not revised": (endorsed("r9"), [("/data/revision", "has no revision r9", True)]),
    "endorsing what nobody has heard of": (
        endorsed(agreement="unheard-of"), [("/data/revision", "unheard-of has no revision r1", True)],
    ),
    "adopting what was not revised": (adopted("r9"), [("/data/revision", "has no revision r9", True)]),
    "adopting what nobody signed": (adopted(), [("/data/revision", "not yet endorsed by sales, product", True)]),
    "retracting an act": (
        retracted(7, "decision/D-1"), [("/data/position", "ledger.decision.made.v1 is an act; acts are undone", False)],
    ),
    "retracting a retraction": (
        retracted(6, "feedback/F-1"), [("/data/position", "ledger.event.retracted.v1 is an act", False)],
    ),
    "retracting twice": (
        retracted(5, "feedback/F-1"), [("/data/position", "position 5 has been retracted already", False)],
    ),
    "retracting under another subject": (
        retracted(3, "requirement/R-2"), [("/data/subject", "position 3 is about requirement/R-1", False)],
    ),
    "retracting an act under another subject": (
        retracted(7, "decision/D-2"),
        [("/data/subject", "is about decision/D-1", False), ("/data/position", "is an act", False)],
    ),
    "retracting itself": (
        retracted(HEAD + 1, "requirement/R-1"), [("/data/position", f"no event at position {HEAD + 1}", False)],
    ),
    "retracting beyond the head": (
        retracted(HEAD + 100, "requirement/R-1"), [("/data/position", f"no event at position {HEAD + 100}", False)],
    ),
    "retracting at the last position that a number can name": (
        retracted(2**63 - 1, "requirement/R-1"), [("/data/position", "there is no event", False)],
    ),
    "acknowledging what was only proposed": (
        acknowledged("D-3"), [("/data/decision", "D-3 has not been made", True)],
    ),
    "reaffirming what was only proposed": (reaffirmed("D-3"), [("/data/decision", "D-3 has not been made", True)]),
    "reaffirming what nobody has heard of": (reaffirmed("D-8"), [("/data/decision", "D-8 has not been made", True)]),
    "reaffirming what has given way": (reaffirmed("D-2"), [("/data/decision", "D-1", False)]),
    "superseding what was only proposed": (superseded("D-3", "D-1"), [("/data/decision", "has not been made", True)]),
    "superseding by what was only proposed": (
        superseded("D-1", "D-3"), [("/data/superseded_by", "D-3 has not been made", True)],
    ),
    "superseding by itself": (superseded("D-1", "D-1"), [("/data/superseded_by", "not superseded by itself", False)]),
    "superseding twice": (superseded("D-2", "D-1"), [("/data/decision", "D-1", False)]),
    "superseding by what has given way": (superseded("D-1", "D-2"), [("/data/superseded_by", "D-1", False)]),
}  # fmt: skip

# What the type already refuses: the pointer.
ILL_FORMED: dict[str, tuple[Any, str]] = {
    "seen before the first position": (made(seen=-1), "/data/seen"),
    "retracting position 0": (retracted(0, "requirement/R-1"), "/data/position"),
    "retracting a position that no number names": (retracted(2**63, "requirement/R-1"), "/data/position"),
    "retracting without a subject": (
        event("event.retracted", position=3, reason="so", by=BY), "/data/subject",
    ),
    "retracting without a reason": (
        event("event.retracted", position=3, subject="requirement/R-1", by=BY), "/data/reason",
    ),
    "an effort that shrinks": (
        event(
            "requirement.assessed", requirement="R-1", feasibility="costly", by=BY,
            effort={"low": 3, "high": 2, "unit": "weeks"},
        ),
        "/data/effort/low",
    ),
    "a promise due on a day that there is not": (
        event("promise.made", promise="P-2", account="acme", requirement="R-1", due="2026-02-30", by=BY), "/data/due",
    ),
}  # fmt: skip


@pytest.fixture
async def client(database: Database) -> AsyncIterator[Asking]:
    async with asking(database) as found:
        yield found


async def everything(client: Asking, **moment: Any) -> list[tuple[Route, Reply]]:
    """Each route's answer, about ids that were recorded."""
    chance = random.Random(0)
    found = []
    for question in plain_questions():
        path = path_of(question, RECORDED, chance, unheard_of=False)
        found.append((question.route, await ask(client, path, question, **moment)))
    return found


def refused(reply: Reply, problem: str) -> Any:
    """The problem that a reply is, after a look at its form."""
    assert reply.headers["Content-Type"].startswith("application/problem+json"), reply.body
    found = reply.json
    assert (found["type"], found["status"]) == (f"/problems/{problem}", KINDS[problem].status), reply.body
    assert reply.status == found["status"]
    assert found["detail"]
    return found


async def test_beyond_the_head_there_is_no_answer(client: Asking) -> None:
    await client.record(*RECORDED)
    for as_of in (HEAD + 1, 10**17):
        for route, reply in await everything(client, as_of=as_of):
            found = refused(reply, "beyond-the-head")
            assert found["head"] == HEAD, route.path
            assert str(as_of) in found["detail"]
    for route, reply in await everything(client, as_of="2999-01-01T00:00:00Z"):
        assert "has not come yet" in refused(reply, "beyond-the-head")["detail"], route.path


async def test_before_the_first_event_the_ledger_is_empty(client: Asking) -> None:
    await client.record(*RECORDED)
    by_time = await everything(client, as_of=BEFORE_ALL)
    for (route, reply), (_, same) in zip(await everything(client, as_of=0), by_time, strict=True):
        assert (reply.status, reply.body) == (same.status, same.body), route.path
        if "{" in below(route.path):
            assert refused(reply, "not-found")["detail"], route.path
        elif reply.headers["Content-Type"].startswith("application/json"):
            assert reply.status == 200
            assert reply.json["as_of"] == {"position": 0, "recordedtime": None}, route.path
            assert reply.json.get("total", 0) == 0, route.path
        else:
            assert reply.status == 200
            assert len(reply.body.splitlines()) == 1, (route.path, reply.body)


async def test_an_empty_ledger_is_answered_like_position_0_of_a_full_one(client: Asking) -> None:
    empty = [(route.path, reply.status, reply.body) for route, reply in await everything(client)]
    await client.record(*RECORDED)
    past = await everything(client, as_of=0)
    assert [(route.path, reply.status, reply.body) for route, reply in past] == empty


@pytest.mark.parametrize(
    "as_of",
    [
        "yesterday", "", " ", "-1", "+1", "1.0", "1e3", "0x1", "null", "\u0661", "2026-03-01", "2026-03-01T12:00:00",
        "2026-02-30T12:00:00Z", "2026-03-01T25:00:00Z", "0000-01-01T00:00:00Z", "9" * 19, "1" * 41,
        "0001-01-01T00:00:00+14:00", "2026-03-01T12:00:00Z;drop",
    ],
)  # fmt: skip
async def test_what_is_neither_a_position_nor_a_time_is_refused(client: Asking, as_of: str) -> None:
    await client.record(*RECORDED)
    for route, reply in await everything(client, as_of=as_of):
        assert refused(reply, "bad-parameter")["parameter"] == "as_of", route.path


async def test_an_act_that_looks_at_what_is_not_there_is_refused_and_leaves_nothing(
    ledger: LedgerService, client: Asking
) -> None:
    await client.record(*RECORDED)
    before = [reply.body for _, reply in await everything(client, at_least=HEAD)]
    for case, (act, objections) in REFUSED.items():
        for sent in (act, {**act, "id": f"again-{act['id']}", "time": "2026-01-01T00:00:00Z"}):
            reply = await ledger.post(sent)
            assert (reply.status, reply.problem) == (422, "rule-not-met"), (case, reply.body)
            assert [pointer for _, pointer, _ in reply.errors] == [pointer for pointer, *_ in objections], case
            for error, (_, words, retryable) in zip(reply.json["errors"], objections, strict=True):
                assert words in error["message"], case
                assert error.get("retryable", False) is retryable, (case, error)
        spoiled = await ledger.post(act, event("account.profiled", account="other", attributes={}))
        assert (spoiled.status, [index for index, *_ in spoiled.errors]) == (422, [0] * len(objections)), case
        assert (await dry_run(ledger, act)).status == 422, case
        assert await ledger.head() == HEAD, case
    for case, (act, pointer) in ILL_FORMED.items():
        reply = await ledger.post(act)
        assert (reply.status, reply.problem) == (422, "invalid-event"), (case, reply.body)
        assert reply.errors[0][1] == pointer, (case, reply.body)
        assert await ledger.head() == HEAD, case
    assert [reply.body for _, reply in await everything(client, at_least=HEAD)] == before


async def dry_run(ledger: LedgerService, act: Any) -> Any:
    return await ledger.ask(
        "POST",
        "/v1/ledgers/main/events?dry_run=1",
        json=act,
        headers={"Content-Type": "application/cloudevents+json"},
    )


async def test_adopting_names_who_has_not_signed_until_everybody_has(ledger: LedgerService, client: Asking) -> None:
    await client.record(*RECORDED)
    for missing, then in (
        (["sales", "product"], endorsed()),
        (["product"], endorsed(team="product", meaning="object")),
        (None, endorsed(team="product", meaning="agree_with_reservations")),
    ):
        reply = await ledger.post(adopted())
        assert (reply.status, reply.problem) == (422, "rule-not-met")
        [error] = reply.json["errors"]
        assert (error.get("missing"), error.get("retryable")) == (missing, True)
        assert missing is not None or "product object to it" in error["message"]
        assert (await ledger.post(then)).status == 201
    assert (await ledger.post(adopted())).status == 201


async def test_in_one_batch_the_second_retraction_of_an_event_is_refused_with_the_first(
    ledger: LedgerService, client: Asking
) -> None:
    await client.record(*RECORDED)
    reply = await ledger.post(retracted(3, "requirement/R-1"), retracted(3, "requirement/R-1"))
    assert (reply.status, reply.errors) == (422, [(1, "/data/position", "rule-not-met")])
    assert await ledger.head() == HEAD
    one = retracted(3, "requirement/R-1")
    assert (await ledger.post(one)).status == 201
    assert (await ledger.post(one)).status == 200  # Known by its id: the same act, not another.
    assert await ledger.head() == HEAD + 1


async def test_every_observation_can_be_retracted_and_no_act(ledger: LedgerService, client: Asking) -> None:
    for type, event_type in EVENT_TYPES.items():
        sent = event(type.removeprefix("ledger.").removesuffix(".v1"), **EXAMPLES[type])
        [position] = await client.record(sent)
        stored = (await ledger.get(f"/v1/ledgers/main/events/{position}")).json
        reply = await ledger.post(retracted(position, stored["subject"]))
        assert reply.status == (201 if issubclass(event_type, Observation) else 422), (type, reply.body)
        if reply.status == 201:
            assert reply.results[0]["stream"] == stored["subject"]


async def test_each_parameter_refuses_what_it_cannot_be(client: Asking) -> None:
    await client.record(*RECORDED)
    chance = random.Random(0)
    for question in plain_questions():
        path = path_of(question._replace(parameters={}), RECORDED, chance, unheard_of=False)
        for name, hint in {**parameters(question.route), "unheard_of": bool, "timeout": float, "at_least": int}.items():
            # A plain text can be anything; whoever asks for what nobody has said finds nothing.
            if is_chosen(hint) or name in ("from", "to", "type", "currency"):
                reply = await ask(client, path, question, **{**question.parameters, name: "nonsense"})
                assert refused(reply, "bad-parameter")["parameter"] == name, (path, reply.body)
        if {"from", "to"} <= {*parameters(question.route)} and question.route.path not in OVERLAPPING:
            period = {"from": "2026-03-01", "to": "2026-02-01"}
            found = refused(await ask(client, path, question, **{**question.parameters, **period}), "bad-parameter")
            assert found["parameter"] in period, path
    assert client.head == HEAD


OVERLAPPING = {"/v1/ledgers/{ledger}/reconciliation"}
"""Counts of periods that overlap with one: of one that ends before it begins nothing is."""


async def test_a_whole_number_is_written_in_digits(ledger: LedgerService, client: Asking) -> None:
    await client.record(*RECORDED)
    for text in ("1e1", "1E1", "1.0", "10.", "+1", "0x1", "1_0", "01", "-0", "\u0661"):
        for name in ("limit", "at_least"):
            found = refused(await client.get("requirements", **{name: text}), "bad-parameter")
            assert found["parameter"] == name and f"`{name}`" in found["detail"], (name, text)
        for path in ("events?limit=", "events?after=", "streams/requirement/R-1?limit="):
            reply = await ledger.get(f"/v1/ledgers/main/{path}{quote(text)}")
            assert (reply.status, reply.problem) == (400, "bad-parameter"), (path, text)
    # A number of seconds may have a fraction, and is written as programs write it.
    for text in ("1", "0.5", "1e0"):
        assert (await client.get("requirements", timeout=text)).status == 200


def is_chosen(hint: Any) -> bool:
    """Whether a parameter takes only some values."""
    if get_origin(hint) is Literal or hint in (bool, int, float):
        return True
    return any(is_chosen(part) for part in get_args(hint) if part is not UnsetType)


PROPOSED: dict[str, Any] = {
    "stage": "focused",
    "threshold": 50,
    "bullets": [{"bullet": "b", "text": "Banks", "test": {"op": "eq", "attribute": "industry", "value": "bank"}}],
}


def proposed(**more: Any) -> Any:
    return {**PROPOSED, "bullets": [{**PROPOSED["bullets"][0], **more}]}


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        (proposed(weight=0), "/bullets/0/weight", ">= 1"),
        (
            proposed(test={"op": "not", "test": {"op": "not", "test": {"op": "not", "test": {"op": "not", "test": {
                "op": "not", "test": {"op": "exists", "attribute": "industry"},
            }}}}}),
            "/bullets/0",
            "at most 5 levels",
        ),
        (proposed(test={"op": "exists", "attribute": "industri"}), "/bullets/0/test/attribute", "'industry'"),
        (proposed(test={"op": "near", "attribute": "industry"}), "/bullets/0/test/op", "must be one of eq, ne"),
        ({**PROPOSED, "threshold": 101}, "/threshold", "<= 100"),
        ({**PROPOSED, "bullets": []}, "", "needs a `test`"),
        ({**PROPOSED, "by": BY}, "/by", "unknown field"),
    ],
)  # fmt: skip
async def test_a_proposal_that_judges_nobody_is_refused_and_nothing_is_recorded(
    ledger: LedgerService, client: Asking, body: Any, pointer: str, words: str
) -> None:
    await client.record(*RECORDED)
    await client.answer("requirements")
    reply = await client.post("agreements/target-market/what-if", body)
    [error] = refused(reply, "invalid-proposal")["errors"]
    assert error["pointer"].startswith(pointer)
    assert words in error["message"]
    assert (await client.post("agreements/target-market/what-if", PROPOSED)).status == 200
    assert await ledger.head() == HEAD
