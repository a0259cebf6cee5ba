"""The two briefs of a decision never contradict each other, nor the answers that say the same at length.

Random histories are recorded, and at random positions both voices are asked, as JSON and as documents.
`LEDGER_TEST_BRIEFS` histories, from `LEDGER_TEST_BRIEFS_SEED` on; a failure names its seed and position.
"""

import os
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from tests.conftest import Database
from tests.emptied import FIRST, Service, emptied
from tests.histories import PERSONS, REQUIREMENTS, Told, tell
from tests.madr import facts, read_document, read_record
from tests.questions import Question, declared

HISTORIES = int(os.environ.get("LEDGER_TEST_BRIEFS", "25"))
SEED = int(os.environ.get("LEDGER_TEST_BRIEFS_SEED", "1"))
MOMENTS = 3

OF_THE_DECISION = {
    *("decision", "state", "outcome", "proposed_on", "since", "decide_by", "available", "revisit", "needs_review"),
    *("overdue", "reaffirmed_on", "superseded_by", "holds_on", "holds", "undecided_on", "instruction", "tell_customer"),
}
SHARED = OF_THE_DECISION | {"requirements", "promises", "as_of", "events"}


@pytest.mark.timeout(60 + 20 * HISTORIES)
async def test_briefs_agree_with_each_other_and_with_the_answers(database: Database) -> None:
    seen: Counter[str] = Counter()
    async with emptied(database) as ledgers:
        for seed in range(SEED, SEED + HISTORIES):
            history, chance = tell(seed), random.Random(f"briefs {seed}")
            await ledgers.empty(FIRST)
            await ledgers.record(FIRST, history)
            async with ledgers.service() as service:
                for position in {*chance.sample(range(1, len(history)), MOMENTS - 1), len(history)}:
                    try:
                        seen.update([state async for state in _agree(service, history[:position], position)])
                    except AssertionError as error:
                        error.add_note(f"seed {seed}, position {position}")
                        raise
    if HISTORIES >= 25:
        assert {"proposed", "made", "superseded", "open", "needs review", "reaffirmed", "merged", "pending"} <= {*seen}


async def _agree(service: Service, history: Sequence[Told], position: int) -> Any:
    """Compare all that is told at a position. Yields what was met on the way."""
    decisions = {
        each.event["data"]["decision"]
        for each in history
        if each.event["type"] in ("ledger.decision.proposed.v1", "ledger.decision.made.v1")
    }
    for decision in sorted(decisions):
        path = f"decisions/{decision}"
        engineering = await _json(service, f"{path}/brief?voice=engineering", position)
        sales = await _json(service, f"{path}/brief?voice=sales", position)
        answer = await _json(service, path, position)
        _voices_agree(engineering, sales)
        await _what_holds_agrees(service, sales, position)
        _as_answered(sales, answer)
        _events_are_those_of_the_log(sales, history)
        record = read_record(await _text(service, f"{path}/brief?voice=engineering", position))
        _, page = read_document(await _text(service, f"{path}/brief?voice=sales", position))
        [told] = [facts(each) for each in page if each.title == "Facts"]
        assert record.facts() == told
        _documents_agree(sales, told, record.metadata)
        assert page[0].items == [" ".join(each["text"].split()) for each in sales["statements"]]
        yield sales["state"]
        if sales["needs_review"]:
            yield "needs review"
        if sales["reaffirmed_on"]:
            yield "reaffirmed"

    for requirement in REQUIREMENTS:
        status, body = await _get(service, f"requirements/{requirement}/brief?voice=sales", position)
        at_length, answered = await _get(service, f"requirements/{requirement}", position)
        assert status == at_length
        if status == 404:
            continue
        brief, answer = msgspec.json.decode(body), msgspec.json.decode(answered)
        _events_are_those_of_the_log(brief, history)
        if brief["into"] is None:
            assert brief["status"] == answer["status"]
        else:
            assert answer["status"] == "merged"
            root = await _json(service, f"requirements/{brief['into']}/brief?voice=sales", position)
            assert {name: brief[name] for name in OF_THE_DECISION} == {name: root[name] for name in OF_THE_DECISION}
            assert brief["status"] == root["status"]
            yield "merged"
        if brief["decision"] is None:
            assert brief["state"] == "open"
            yield "open"
        else:
            whole = await _json(service, f"decisions/{brief['decision']}/brief?voice=sales", position)
            assert {name: brief[name] for name in OF_THE_DECISION} == {name: whole[name] for name in OF_THE_DECISION}
            assert brief["stands_behind"] == whole["stands_behind"]
            assert brief["state"] in ("proposed", "made")
            if brief["state"] == "made":
                assert {each["text"] for each in _of(brief, "Decided on")} == {
                    each["text"] for each in _of(whole, "Decided on")
                }
        if brief["pending"]:
            yield "pending"


def _voices_agree(engineering: Any, sales: Any) -> None:
    for name in SHARED:
        assert engineering[name] == sales[name], name
    then = (engineering["instruction_then"], engineering["tell_customer_then"])
    if sales["holds_on"]:
        assert sales["instruction"]
        assert then == (None, None)
        assert {msgspec.json.encode(each) for each in engineering["deciders"]} == {
            msgspec.json.encode(each) for each in sales["stands_behind"]
        }
    else:
        assert (sales["instruction"], sales["tell_customer"], sales["stands_behind"]) == (None, None, [])
        assert bool(then[0]) is (sales["since"] is not None)
        assert not _of(sales, "Decided on")
    assert bool(engineering["marks"]) is sales["needs_review"]
    named = {each["position"] for each in sales["events"]}
    assert all({*each["events"]} <= named for each in sales["statements"])


async def _what_holds_agrees(service: Service, sales: Any, position: int) -> None:
    """What the brief of a decision says of each requirement is what the requirement's own says."""
    held = dict.fromkeys(sales["holds_on"], sales["decision"])
    for each in sales["holds"]:
        held |= dict.fromkeys(each["requirements"], each["decision"])
        told = [said["text"] for said in sales["statements"] if each["position"] in said["events"]]
        assert any(text.endswith(f"What everyone does now: {each['instruction']}") for text in told) or each["overdue"]
    about = [each["requirement"] for each in sales["requirements"]]
    assert sorted([*held, *sales["undecided_on"]]) == sorted(about)
    for requirement in about:
        status, body = await _get(service, f"requirements/{requirement}/brief?voice=sales", position)
        if status == 404:
            continue
        own = msgspec.json.decode(body)
        if requirement in held:
            assert (own["state"], own["decision"]) == ("made", held[requirement])
        else:
            assert own["state"] in ("open", "proposed")
            assert not own["instruction"]
        for each in sales["holds"]:
            if requirement in each["requirements"]:
                for name in ("outcome", "instruction", "tell_customer", "available", "overdue", "stands_behind"):
                    assert own[name] == each[name], name


def _of(brief: Any, start: str) -> list[Any]:
    return [each for each in brief["statements"] if each["text"].startswith(start)]


def _as_answered(brief: Any, answer: Any) -> None:
    for name in ("decision", "state", "outcome", "available", "revisit", "superseded_by", "overdue", "as_of"):
        assert brief[name] == answer[name], name
    assert brief["since"] == answer["time"]
    assert brief["needs_review"] is bool(answer["needs_review"])
    assert [each["requirement"] for each in brief["requirements"]] == [*dict.fromkeys(answer["requirements"])]
    proposed = answer["proposed"]
    assert brief["decide_by"] == (proposed and proposed["decide_by"])


def _events_are_those_of_the_log(brief: Any, history: Sequence[Told]) -> None:
    positions = [each["position"] for each in brief["events"]]
    assert positions == sorted({*positions})
    for each in brief["events"]:
        sent = history[each["position"] - 1].sent
        assert (each["type"], each["subject"]) == (sent.type, sent.subject)


def _documents_agree(brief: Any, told: dict[str, str], metadata: dict[str, Any]) -> None:
    assert told["Decision"] == brief["decision"]
    assert told["State"] == brief["state"]
    assert told.get("Outcome") == brief["outcome"]
    assert told["Requirements"].split(", ") == [each["requirement"] for each in brief["requirements"]]
    available = brief["available"]
    assert told.get("Available from") == (available and f"{available['from']}, confidence {available['confidence']}")
    assert told.get("Look at again on") == brief["revisit"]
    assert told.get("Superseded by") == (brief["superseded_by"] and brief["superseded_by"]["decision"])
    assert told.get("Other decisions that hold", "") == ", ".join(
        f"{each['decision']} (on {', '.join(each['requirements'])})" for each in brief["holds"]
    )
    assert told.get("Nothing is decided on", "") == ", ".join(brief["undecided_on"])
    assert told["Needs review"] == ("yes" if brief["needs_review"] else "no")
    assert told["As of position"] == str(brief["as_of"]["position"])
    if brief["state"] == "proposed":
        assert told.get("Decide by") == brief["decide_by"]
    assert str(metadata["date"]) == (brief["since"] or brief["proposed_on"])[:10]
    status = {"proposed": "proposed", "made": "accepted"}
    assert metadata["status"] == status.get(brief["state"], f"superseded by {told.get('Superseded by')}")


async def _json(service: Service, path: str, position: int) -> Any:
    status, body = await _get(service, path, position)
    assert status == 200, (path, body)
    return msgspec.json.decode(body)


async def _text(service: Service, path: str, position: int) -> str:
    status, body = await _get(service, path, position, accept="text/markdown")
    assert status == 200, (path, body)
    return body.decode()


async def _get(service: Service, path: str, position: int, accept: str = "application/json") -> tuple[int, bytes]:
    question = Question(declared()[0], {}, accept, "query")  # Of the route only the method matters.
    answer = await service.ask(f"/v1/ledgers/{FIRST}/{path}", question, as_of=position)
    assert answer.status in (200, 404), (path, answer)
    if "/brief" in path:
        assert not any(f'"{person}"'.encode() in answer.body for person in PERSONS)
    return answer.status, answer.body
