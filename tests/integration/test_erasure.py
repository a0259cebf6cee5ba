"""Erasure under the lock: what is on record as erased has no key any more, and nothing else has lost its own."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from schemas.envelope import Refusal
from services.ledger.sequence import Result
from services.migrate import make_ledger
from services.postgres import connect
from services.projector.projector import Projector
from tests.conftest import Database
from tests.log import erased, event, redacted
from tests.readmodels import digests, reached, rebuilt_digests
from tests.writers import Writer, refused, writer


def introduced(person: str, **more: Any) -> Any:
    return event("person.introduced", person=person, name=f"The name of {person}", **more)


def asked(contact: str | None = None, quote: str | None = "We need it.", **more: Any) -> Any:
    given = {"contact": contact, "quote": quote}
    said = {name: text for name, text in given.items() if text is not None}
    return event("ask.recorded", requirement="R-1", account="acme", **said, **more)


@pytest.fixture
async def one(database: Database) -> AsyncIterator[Writer]:
    async with writer(database) as one:
        yield one


async def keys(one: Writer) -> list[int]:
    """The positions whose keys are there."""
    return [row[0] for row in await one.pool.fetch("SELECT position FROM ledger_main.sealing_keys ORDER BY 1")]


async def test_an_erased_person_has_no_key_below_and_keeps_those_above(one: Writer) -> None:
    await one.record(introduced("p-1"), asked("p-1"), introduced("p-2"), asked("p-2"), asked())
    await one.record(erased("p-1"))
    assert await keys(one) == [3, 4, 5]
    await one.record(asked("p-1"), erased("p-1"), asked("p-1"))
    assert await keys(one) == [3, 4, 5, 9]


async def test_one_request_may_introduce_and_erase(one: Writer) -> None:
    assert await one.record(introduced("p-1"), asked("p-1"), erased("p-1"), asked("p-1")) == [1, 2, 3, 4]
    assert await keys(one) == [4]
    # Likewise of a text, by whoever knows where it will stand.
    assert await one.record(asked(), redacted(5, "requirement/R-1")) == [5, 6]
    assert await keys(one) == [4]


async def test_a_redaction_destroys_one_key(one: Writer) -> None:
    await one.record(asked("p-1"), asked("p-1"), asked())
    await one.record(redacted(2, "requirement/R-1"))
    assert await keys(one) == [1, 3]
    await one.record(redacted(3, "requirement/R-1"), redacted(1, "requirement/R-1"))
    assert await keys(one) == []


async def test_a_dry_run_destroys_nothing(one: Writer) -> None:
    await one.record(introduced("p-1"), asked())
    outcome = await one.submit(erased("p-1"), redacted(2, "requirement/R-1"), judge_only=True)
    assert [each.position for each in outcome if isinstance(each, Result)] == [3, 4]
    assert await keys(one) == [1, 2]
    assert await one.log.max_position() == 2


async def test_a_request_that_is_refused_destroys_nothing(one: Writer) -> None:
    await one.record(introduced("p-1"), asked())
    outcome = await one.submit(erased("p-1"), redacted(1, "requirement/R-1"))
    assert refused(outcome) == ["rule-not-met"]
    assert await keys(one) == [1, 2]


async def test_an_erasure_sent_again_is_a_duplicate_and_destroys_nothing_more(one: Writer) -> None:
    request = erased("p-1")
    await one.record(introduced("p-1"), request)
    await one.record(introduced("p-1"))
    [again] = await one.submit(request)
    assert isinstance(again, Result) and (again.position, again.duplicate) == (2, True)
    assert await keys(one) == [3]


async def test_what_was_erased_is_known_by_its_id_alone(one: Writer) -> None:
    said = introduced("p-1")
    await one.record(said, erased("p-1"))
    [again] = await one.submit(said | {"data": said["data"] | {"name": "Another"}})
    assert isinstance(again, Result) and (again.position, again.duplicate) == (1, True)
    assert await keys(one) == []


async def test_nobody_of_whom_nothing_was_recorded_is_erased(one: Writer) -> None:
    await one.record(asked("p-1", quote=None))
    [objection] = await one.submit(erased("p-1"))
    assert isinstance(objection, Refusal) and (objection.pointer, objection.retryable) == ("/data/person", True)
    # A sealed text is enough, without an event of the person's own.
    await one.record(asked("p-1"))
    await one.record(erased("p-1"))
    # As is what was erased before.
    await one.record(erased("p-1"))
    assert await keys(one) == []


async def test_each_ledger_has_its_own_keys(database: Database, one: Writer) -> None:
    owner = await connect(database.owner)
    await make_ledger(owner, database.settings, "other")
    await owner.close()
    async with writer(database, "other") as other:
        for each in (one, other):
            await each.record(introduced("p-1"))
        await one.record(erased("p-1"))
        assert await keys(one) == []
        assert len(await other.pool.fetch("SELECT FROM ledger_other.sealing_keys")) == 1


# At once


async def test_two_erasures_at_once_are_both_recorded(database: Database, one: Writer) -> None:
    async with writer(database) as two:
        for number in range(10):
            person = f"p-{number}"
            await one.record(introduced(person), asked(person))
            positions = await asyncio.gather(*(each.record(erased(person)) for each in (one, two, one, two)))
            assert len({position for each in positions for position in each}) == 4
        assert await keys(one) == []


async def test_an_erasure_at_once_with_what_is_said_destroys_what_stands_below_it(
    database: Database, one: Writer
) -> None:
    async with writer(database) as two:
        await one.record(introduced("p-1"))
        last = 0
        for _ in range(15):
            said = [asked("p-1"), asked("p-1")]
            [erasure], *spoken = await asyncio.gather(
                one.record(erased("p-1")), *(two.record(each) for each in said), one.record(asked("p-1"))
            )
            above = sorted(position for each in spoken for position in each if position > erasure)
            assert await keys(one) == above
            last = max(erasure, *above, last)
        assert await one.log.max_position() == last


# What stays


async def test_the_log_and_every_digest_are_what_they_were(database: Database, one: Writer) -> None:
    read = "SELECT * FROM ledger_main.stored_events WHERE notification_id <= $1 ORDER BY notification_id"
    async with Projector(database.settings) as projector:
        runner = await projector.ledger("main")
        said = [
            introduced("p-1"),
            event("requirement.raised", requirement="R-1", title="Single sign-on", problem="Too many passwords."),
            asked("p-1"),
            event("feedback.received", feedback="F-1", contact="p-1", text="Well."),
        ]
        before = (await one.record(*said))[-1]
        stored = await one.pool.fetch(read, before)
        await reached(runner, before)
        known = await digests(database, before)
        head = (await one.record(erased("p-1"), redacted(2, "requirement/R-1")))[-1]
        await reached(runner, head)
        assert await keys(one) == []
        assert await one.pool.fetch(read, before) == stored
        assert await digests(database, before) == known
        # Nor does whoever builds them anew, after it, need the keys.
        live = await digests(database, head)
        assert await rebuilt_digests(database, head) == live
        assert await digests(database, before) == known
