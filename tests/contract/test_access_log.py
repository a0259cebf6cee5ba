"""Who has read what is sealed: on record before it is shown, and what is not on record is not shown."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any, NamedTuple

import asyncpg
import pytest

from services import access_log
from services.keys import key_id
from services.ledger import access_log as pages
from services.postgres import connect
from tests.asking import Asking, asking
from tests.conftest import Database
from tests.ledger_service import EVENTS, LedgerService, Reply, holds
from tests.log import erased, event

LOG = "/v1/ledgers/main/access-log"
BY = {"role": "account executive", "team": "sales", "person": "p-9"}
WORDS = b"we need it"
EVENTS_RECORDED = (
    event("person.introduced", person="p-1", name="Ada Smith", email="ada@example.com", role="buyer"),
    event("requirement.raised", requirement="R-1", title="Single sign-on", problem="passwords in spreadsheets"),
    event("ask.recorded", requirement="R-1", account="acme", contact="p-1", quote="we need it", by=BY),
    event("ask.recorded", requirement="R-1", account="bank", quote="we need it too"),
    event("ask.recorded", requirement="R-1", account="cedar", contact="p-1"),
    event("feedback.received", feedback="F-1", text="we need it badly", account="acme", contact="p-2"),
)
INTRODUCED, RAISED, ASKED, ASKED_BY_NOBODY, ASKED_WITHOUT_WORDS, SAID = range(1, 7)


class Both(NamedTuple):
    """The ledger and the projector of one database, with the events above."""

    ledger: LedgerService
    projector: Asking
    database: Database

    async def read(self, **asked: Any) -> list[Any]:
        """The access log."""
        reply = await self.ledger.get(LOG, params=asked)
        assert reply.status == 200, reply.body
        found: list[Any] = reply.json["readings"]
        return found

    async def texts(self) -> list[list[tuple[int, str | None]]]:
        """Of each reading the positions that it opened, and about whom they are."""
        return [[(text["position"], text["person"]) for text in each["texts"]] for each in await self.read()]

    async def execute(self, statement: str) -> None:
        superuser = await connect(self.database.superuser)
        try:
            await superuser.execute(statement)
        finally:
            await superuser.close()


@pytest.fixture
async def both(ledger: LedgerService, database: Database) -> AsyncIterator[Both]:
    async with asking(database) as projector:
        projector.head = (await ledger.post(*EVENTS_RECORDED)).results[-1]["position"]
        await projector.answer("requirements", at_least=projector.head)
        yield Both(ledger, projector, database)


# What is a reading


async def test_each_way_to_words_in_the_clear_leaves_a_record(both: Both) -> None:
    opened = {
        "requirements/R-1": [(RAISED, None), (ASKED, "p-1"), (ASKED_BY_NOBODY, None)],
        "accounts/acme": [(ASKED, "p-1")],
        "feedback": [(SAID, "p-2")],
        "persons/p-1": [(INTRODUCED, "p-1"), (ASKED, "p-1")],
    }
    for path in opened:
        reply = await both.projector.get(path, key="personal", at_least=both.projector.head)
        assert reply.status == 200
    unsealed = await both.ledger.get(f"{EVENTS}/{ASKED}?unseal=1")
    assert WORDS in unsealed.body

    read = await both.read()
    assert await both.texts() == [*opened.values(), [(ASKED, "p-1")]]
    assert [each["path"] for each in read] == [*(f"/v1/ledgers/main/{path}" for path in opened), f"{EVENTS}/{ASKED}"]
    assert [each["service"] for each in read] == ["projector"] * len(opened) + ["ledger"]
    asked_by = [key_id(both.projector.keys["personal"])] * len(opened) + [key_id(both.ledger.admin)]
    assert [each["key"] for each in read] == asked_by
    assert [each["person"] for each in read] == [None, None, None, "p-1", None]
    assert {each["method"] for each in read} == {"GET"}
    assert [each["number"] for each in read] == [1, 2, 3, 4, 5]
    assert [each["at"] for each in read] == sorted(each["at"] for each in read)


async def test_lists_as_csv_and_pages_behind_the_first_are_readings_too(both: Both) -> None:
    for path in ("feedback", "persons/p-1"):
        reply = await both.projector.get(path, key="personal", headers={"Accept": "text/csv"})
        assert b"we need it" in reply.body
    first = await both.projector.get("persons/p-1", key="personal", limit=1)
    following = first.headers["Link"].partition(">")[0].lstrip("<")
    assert WORDS in (await both.projector.get(following, key="personal")).body
    told = [[(SAID, "p-2")], [(INTRODUCED, "p-1"), (ASKED, "p-1")], [(INTRODUCED, "p-1")], [(ASKED, "p-1")]]
    assert await both.texts() == told
    # No words of a query: a cursor holds them as well.
    assert {each["path"] for each in await both.read()} == {"/v1/ledgers/main/feedback", "/v1/ledgers/main/persons/p-1"}


async def test_what_shows_no_words_is_no_reading(both: Both) -> None:
    personal = await both.ledger.key("query", "personal")
    for path in ("requirements/R-1", "accounts/acme", "feedback"):
        assert WORDS not in (await both.projector.get(path)).body
    for path in ("requirements/R-9", "persons/p-3", "requirements/R-1?as_of=99", "requirements/R-1?unheard_of=1"):
        assert (await both.projector.get(path, key="personal")).status in (400, 404)
    assert (await both.projector.get("persons/p-1")).json["type"] == "/problems/scope-missing"
    assert (await both.projector.get("persons/p-1", key="")).status == 401
    for path in ("requirements", "accounts", "agreements", "requirements/R-1?as_of=1"):
        await both.projector.get(path, key="personal")
    for path in (str(ASKED), f"{ASKED_WITHOUT_WORDS}?unseal=1", f"{ASKED}?unseal=0", "99?unseal=1"):
        await both.ledger.get(f"{EVENTS}/{path}", key=personal)
    assert (await both.ledger.get(f"{EVENTS}/{ASKED}?unseal=1", key=await both.ledger.key("query"))).status == 403
    # Nor does the head of an answer.
    url = f"{both.projector.url}/v1/ledgers/main/persons/p-1"
    headers = {"Authorization": f"Bearer {both.projector.keys['personal']}"}
    async with both.ledger.session.head(url, headers=headers) as reply:
        assert reply.status == 200
    assert (await both.ledger.ask("HEAD", f"{EVENTS}/{ASKED}?unseal=1")).status == 200
    assert await both.read() == []


async def test_whoever_is_told_that_nothing_changed_has_read_it_once(both: Both) -> None:
    for path in ("requirements/R-1", "persons/p-1"):
        first = await both.projector.get(path, key="personal")
        again = await both.projector.get(path, key="personal", headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status, again.body) == (304, b"")
    assert [each["path"].rpartition("/")[2] for each in await both.read()] == ["R-1", "p-1"]


async def test_the_head_of_an_answer_says_nothing_of_its_words_to_those_who_guess_them(both: Both) -> None:
    headers = {"Authorization": f"Bearer {both.projector.keys['personal']}"}
    for name, path in WAYS.items():
        reply = await ask(both, path)
        guessed = f'"{sha256(reply.body).hexdigest()[:32]}"'
        if name == "event":
            assert "ETag" not in reply.headers
            continue
        url = f"{both.projector.url}/v1/ledgers/main/{path}"
        async with both.ledger.session.head(url, headers=headers) as head:
            assert head.headers["ETag"] == reply.headers["ETag"] != guessed
        # Nor is a guess confirmed.
        again = await both.projector.get(path, key="personal", headers={"If-None-Match": guessed})
        assert again.status == 200
    # What shows no words is told apart by anybody.
    plain = await both.projector.get("requirements/R-1")
    assert plain.headers["ETag"] == f'"{sha256(plain.body).hexdigest()[:32]}"'


async def test_what_cannot_be_opened_any_more_is_no_reading(both: Both) -> None:
    await both.execute("UPDATE registry.master_keys SET lost_at = clock_timestamp()")
    for path in ("requirements/R-1", "accounts/acme", "feedback"):
        assert (await both.projector.get(path, key="personal")).status == 200
    assert (await both.ledger.get(f"{EVENTS}/{ASKED}?unseal=1")).json["data"]["quote"] is None
    assert await both.read() == []
    # Who has looked a person up is on record all the same.
    page = await both.projector.get("persons/p-1", key="personal")
    assert page.json["on_record"][0]["name"] is None
    [reading] = await both.read()
    assert (reading["person"], reading["texts"]) == ("p-1", [])
    assert await both.read(person="p-1") == [reading]


async def test_what_is_only_compared_is_no_reading_and_a_word_that_is_shown_is(both: Both) -> None:
    for text, words in (("sign on", ["Single", "sign"]), ("single sign of spreadsheets", None)):
        row = (await both.projector.answer("requirements", similar_to=text, key="personal"))["requirements"][0]
        assert ("spreadsheets" in row["similarity"]["words"]) == (words is None)
        assert await both.texts() == ([] if words else [[(RAISED, None)]])
    [reading] = await both.read()
    assert reading["path"] == "/v1/ledgers/main/requirements"  # The text is a customer's, perhaps, and not there.
    # A filter that leaves the row out leaves its words out as well.
    await both.projector.answer("requirements", similar_to="spreadsheets to sign", q="R-9", key="personal")
    assert len(await both.read()) == 1


# Nothing is shown that is not on record

WAYS = {
    "requirement": "requirements/R-1",
    "account": "accounts/acme",
    "feedback": "feedback",
    "likeness": "requirements?similar_to=sign+spreadsheets",
    "person": "persons/p-1",
    "event": f"events/{ASKED}?unseal=1",
}


async def ask(both: Both, path: str) -> Reply:
    if path.startswith("events"):
        return await both.ledger.get(f"/v1/ledgers/main/{path}")
    reply = await both.projector.get(path, key="personal")
    return Reply(reply.status, reply.headers, reply.body)


UNWRITABLE = {
    "for want of the table": (
        "ALTER TABLE ledger_main.access_log RENAME TO elsewhere",
        "ALTER TABLE ledger_main.elsewhere RENAME TO access_log",
    ),
    "by a constraint": (
        "ALTER TABLE ledger_main.access_log ADD CONSTRAINT never CHECK (number < 1) NOT VALID",
        "ALTER TABLE ledger_main.access_log DROP CONSTRAINT never",
    ),
    "for want of the privilege": (
        "DO $$ DECLARE role text; BEGIN"
        " FOR role IN SELECT DISTINCT grantee::regrole::text FROM pg_class, aclexplode(relacl)"
        " WHERE oid = 'ledger_main.access_log'::regclass AND grantee <> relowner"
        " LOOP EXECUTE format('REVOKE INSERT ON ledger_main.access_log FROM %s', role); END LOOP; END $$",
        "GRANT INSERT ON ledger_main.access_log TO PUBLIC",
    ),
}
"""Why the database refuses a record, and how that is mended."""


async def test_what_cannot_be_put_on_record_is_not_shown(both: Both) -> None:
    for why, (broken, mended) in UNWRITABLE.items():
        await both.execute(broken)
        for name, path in WAYS.items():
            reply = await ask(both, path)
            assert (reply.status, reply.problem) == (503, "unavailable"), (why, name)
            assert "on record" in reply.json["detail"]
            assert reply.headers["Retry-After"]
            assert not any(words in reply.body for words in (WORDS, b"Ada", b"spreadsheets"))
        # What is not sealed is answered as ever.
        for path in ("requirements/R-1", "accounts/acme", "feedback"):
            assert (await both.projector.get(path)).status == 200
        assert (await both.ledger.get(f"{EVENTS}/{ASKED}")).status == 200
        await both.execute(mended)
        assert await both.read() == []
    assert {(await ask(both, path)).status for path in WAYS.values()} == {200}
    assert len(await both.read()) == len(WAYS)


async def test_who_waits_for_the_record_gives_up_and_shows_nothing(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "WRITE_SECONDS_MAX", 0.3)
    holder = await connect(both.database.superuser)
    try:
        async with holder.transaction():
            await holder.execute("LOCK TABLE ledger_main.access_log")
            for path in WAYS.values():
                assert (await ask(both, path)).status == 503
    finally:
        await holder.close()
    assert await both.read() == []
    assert (await ask(both, WAYS["person"])).status == 200
    assert len(await both.read()) == 1


async def test_what_is_erased_while_its_reading_waits_for_the_record_is_not_shown(both: Both) -> None:
    holder, looking = await connect(both.database.superuser), await connect(both.database.superuser)
    ways = [path for name, path in WAYS.items() if name != "likeness"]  # That shows nothing about the person.
    try:
        async with holder.transaction():
            # Readings are numbered one after the other, and this one is not committed yet.
            await holder.execute(
                "INSERT INTO ledger_main.access_log VALUES (1, now(), 'k', 's', 'GET', '/', 'p-9', '{}', '{}')"
            )
            waiting = [asyncio.create_task(ask(both, path)) for path in ways]

            async def all_wait() -> bool:
                assert not any(each.done() for each in waiting)
                found = await looking.fetch("SELECT FROM pg_locks WHERE NOT granted AND locktype = 'advisory'")
                return len(found) == len(ways)

            await holds(all_wait)
            posted = await both.ledger.post(erased("p-1"), erased("p-2"))
            assert posted.status == 201
            holder_ends = asyncio.gather(*waiting)
        replies = await holder_ends
    finally:
        await holder.close()
        await looking.close()
    for reply in replies:
        assert (reply.status, reply.problem) == (503, "unavailable")
        assert "erased meanwhile" in reply.json["detail"] and reply.headers["Retry-After"]
        assert not any(words in reply.body for words in (WORDS, b"Ada"))
    assert [each["person"] for each in await both.read()] == ["p-9"]  # What was not shown is no reading.
    assert {(await ask(both, path)).status for path in ways} == {200}


async def test_readings_at_the_same_time_are_numbered_without_gaps(both: Both) -> None:
    paths = [path for path in WAYS.values() for _ in range(8)]
    assert {reply.status for reply in await asyncio.gather(*(ask(both, path) for path in paths))} == {200}
    read = await both.read()
    assert [each["number"] for each in read] == [*range(1, len(paths) + 1)]
    assert [each["at"] for each in read] == sorted(each["at"] for each in read)


# The law


REWRITES = (
    "UPDATE ledger_main.access_log SET key = 'another'",
    "DELETE FROM ledger_main.access_log",
    "TRUNCATE ledger_main.access_log",
)


async def test_nobody_rewrites_who_has_read_what(both: Both) -> None:
    await ask(both, WAYS["person"])
    before = await both.read()
    for role in ("writer", "projector", "auditor", "owner", "superuser"):
        is_service = role in ("writer", "projector", "auditor")
        connection = await connect(getattr(both.database, role))
        try:
            if role == "superuser":
                await connection.execute("SET session_replication_role = replica")  # It silences other triggers.
            for statement in REWRITES:
                refusal = asyncpg.InsufficientPrivilegeError if is_service else asyncpg.RestrictViolationError
                with pytest.raises(refusal):
                    await connection.execute(statement)
        finally:
            await connection.close()
    assert await both.read() == before


async def test_who_writes_it_says_neither_number_nor_time_and_the_projector_does_not_read_it(both: Both) -> None:
    values = "(7, '2020-01-01', 'k', 'projector', 'GET', '/', NULL, '{3}', '{p-1}')"
    for role, reads in (("projector", False), ("writer", True)):
        connection = await connect(getattr(both.database, role))
        try:
            await connection.execute(f"INSERT INTO ledger_main.access_log VALUES {values}")
            if reads:
                assert await connection.fetchval("SELECT count(*) FROM ledger_main.access_log") == 2
            else:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.fetch("SELECT FROM ledger_main.access_log")
        finally:
            await connection.close()
    auditor = await connect(both.database.auditor)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await auditor.execute(f"INSERT INTO ledger_main.access_log VALUES {values}")
        rows = await auditor.fetch("SELECT number, at FROM ledger_main.access_log ORDER BY number")
    finally:
        await auditor.close()
    assert [row["number"] for row in rows] == [1, 2]
    assert all(row["at"].year > 2020 for row in rows)


# Auditors ask


async def test_the_access_log_comes_in_pages_by_key_person_and_position(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await both.ledger.key("query", "personal")
    for path in (*WAYS.values(), WAYS["requirement"]):
        await ask(both, path)
    await both.ledger.get(f"{EVENTS}/{SAID}?unseal=1", key=other)
    everything = await both.read()
    assert len(everything) == 8
    for asked, wanted in (
        ({"key": key_id(other)}, [8]),
        ({"key": key_id(both.ledger.admin)}, [6]),
        ({"person": "p-1"}, [1, 2, 5, 6, 7]),
        ({"person": "p-2"}, [3, 8]),
        ({"person": "p-2", "key": key_id(other)}, [8]),
        ({"position": SAID}, [3, 8]),
        ({"position": RAISED}, [1, 4, 7]),
        ({"position": ASKED, "person": "p-2"}, []),
        ({"position": SAID, "key": key_id(other)}, [8]),
        ({"person": "p-1", "after": 5}, [6, 7]),
        ({"person": "nobody"}, []),
        ({"after": 8}, []),
    ):
        assert [each["number"] for each in await both.read(**asked)] == wanted, asked
        seen, path = list[Any](), f"{LOG}?limit=1&" + "&".join(f"{name}={value}" for name, value in asked.items())
        while path:
            reply = await both.ledger.get(path)
            seen += reply.json["readings"]
            path = reply.headers["Link"].partition(">")[0].lstrip("<") if "Link" in reply.headers else ""
        assert [each["number"] for each in seen] == wanted, asked

    # A page is as long as what its readings show.
    monkeypatch.setattr(pages, "PAGE_TEXTS_MAX", 4)
    first = await both.ledger.get(LOG)
    assert [each["number"] for each in first.json["readings"]] == [1, 2]
    assert "after=2" in first.headers["Link"]
    monkeypatch.setattr(pages, "PAGE_TEXTS_MAX", 1)
    assert [each["number"] for each in (await both.ledger.get(LOG)).json["readings"]] == [1]


async def test_auditors_and_administrators_read_it_and_nobody_else(both: Both) -> None:
    assert (await both.ledger.get(LOG, key=await both.ledger.key("audit"))).status == 200
    assert (await both.ledger.get(LOG, key=await both.ledger.key("audit", ledgers=["main"]))).status == 200
    for scope in ("observe", "act", "query", "personal"):
        assert (await both.ledger.get(LOG, key=await both.ledger.key(scope))).problem == "scope-missing"
    elsewhere = await both.ledger.key("audit", ledgers=["other"])
    assert (await both.ledger.get(LOG, key=elsewhere)).problem == "forbidden"
    assert (await both.ledger.get(LOG, key=None)).problem == "unauthorized"


async def test_what_cannot_be_asked_is_refused(ledger: LedgerService) -> None:
    for asked in (
        *("limit=0", "limit=1001", "limit=x", "after=-1", "after=x", "after=9223372036854775808"),
        *(
            "position=0",
            "position=x",
            "position=null",
            "person=",
            "person=a%20b",
            "key=",
            "key=%00",
            "who=p-1",
            "after=1&after=2",
        ),
    ):
        reply = await ledger.get(f"{LOG}?{asked}")
        assert reply.problem == "bad-parameter", asked
        assert reply.json["parameter"] == asked.partition("=")[0]


async def test_a_ledger_that_there_is_not_has_no_access_log(ledger: LedgerService) -> None:
    assert (await ledger.get("/v1/ledgers/unheard-of/access-log")).problem == "no-such-ledger"
    reply = await ledger.get(LOG)
    assert (reply.json, reply.headers["Cache-Control"]) == ({"readings": []}, "no-store")
    assert (await ledger.ask("POST", LOG)).problem == "method-not-allowed"


# The page about a person


async def test_the_page_about_a_person_has_all_that_is_on_record_of_them(both: Both) -> None:
    decider = {"role": "VP product", "team": "product", "person": "p-1"}
    await both.ledger.post(
        event(
            "decision.made", decision="D-1", requirements=["R-1"], outcome="commit", rationale="so",
            instruction="Do it.", deciders=[BY, decider], consulted=[decider | {"role": "architect"}],
        ),
        event("person.introduced", person="p-1", name="Ada Jones", time="2026-01-02T03:04:05Z"),
    )  # fmt: skip
    page = (await both.projector.answer("persons/p-1", key="personal", at_least=8))["on_record"]
    assert [(each["position"], each["appears_as"], each["role"], each["team"], each["subject"]) for each in page] == [
        (INTRODUCED, "introduced", "buyer", None, None),
        (ASKED, "contact", None, None, "requirement/R-1"),
        (ASKED_WITHOUT_WORDS, "contact", None, None, "requirement/R-1"),
        (7, "consulted", "architect", "product", "decision/D-1"),
        (7, "decider", "VP product", "product", "decision/D-1"),
        (8, "introduced", None, None, None),
    ]
    assert (page[0]["name"], page[0]["email"]) == ("Ada Smith", "ada@example.com")
    assert page[1]["quote"] == "we need it"
    assert (page[5]["name"], page[5]["time"]) == ("Ada Jones", "2026-01-02T03:04:05.000000Z")
    assert "email" not in page[5] and "quote" not in page[2] and "text" not in page[2]
    # A seller's own page does not have the customer's words.
    sellers = await both.projector.get("persons/p-9", key="personal")
    assert [each["appears_as"] for each in sellers.json["on_record"]] == ["by", "decider"]
    assert WORDS not in sellers.body
    assert b"p-1" not in sellers.body


async def test_the_scope_personal_alone_opens_the_page_about_a_person(both: Both) -> None:
    for scopes, status in (
        (("personal",), 200),
        (("admin",), 200),
        (("query",), 403),
        (("audit",), 403),
        (("observe", "act"), 403),
    ):
        both.projector.keys["this"] = await both.ledger.key(*scopes)
        reply = await both.projector.get("persons/p-1", key="this")
        assert reply.status == status, scopes
        if status == 403:
            assert reply.json["type"] == "/problems/scope-missing"
            assert "`personal`" in reply.json["detail"]
    both.projector.keys["this"] = await both.ledger.key("personal", ledgers=["other"])
    assert (await both.projector.get("persons/p-1", key="this")).status == 403
    assert len(await both.read()) == 2


async def test_whom_nothing_names_has_no_page(both: Both) -> None:
    await both.projector.answer("requirements", at_least=both.projector.head)
    for person, as_of in (("p-3", 6), ("p-2", 5), ("p-1", 0), ("P-1", 6), ("R-1", 6), ("a%20b", 6), ("%2e", 6)):
        reply = await both.projector.get(f"persons/{person}?as_of={as_of}", key="personal")
        assert (reply.status, reply.json["type"]) == (404, "/problems/not-found"), person
    assert (await both.projector.get("persons/p-2?as_of=6", key="personal")).status == 200
    assert (await both.projector.get("persons", key="personal")).status == 404


async def test_a_page_as_csv_has_a_column_for_each_kind_of_words(both: Both) -> None:
    reply = await both.projector.get("persons/p-1", key="personal", headers={"Accept": "text/csv"}, limit=2)
    heading, first, second = reply.body.decode().splitlines()
    assert heading == ("position,time,recordedtime,type,subject,appears_as,role,team,name,email,quote,text,retracted")
    assert first.endswith("person.introduced.v1,,introduced,buyer,,Ada Smith,ada@example.com,,,")
    assert second.endswith("requirement/R-1,contact,,,,,we need it,,")
    assert "UNSET" not in reply.body.decode()


async def test_what_was_retracted_is_on_record_of_a_person_and_says_so(both: Both) -> None:
    data = {"position": SAID, "subject": "feedback/F-1", "reason": "another's", "by": BY}
    await both.ledger.post(event("event.retracted", **data))
    for as_of, retracted in ((6, None), (7, 7)):
        page = await both.projector.answer("persons/p-2", key="personal", as_of=as_of, timeout=30)
        assert [(each["text"], each["retracted"]) for each in page["on_record"]] == [("we need it badly", retracted)]
