"""What is asked again of a log to which nothing was added is answered without reading it again."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from services.postgres import connect, ledger_schema
from services.projector import ahead
from services.projector.ahead import keep_ahead
from services.projector.answers.held import Held, _Ledger
from services.projector.answers.snapshot import Snapshot, open_snapshot
from services.projector.requests.kept import OCTETS_BESIDE_BODY, KeptAnswer, KeptAnswers, question
from tests.asking import Asking, asking
from tests.conftest import Database
from tests.emptied import FIRST, emptied
from tests.histories import START, Told
from tests.holding import build_anew
from tests.ledger_service import holds
from tests.log import event
from tests.questions import plain_questions
from tests.readmodels import BY

QUESTIONS = ("requirements", "requirements/R-1", "accounts", "accounts/acme", "alignment", "promises", "decisions")


class Read:
    """How many snapshots were opened for answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.snapshots = 0

        def opened(*given: Any) -> Any:
            self.snapshots += 1
            return open_snapshot(*given)

        monkeypatch.setattr("services.projector.requests.readings.open_snapshot", opened)


async def asked_for(client: Asking) -> None:
    await client.record(
        event("ask.recorded", requirement="R-1", account="acme", quote="we need it"),
        event("requirement.raised", requirement="R-1", title="Single sign-on"),
    )
    await client.answer("requirements")


async def test_what_is_asked_again_is_not_read_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with asking(database) as client:
        await asked_for(client)
        for path in QUESTIONS:
            first = await client.get(path)
            read = Read(monkeypatch)
            again, as_csv = await client.get(path), await client.get(path, headers={"Accept": "text/csv"})
            assert (again.status, again.body) == (200, first.body)
            assert {**again.headers, "Date": ""} == {**first.headers, "Date": ""}
            told = await client.get(path, headers={"If-None-Match": first.headers["ETag"]})
            assert (told.status, told.body) == (304, b"")
            assert read.snapshots > 0 if "csv" in as_csv.headers["Content-Type"] else as_csv.body == first.body
            before = read.snapshots
            await client.get(path)
            assert read.snapshots == before


async def test_what_is_recorded_is_in_the_next_answer_and_the_past_is_answered_as_before(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asking(database) as client:
        await asked_for(client)
        past = await client.get("requirements/R-1", as_of=client.head)
        assert (await client.get("requirements/R-1")).json["as_of"]["position"] == client.head
        await client.record(event("ask.recorded", requirement="R-1", account="bank"))
        assert (await client.answer("requirements/R-1"))["who_asked_total"] == 2
        assert (await client.get("requirements/R-1")).json["who_asked_total"] == 2
        read = Read(monkeypatch)
        assert (await client.get("requirements/R-1", as_of=past.json["as_of"]["position"])).body == past.body
        assert read.snapshots == 0


async def test_what_was_opened_is_opened_and_put_on_record_each_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asking(database) as client:
        await asked_for(client)
        plain = await client.get("requirements/R-1")
        owner = await connect(database.owner)
        for times in (1, 2):
            read = Read(monkeypatch)
            shown = await client.get("requirements/R-1", key="personal")
            assert b"we need it" in shown.body and b"we need it" not in plain.body
            assert read.snapshots > 0
            readings_of = f"SELECT count(*) FROM {ledger_schema('main')}.access_log"
            assert await owner.fetchval(readings_of) == times
        await owner.close()
        assert (await client.get("requirements/R-1")).body == plain.body


async def test_a_read_model_that_was_mended_is_read_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has written into a table; it is built anew, by the same version and at the same position. A list may be
    counted from what was held for a moment more, and that is not kept."""
    monkeypatch.setattr(ahead, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(ahead, "PAUSE_SECONDS", 0.01)
    held = Held()
    async with asking(database, held=held) as client:
        await asked_for(client)
        right = [await client.get(path) for path in ("requirements/R-1", "requirements")]
        connection = await connect(database.projector)
        # What was kept of the right rows goes as well: only then are the wrong ones seen.
        await build_anew(database, "requirements")
        await connection.execute(f"UPDATE {ledger_schema('main')}.requirement_rows SET title = 'Wrong'")
        assert b"Wrong" in (await client.get("requirements/R-1")).body
        assert (await client.get("requirements")).body == right[1].body
        keeping = asyncio.create_task(keep_ahead(client.projector, held))

        async def is_listed(wrong: bool) -> bool:
            return (b"Wrong" in (await client.get("requirements")).body) == wrong

        await holds(lambda: is_listed(True), meanwhile=keeping)
        await build_anew(database, "requirements")
        await connection.close()
        await holds(lambda: is_listed(False), meanwhile=keeping)
        assert [(await client.get(path)).body for path in ("requirements/R-1", "requirements")] == [
            each.body for each in right
        ]
        keeping.cancel()


async def test_a_list_follows_each_read_model_that_it_is_made_from(database: Database) -> None:
    """Nothing else was built anew, and what is held in memory is not read again meanwhile."""
    promise = {"promise": "P-1", "account": "acme", "requirement": "R-1", "by": BY}
    decision = {
        "decision": "D-1",
        "requirements": ["R-1"],
        "outcome": "defer",
        "rationale": "so",
        "instruction": "wait",
    }
    spoil = {
        "alignment": ("promises", "DELETE FROM {schema}.promises_made"),
        "decisions": ("decisions", "UPDATE {schema}.decisions_made SET revisit = '2000-01-01'"),
    }
    async with asking(database) as client:
        await asked_for(client)
        await client.record(event("promise.made", **promise), event("decision.made", **decision, deciders=[BY]))
        for path, (projection, statement) in spoil.items():
            right = await client.answer(path)
            await build_anew(database, projection)
            connection = await connect(database.projector)
            await connection.execute(statement.format(schema=ledger_schema("main")))
            await connection.close()
            wrong = await client.answer(path)
            assert wrong != right, path
            await build_anew(database, projection)
            assert await client.answer(path) == right, path
            assert (await client.get(path, as_of=client.head)).json == right, path


async def test_what_was_mended_is_listed_where_another_read_model_has_stopped(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a position that has been reached by the one that stopped, too."""
    monkeypatch.setattr(ahead, "LOOK_SECONDS", 0.01)
    held = Held()
    async with asking(database, held=held) as client:
        await asked_for(client)
        schema = ledger_schema("main")
        connection = await connect(database.projector)
        await connection.execute(f"UPDATE {schema}.requirement_rows SET title = 'Wrong'")
        await build_anew(database, "requirements")
        await connection.execute(f"UPDATE {schema}.requirement_rows SET title = 'Mended'")
        await connection.execute(
            f"UPDATE {schema}.cursors SET state = 'stopped', reason = 'bad', stopped_at = 3"
            " WHERE projection = 'accounts'"
        )
        await connection.close()
        keeping = asyncio.create_task(keep_ahead(client.projector, held))

        async def is_listed() -> bool:
            return b"Mended" in (await client.get("requirements", as_of=2)).body

        await holds(is_listed, meanwhile=keeping)
        keeping.cancel()


async def test_a_stopped_projection_is_not_answered_from_what_was_kept(database: Database) -> None:
    async with asking(database) as client:
        await asked_for(client)
        assert (await client.get("requirements/R-1")).status == 200
        connection = await connect(database.projector)
        await connection.execute(
            f"UPDATE {ledger_schema('main')}.cursors SET state = 'stopped', reason = 'broken', stopped_at = 3"
            " WHERE projection = 'requirements'"
        )
        await connection.close()
        reply = await client.get("requirements/R-1")
        assert (reply.status, reply.json["type"].rpartition("/")[2]) == (503, "projection-stopped")


async def test_another_log_is_not_answered_from_what_was_kept_of_one_with_as_many_events(database: Database) -> None:
    """As after a restore to less, when more has been recorded since. What lists are counted from is held by itself."""
    ends = {"requirements/R-1": "/requirements/{requirement}", "requirements": "/requirements"}
    questions = {
        path: next(each for each in plain_questions() if each.route.path == "/v1/ledgers/{ledger}" + end)
        for path, end in ends.items()
    }

    async with emptied(database) as ledgers, ledgers.service() as service:
        for minutes, titles in enumerate((["Single sign-on"], ["Passkeys"], ["Tokens", "Two factors"])):
            told = [
                Told(START + timedelta(minutes=minutes), event("requirement.raised", requirement=f"R-{n}", title=title))
                for n, title in enumerate(titles, 1)
            ]
            await ledgers.empty(FIRST)
            await ledgers.record(FIRST, told)
            for path, question in questions.items():
                for moment in ({}, {"as_of": 1}):
                    body = (await service.ask(f"/v1/ledgers/main/{path}", question, **moment)).body
                    assert titles[0].encode() in body, (path, titles, moment)


async def test_the_past_of_another_log_is_not_counted_from_a_longer_one_before(database: Database) -> None:
    """As after a restore to less, which nobody has asked about until the log is longer again than what is held: first
    asked is for what lies before the end of that. The read models are the same tables."""
    path = "/v1/ledgers/main/requirements"
    question = next(each for each in plain_questions() if each.route.path == "/v1/ledgers/{ledger}/requirements")
    async with emptied(database) as ledgers, ledgers.service() as service:
        for begun, titles in enumerate(("abc", "defgh")):
            told = [
                Told(
                    START + timedelta(hours=begun, minutes=n),
                    event("requirement.raised", requirement=f"R-{n}", title=f"Title {title}"),
                )
                for n, title in enumerate(titles)
            ]
            await ledgers.empty(FIRST)
            await ledgers.record(FIRST, told)
            for moment in ({"as_of": 2}, {}):
                body = (await service.ask(path, question, **moment)).body
                shown = titles[: moment.get("as_of")]
                assert all(f"Title {title}".encode() in body for title in shown), (titles, moment, body)


async def test_who_asks_about_one_subject_has_nothing_read_on_from_what_was_built_anew_or_of_another_log(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    grow = _Ledger._read

    async def reads(ledger: _Ledger, snapshot: Snapshot) -> Any:
        read.append(snapshot.ledger)
        return await grow(ledger, snapshot)

    monkeypatch.setattr(_Ledger, "_read", reads)
    raised = [event("requirement.raised", requirement="R-1", title=f"Title {n}") for n in range(6)]
    path = "/v1/ledgers/main/requirements"
    whole, one = (
        next(each for each in plain_questions() if each.route.path == f"/v1/ledgers/{{ledger}}/requirements{end}")
        for end in ("", "/{requirement}")
    )
    async with emptied(database) as ledgers, ledgers.service() as service:

        async def titled(number: int) -> bool:
            """Whether the requirement is answered with its newest title, and without anything read for lists."""
            read.clear()
            body = (await service.ask(f"{path}/R-1", one)).body
            return f"Title {number}".encode() in body and not read

        async def record(number: int, minutes: int) -> None:
            await ledgers.record(FIRST, [Told(START + timedelta(minutes=minutes), raised[number])])

        await record(0, 0)
        await service.ask(path, whole)
        await record(1, 1)
        assert not await titled(1) and read, "a little that is new is read on"
        # Another log, which is longer than what is held.
        await ledgers.empty(FIRST)
        for number in range(5):
            await record(number, 60 + number)
        assert await titled(4)
        await service.ask(path, whole)
        await build_anew(database, "accounts")
        await record(5, 65)
        assert await titled(5)


def answer(octets: int) -> KeptAnswer:
    return KeptAnswer(bytes(octets - OCTETS_BESIDE_BODY), {}, ())


def test_what_is_kept_never_takes_more_than_its_room() -> None:
    kept = KeptAnswers(octets_max=30_000)
    for name in (b"a", b"b", b"c"):
        kept.keep(name, answer(10_000))
    assert kept.octets == 30_000
    assert kept.get(b"a") is not None  # Asked for last.
    kept.keep(b"d", answer(10_000))
    assert [kept.get(name) is not None for name in (b"a", b"b", b"c", b"d")] == [True, False, True, True]
    kept.keep(b"a", answer(5_000))
    assert kept.octets == 25_000
    kept.keep(b"a", answer(30_001))
    assert kept.get(b"a") is None and kept.octets == 20_000


def test_questions_differ_by_all_that_an_answer_follows_from() -> None:
    asked = [
        (target, accept, personal)
        for target in ("/v1/ledgers/a/requirements", "/v1/ledgers/b/requirements", "/v1/ledgers/a/requirements?limit=1")
        for accept in ("", "text/csv")
        for personal in (True, False)
    ]
    assert len({question(target, accept, personal=personal) for target, accept, personal in asked}) == len(asked)
