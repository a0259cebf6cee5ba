"""The projector's HTTP: parameters, pages, CSV, ETags, scopes, and what cannot be answered."""

import asyncio
import csv
import io
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

from schemas.times import format_time
from services.migrate import make_ledger
from services.postgres import connect
from tests.asking import Asking, asking
from tests.conftest import Database
from tests.log import Log, event, read, redacted
from tests.readmodels import NAMES

LISTS = ("requirements", "accounts", "agreements", "decisions", "promises")
PRODUCT = {"role": "head of product", "team": "product"}


def ask(requirement: str, account: str, **more: Any) -> Any:
    return event("ask.recorded", requirement=requirement, account=account, **more)


async def some(client: Asking, count: int = 25) -> None:
    await client.record(*(ask(f"R-{number:02d}", f"a-{number:02d}") for number in range(count)))


def link(reply: Any) -> str:
    return str(reply.headers["Link"]).split(">")[0].lstrip("<")


async def test_every_answer_says_what_it_reflects_and_how_it_may_be_kept(database: Database) -> None:
    async with asking(database) as client:
        await some(client)
        for path in (*LISTS, "requirements/R-01", "accounts/a-01", "projections"):
            await client.answer("requirements")
            reply = await client.get(path, **({} if path == "projections" else {"at_least": 25}))
            assert reply.status == 200
            assert reply.json["as_of"]["position"] == 25
            assert reply.json["as_of"]["recordedtime"].endswith("Z")
            assert "Authorization" in reply.headers["Vary"]
            assert reply.headers["Cache-Control"] == "private"
            assert reply.headers["Content-Type"].startswith("application/json")
            again = await client.get(path, headers={"If-None-Match": reply.headers["ETag"]})
            assert (again.status, again.body, again.headers["ETag"]) == (304, b"", reply.headers["ETag"])
            assert (await client.get(path, headers={"If-None-Match": '"other", *'})).status == 304
            assert (await client.get(path, headers={"If-None-Match": '"other"'})).status == 200


FAR_BEYOND = urlsafe_b64encode(b'{"l":"/v1/ledgers/main/feedback","p":1,"a":9223372036854775808,"f":{}}').decode()
"""A cursor that no link has."""


@pytest.mark.parametrize(
    ("path", "query", "parameter"),
    [
        ("requirements", "statu=open", "statu"),
        ("requirements", "status=closed", "status"),
        ("requirements", "class=strategic", "class"),
        ("requirements", "sort=name", "sort"),
        ("requirements", "sort=revenue", "currency"),
        ("requirements", "currency=USD", "currency"),
        ("requirements", "sort=revenue&currency=usd", "currency"),
        ("requirements", "lens=decided", "lens"),
        ("requirements", "limit=0", "limit"),
        ("requirements", "limit=201", "limit"),
        ("requirements", "limit=ten", "limit"),
        ("requirements", "limit=5&limit=6", "limit"),
        ("requirements", f"similar_to={'x' * 8_001}", "similar_to"),
        ("requirements", f"q={'x' * 201}", "q"),
        ("requirements", "as_of=-1", "as_of"),
        ("requirements", "as_of=yesterday", "as_of"),
        ("requirements", "as_of=", "as_of"),
        ("requirements", "as_of=2026-03-01T12:00:00", "as_of"),
        ("requirements", "as_of=2026-03-41T12:00:00Z", "as_of"),
        ("requirements", "at_least=-1", "at_least"),
        ("requirements", "as_of=1&at_least=2", "at_least"),
        ("requirements", "timeout=31", "timeout"),
        ("requirements", "timeout=nan", "timeout"),
        ("requirements", "cursor=x", "cursor"),
        ("requirements", "cursor=eyJwIjoxfQ", "cursor"),
        ("requirements", "cursor=%C3%A9", "cursor"),
        ("feedback", f"cursor={FAR_BEYOND}", "cursor"),
        ("promises", "from=2026-03-31T00:00:00", "from"),
        ("alignment", "to=2026-03-31T00:00:00", "to"),
        ("requirements/R-01", "limit=5", "limit"),
        ("accounts", "class=", "class"),
        ("accounts/a-01", "cursor=x", "cursor"),
        ("agreements", "status=open", "status"),
        ("decisions", "departs=maybe", "departs"),
        ("decisions", "outcome=committed", "outcome"),
        ("decisions", "grounds=none", "grounds"),
        ("projections", "as_of=1", "as_of"),
    ],
)
async def test_a_parameter_that_is_unknown_or_out_of_range_is_named(
    database: Database, path: str, query: str, parameter: str
) -> None:
    async with asking(database) as client:
        await some(client, 2)
        reply = await client.get(f"/v1/ledgers/main/{path}?{query}")
        assert (reply.status, reply.headers["Content-Type"]) == (400, "application/problem+json")
        assert reply.json["parameter"] == parameter


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/ledgers/other/requirements", 404),
        ("/v1/ledgers/Main/requirements", 404),
        ("/v1/ledgers/other/projections", 404),
        ("requirements/nothing", 404),
        ("requirements/%00", 404),
        ("requirements/R-01%0A", 404),
        ("accounts/nobody", 404),
        ("agreements/target-market", 404),
        ("agreements/target-market/revisions/r1", 404),
        ("decisions/D-1", 404),
        ("nothing", 404),
        ("requirements?as_of=3", 404),
        ("requirements?as_of=99999999999999999999", 400),
        ("requirements?as_of=999999999999999999", 404),
        ("requirements?as_of=2999-01-01T00:00:00Z", 404),
        ("requirements/R-01?as_of=0", 404),
        ("requirements?at_least=3&timeout=0", 504),
    ],
)
async def test_what_there_is_not(database: Database, path: str, status: int) -> None:
    async with asking(database) as client:
        await client.record(ask("R-01", "a-01"), ask("R-02", "a-02"))
        whole = path if path.startswith("/v1/") else f"/v1/ledgers/main/{path}"
        reply = await client.get(whole)
        assert (reply.status, reply.headers["Content-Type"]) == (status, "application/problem+json")
        assert reply.json["status"] == status


async def test_the_empty_ledger_has_answers_too(database: Database) -> None:
    async with asking(database) as client:
        for path in LISTS:
            found = await client.answer(path)
            assert found["as_of"] == {"position": 0, "recordedtime": None}
            assert found[path] == []
        await some(client)
        for path in LISTS:
            assert (await client.answer(path, as_of=0))["total"] == 0
        found = (await client.get("projections")).json
        assert [each["projection"] for each in found["projections"]] == sorted(NAMES)


async def test_a_time_stands_for_the_last_position_recorded_by_then(database: Database) -> None:
    async with asking(database) as client:
        start = datetime(2026, 3, 1, 12, tzinfo=UTC)
        for minutes in range(3):
            await client.record(
                ask(f"R-{minutes}", "a"), ask(f"S-{minutes}", "a"), recordedtime=start + timedelta(minutes=minutes)
            )
        for time, position in (
            ("2026-03-01T11:59:59Z", 0),
            ("2026-03-01T12:00:00Z", 2),
            ("2026-03-01T12:01:59.999999Z", 4),
            ("2026-03-01T13:01:30+01:00", 4),
            ("2026-03-02T12:00:00z", 6),
        ):
            assert (await client.answer("requirements", as_of=time))["as_of"]["position"] == position
        spaced = await client.get("/v1/ledgers/main/requirements?as_of=2026-03-01T13:01:30+01:00")
        assert spaced.json["as_of"]["position"] == 4
        soon = format_time(datetime.now(UTC) + timedelta(minutes=1))
        assert (await client.get("requirements", as_of=soon)).status == 404


async def test_a_time_waits_for_what_is_being_recorded_by_then(database: Database) -> None:
    async with asking(database) as client:
        await client.record(ask("R-1", "a"))
        async with client.log.connection.transaction():
            await client.log.lock()
            await client.log.insert(read(ask("R-2", "a")))
            now = format_time(datetime.now(UTC))
            unsettled = await client.get("requirements", as_of=now, timeout=0.1)
            assert (unsettled.status, unsettled.json["type"]) == (504, "/problems/not-there-yet")
            # What lies before the head is certain.
            assert (await client.answer("requirements", as_of="2026-01-01T00:00:00Z"))["as_of"]["position"] == 0
            waiting = asyncio.create_task(client.get("requirements", as_of=now))
            await client.answer("requirements", as_of=1)
        reply = await waiting
        assert (reply.status, reply.json["as_of"]["position"]) == (200, 2)


async def test_a_time_does_not_wait_for_what_is_written_elsewhere(database: Database) -> None:
    elsewhere = await connect(database.owner)
    await make_ledger(elsewhere, database.settings, "other")
    await elsewhere.execute("CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.notes (note text)")
    async with asking(database) as client, Log.open(database, "other") as other:
        await client.record(ask("R-1", "a"))
        async with elsewhere.transaction(), other.connection.transaction():
            await elsewhere.execute("INSERT INTO elsewhere.notes VALUES ('a migration that takes hours')")
            await other.lock()
            await other.insert(read(ask("R-1", "a")))
            now = format_time(datetime.now(UTC))
            assert (await client.answer("requirements", as_of=now, timeout=1))["as_of"]["position"] == 1
    await elsewhere.close()


async def test_a_time_stands_for_the_same_position_ever_after(database: Database) -> None:
    async with asking(database) as client:
        await client.record(ask("R-0", "a"))
        done = asyncio.Event()

        async def write() -> None:
            for number in range(60):
                async with client.log.connection.transaction():
                    await client.log.lock()
                    await client.log.insert(read(ask(f"R-{number}", "a")))
                    await asyncio.sleep(0.01)  # The commit comes well after the recorded time.
            done.set()

        async def look() -> dict[str, int]:
            seen: dict[str, int] = {}
            while not done.is_set():
                now = format_time(datetime.now(UTC))
                seen[now] = (await client.answer("agreements", as_of=now))["as_of"]["position"]
            return seen

        _, *looks = await asyncio.gather(write(), *(look() for _ in range(3)))
        for seen in looks:
            for time, position in seen.items():
                assert (await client.answer("agreements", as_of=time))["as_of"]["position"] == position


async def test_pages_hold_every_row_once_while_events_arrive(database: Database) -> None:
    async with asking(database) as client:
        await some(client)
        seen: list[str] = []
        reply = await client.get("requirements", at_least=client.head, limit=7, sort="recent", q="R-")
        number = 0
        while True:
            assert reply.status == 200
            assert reply.json["as_of"]["position"] == 25
            assert reply.json["total"] == 25
            seen += [row["requirement"] for row in reply.json["requirements"]]
            if "Link" not in reply.headers:
                break
            # What was asked for meanwhile would be first in the order.
            number += 1
            await client.record(ask(f"R-{number:02d}", f"b-{number}"), ask(f"R-new-{number}", "b"))
            await client.answer("requirements")
            reply = await client.get(link(reply))
        assert seen == [f"R-{number:02d}" for number in reversed(range(25))]


async def test_a_cursor_belongs_to_its_list(database: Database) -> None:
    async with asking(database) as client:
        await some(client)
        reply = await client.get("requirements", at_least=25, limit=5, sort="recent", q="R-")
        cursor = link(reply).split("cursor=")[1].split("&")[0]
        assert len((await client.answer("requirements", cursor=cursor, limit=3))["requirements"]) == 3
        same = await client.answer("requirements", cursor=cursor, sort="recent", q="R-", as_of=25)
        assert same["requirements"][0]["requirement"] == "R-19"
        assert len(same["requirements"]) == 20
        for more in ({"sort": "voice"}, {"q": "S-"}, {"status": "open"}, {"as_of": 24}):
            refused = await client.get("requirements", cursor=cursor, **more)
            assert (refused.status, refused.json["parameter"]) == (400, "cursor")
        assert (await client.get("decisions", cursor=cursor)).status == 400


async def test_lists_come_as_csv(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            event("requirement.raised", requirement="R-1", title='=HYPERLINK("x")', area="a, b"),
            event("account.profiled", account="acme", name="@acme", attributes={}),
            ask("R-1", "acme"),
            event("opportunity.updated", opportunity="O", account="acme", stage="open", amount="-5.5", currency="USD"),
            event(
                "decision.made", decision="D-1", requirements=["R-1"], outcome="decline", rationale="-",
                instruction="-Tell them.", deciders=[PRODUCT],
            ),
        )  # fmt: skip
        tables: dict[str, list[dict[str, str]]] = {}
        for path in LISTS:
            reply = await client.get(path, at_least=5, headers={"Accept": "text/csv, application/json;q=0.5"})
            assert reply.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
            assert reply.headers["Content-Disposition"] == f'attachment; filename="main-{path}-5.csv"'
            assert "Accept" in reply.headers["Vary"]
            tables[path] = [*csv.DictReader(io.StringIO(reply.body.decode(), newline=""))]
        [row] = tables["requirements"]
        assert (row["title"], row["area"], row["accounts_undetermined"]) == ('\'=HYPERLINK("x")', "a, b", "1")
        assert (row["revenue_undetermined_pipeline_USD"], row["revenue_strategic_pipeline_USD"]) == ("-5.50", "")
        assert (row["voice"], row["decision"], row["decision_outcome"]) == ("", "D-1", "decline")
        [row] = tables["accounts"]
        assert (row["name"], row["revenue_pipeline_USD"], row["class"]) == ("'@acme", "-5.50", "undetermined")
        [row] = tables["decisions"]
        assert (row["instruction"], row["deciders"]) == ("'-Tell them.", "head of product (product)")
        assert tables["agreements"] == []
        both = await client.get("requirements", headers={"Accept": "application/json, text/csv"})
        assert both.headers["Content-Type"].startswith("application/json")


async def test_csv_has_pages_with_the_same_columns(database: Database) -> None:
    async with asking(database) as client:
        await some(client, 6)
        await client.record(
            event("opportunity.updated", opportunity="O", account="a-05", stage="open", amount="5", currency="EUR")
        )
        first = await client.get("accounts", at_least=7, limit=3, headers={"Accept": "text/csv"})
        second = await client.get(link(first), headers={"Accept": "text/csv"})
        assert first.body.splitlines()[0] == second.body.splitlines()[0]
        assert b"revenue_pipeline_EUR" in first.body
        assert len(first.body.splitlines()) == len(second.body.splitlines()) == 4
        assert "Link" not in second.headers
        # So has a list from which the row with that currency was left out.
        chosen = await client.get("accounts", at_least=7, q="a-01", headers={"Accept": "text/csv"})
        assert chosen.body.splitlines()[0] == first.body.splitlines()[0]
        assert len(chosen.body.splitlines()) == 2


async def test_who_may_ask(database: Database) -> None:
    async with asking(database) as client:
        for key, status in (("query", 200), ("personal", 200), ("observe", 403), ("elsewhere", 403), ("", 401)):
            for path in (*LISTS, "projections"):
                assert (await client.get(path, key=key)).status == status


async def test_sealed_texts_are_for_the_scope_personal_and_null_once_erased(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            event("requirement.raised", requirement="SSO", title="Single sign-on", problem="Too many passwords"),
            ask("SSO", "acme", ask="A-1", quote="We cannot sell this without it"),
            ask("SSO", "acme", ask="A-2"),
            ask("SSO", "acme", ask="A-3", quote="Still"),
        )
        plain = await client.get("requirements/SSO", at_least=4)
        assert b"passwords" not in plain.body
        assert b"without it" not in plain.body
        assert "problem" not in plain.json
        assert all("quote" not in asked for asked in plain.json["who_asked"][0]["asks"])

        opened = (await client.get("requirements/SSO", key="personal")).json
        assert opened["problem"] == "Too many passwords"
        asks = opened["who_asked"][0]["asks"]
        assert [asked.get("quote", "absent") for asked in asks] == ["We cannot sell this without it", "absent", "Still"]
        account = (await client.get("accounts/acme", key="personal")).json
        assert account["asks"][0]["quote"] == "We cannot sell this without it"
        assert b"without it" not in (await client.get("accounts/acme")).body

        await client.record(redacted(1, "requirement/SSO"), redacted(2, "requirement/SSO"))
        opened = (await client.get("requirements/SSO", key="personal")).json
        assert opened["problem"] is None
        asks = opened["who_asked"][0]["asks"]
        assert [asked.get("quote", "absent") for asked in asks] == [None, "absent", "Still"]


async def test_without_the_master_key_only_what_is_sealed_is_out_of_reach(database: Database) -> None:
    async with asking(database) as client:
        await client.record(ask("SSO", "acme", quote="We cannot sell this without it"), ask("R-2", "acme"))
        await client.answer("requirements")
        database.settings.master_key.unlink()
        assert (await client.get("requirements/SSO")).status == 200
        assert (await client.get("requirements/R-2", key="personal")).status == 200
        closed = await client.get("requirements/SSO", key="personal")
        assert (closed.status, closed.json["type"]) == (503, "/problems/unavailable")
        assert "master key" in closed.json["detail"]


async def test_a_projection_that_has_stopped_answers_what_it_had_reached(database: Database) -> None:
    async with asking(database) as client:
        await some(client, 3)
        before = await client.get("requirements", at_least=3, as_of=3)
        owner = await connect(database.owner)
        await _corrupt(owner)
        await owner.close()
        stopped = await client.get("requirements", at_least=4, timeout=30)
        assert (stopped.status, stopped.json["type"]) == (503, "/problems/projection-stopped")
        assert stopped.json["projection"] == "requirements"
        assert (await client.get("requirements")).status == 503
        assert (await client.get("requirements", as_of=4)).status == 503
        assert (await client.get("requirements", as_of=3)).body == before.body
        # What does not read it is answered as ever.
        assert (await client.get("agreements", at_least=4)).status == 200
        found = {each["projection"]: each for each in (await client.get("projections")).json["projections"]}
        assert (found["requirements"]["state"], found["requirements"]["stopped_at"]) == ("stopped", 4)
        assert found["requirements"]["reason"]
        assert found["requirements"]["lag"]["events"] == 1
        assert (found["agreements"]["state"], found["agreements"]["lag"]["events"]) == ("live", 0)


async def test_the_description_knows_each_request(database: Database) -> None:
    async with asking(database) as client:
        document = msgspec.json.decode((await client.get("/v1/../openapi.json")).body)
        assert "/v1/ledgers/{ledger}/requirements/{requirement}" in document["paths"]
        names = {
            parameter["name"]
            for parameter in document["paths"]["/v1/ledgers/{ledger}/requirements"]["get"]["parameters"]
        }
        assert {"class", "status", "sort", "lens", "as_of", "at_least", "limit", "cursor"} <= names
        # Nothing may be asked for, ordered or grouped by person; one is looked up by the id, in the path.
        for path in document["paths"].values():
            for operation in path.values():
                asked = {each["name"] for each in operation.get("parameters", []) if each["in"] == "query"}
                assert not asked & {"person", "by", "contact"}


async def _corrupt(owner: asyncpg.Connection) -> None:
    """Append an event of a type that the requirements care about and that nobody can read."""
    await owner.execute(
        "INSERT INTO ledger_main.stored_events (originator_id, originator_version, topic, state, notification_id,"
        " event_id, subject, source, recorded_at, sealed, content, leaf_hash)"
        " SELECT gen_random_uuid(), 1, 'ledger.ask.recorded.v1', 'nothing', 4, gen_random_uuid(), 'requirement/x',"
        " 'urn:test', clock_timestamp(), false, '', ''"
    )
