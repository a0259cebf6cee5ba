"""The import command against a real ledger, and against a line to it that breaks."""

import asyncio
import contextlib
import json
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from services.importer.delivery import Delivery, DeliveryFailed, Entry
from services.importer.mapping import load
from services.importer.rows import Origin
from services.importer.run import Rejects, Tally, deliver, plan, read
from tests.conftest import Database, free_ports
from tests.importing import Asking, command, processes

MAPPING = """\
source: /imports/crm
time_zone: Europe/Oslo
files:
  - file: accounts.csv
    events:
      - type: ledger.account.profiled.v1
        id: account-{id}
        time: {from: since, as: time, formats: ["%d.%m.%Y"]}
        data: {account: "{id}", name: "{name}", attributes: {employees: {from: staff, as: number}}}
  - file: asks.ndjson
    events:
      - type: ledger.requirement.raised.v1
        id: raised-{key}
        when: [{from: first, in: ["true"]}]
        data: {requirement: "{key}", title: "{title}"}
      - type: ledger.ask.recorded.v1
        id: ask-{key}-{by.account}
        when: [{from: by.account, blank: false}]
        data: {requirement: "{key}", account: "{by.account}", quote: "{said}"}
"""
ACCOUNTS = (
    'id,name,since,staff\nacme,"Acme\nBank",01.02.2026,"1,850"\nbirch,Birch,02.02.2026,n/a\ncedar,Cedar,03.02.2026,90\n'
)
ASKS = """\
{"key": "SSO-42", "first": true, "title": "Single sign-on", "by": {"account": "acme"}, "said": "please"}
{"key": "SSO-42", "by": {"account": "cedar"}, "said": "yes"}
{"key": "SSO-42", "by": {}}
"""


@pytest.fixture
async def asking(database: Database) -> AsyncIterator[Asking]:
    async with processes(database.settings, "ledger") as asking:
        yield asking


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / "mapping.yaml").write_text(MAPPING)
    (folder / "accounts.csv").write_text(ACCOUNTS)
    (folder / "asks.ndjson").write_text(ASKS)
    return folder


async def test_every_row_is_recorded_or_rejected_or_without_an_event(database: Database, asking: Asking, folder: Path):
    # The order is that of the mapping, whatever that of the command line.
    ended = await command(database.settings, "import", "mapping.yaml", "asks.ndjson", "accounts.csv", folder=folder)
    assert ended.status == 1, ended.output + ended.errors
    assert (ended.count("read"), ended.count("in the ledger"), ended.count("rejected")) == (6, 4, 1)
    assert ended.count("without an event, as the mapping says") == 1
    assert (ended.count("recorded"), ended.count("already recorded")) == (5, 0)

    assert [(event["id"], int(event["sequence"])) for event in await asking.events()] == [
        ("account-acme", 1),
        ("account-cedar", 2),
        ("raised-SSO-42", 3),
        ("ask-SSO~2D42-acme", 4),
        ("ask-SSO~2D42-cedar", 5),
    ]
    rejects = folder / "mapping.rejects.ndjson"
    assert stat.S_IMODE(rejects.stat().st_mode) == 0o600
    [rejected] = map(json.loads, rejects.read_text().splitlines())
    assert rejected == {
        "file": "accounts.csv",
        "line": 4,
        "reason": "staff: 'n/a' is not a number whose decimal sign is '.'",
        "row": {"id": "birch", "name": "Birch", "since": "02.02.2026", "staff": "n/a"},
    }


@pytest.mark.parametrize("batch", [1, 2, 1000])
async def test_again_records_nothing_whatever_the_size_of_a_batch(
    database: Database, asking: Asking, folder: Path, batch: int
):
    await command(database.settings, "import", "mapping.yaml", folder=folder)
    before = await asking.events()
    ended = await command(database.settings, "import", "mapping.yaml", "--batch", str(batch), folder=folder)
    assert ended.count("already recorded") == 5
    assert await asking.events() == before


async def test_what_the_ledger_refuses_is_taken_out_and_the_rest_goes_in(
    database: Database, asking: Asking, folder: Path
):
    await command(database.settings, "import", "mapping.yaml", "accounts.csv", folder=folder)
    (folder / "accounts.csv").write_text(ACCOUNTS.replace("Cedar", "Cedar Mutual").replace("n/a", "420"))
    ended = await command(database.settings, "import", "mapping.yaml", "accounts.csv", folder=folder)
    assert ended.status == 1
    assert [event["id"] for event in await asking.events()] == ["account-acme", "account-cedar", "account-birch"]
    [rejected] = map(json.loads, (folder / "mapping.rejects.ndjson").read_text().splitlines())
    assert (rejected["line"], rejected["id"]) == (5, "account-cedar")
    assert rejected["reason"].startswith("the ledger refuses it: ")
    assert rejected["row"]["name"] == "Cedar Mutual"

    # Without rejects there is no file of them, and not one of an earlier run either.
    (folder / "accounts.csv").write_text(ACCOUNTS.replace("n/a", "420"))
    ended = await command(database.settings, "import", "mapping.yaml", "accounts.csv", folder=folder)
    assert (ended.status, ended.count("already recorded")) == (0, 3)
    assert not (folder / "mapping.rejects.ndjson").exists()


async def test_an_act_whose_rule_is_not_met_is_rejected_with_its_line(database: Database, asking: Asking, folder: Path):
    by = "{role: head of product, team: product}"
    (folder / "acts.yaml").write_text(f"""\
source: /acts
given:
  - {{type: ledger.requirement.raised.v1, id: a, data: {{requirement: R-1, title: One}}}}
  - {{type: ledger.agreement.adopted.v1, id: b, data: {{agreement: x, revision: r, effective: 2026-01-01, by: {by}}}}}
  - {{type: ledger.requirement.raised.v1, id: c, data: {{requirement: R-2, title: Two}}}}
""")
    ended = await command(database.settings, "import", "acts.yaml", folder=folder)
    assert ended.status == 1
    assert [event["id"] for event in await asking.events()] == ["a", "c"]
    [rejected] = map(json.loads, (folder / "acts.rejects.ndjson").read_text().splitlines())
    assert rejected["line"] == 4
    assert rejected["reason"] == "the ledger refuses it: /data/revision: x has no revision r"


async def test_a_rehearsal_posts_nothing_and_shows_everything(database: Database, folder: Path):
    (folder / "accounts.csv").write_text(ACCOUNTS + 'x y,Odd,04.02.2026,1\ndelta,"open\n')
    # No ledger runs, and none is needed.
    ended = await command(database.settings, "import", "mapping.yaml", "--dry-run", folder=folder)
    assert ended.status == 1
    told = ended.output.splitlines()
    assert told[0] == "accounts.csv:4: staff: 'n/a' is not a number whose decimal sign is '.'"
    assert told[1].startswith("accounts.csv:6: /data/account: an id is 1 to 100 of")
    assert told[2] == "accounts.csv:7: not CSV: unexpected end of data"
    assert "The first ledger.requirement.raised.v1:" in told
    assert '  "id": "raised-SSO-42",' in told
    assert ended.count("ledger.ask.recorded.v1") == 2
    assert ended.count("would be rejected") == 3
    assert not (folder / "mapping.rejects.ndjson").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mapping.yaml", "accounts.csv", "--ledger", "nowhere"], "404"),
        (["mapping.yaml", "accounts.csv", "--key-file", "mapping.yaml"], "does not hold an API key"),
        (["mapping.yaml", "accounts.csv", "--key", "lk_of_another"], "Name the file of a valid key with --key-file"),
        (["mapping.yaml", "accounts.csv", "--key-file", "."], "cannot be read"),
        (["mapping.yaml", "mapping.yaml"], "has no place for a file of this name"),
        (["mapping.yaml", "accounts.csv", "--rejects", "accounts.csv"], "rejects cannot be written to it"),
        (["asks.ndjson"], "asks.ndjson:2: not YAML"),
        (["mapping.yaml", "missing.csv"], "does not exist"),
        (["mapping.yaml", "accounts.csv", "--batch", "1001"], "1<=x<=1000"),
        (["mapping.yaml", "accounts.csv", "--url", "nothing at all"], "cannot be posted to"),
    ],
)
async def test_what_cannot_run_says_so_and_records_nothing(
    database: Database, asking: Asking, folder: Path, arguments: list[str], message: str
):
    ended = await command(database.settings, "import", *arguments, folder=folder)
    assert ended.status == 2, ended.output + ended.errors
    assert message in ended.errors
    assert "Traceback" not in ended.errors
    assert await asking.events() == []


async def test_what_was_recorded_in_error_is_found_by_its_id_and_retracted(
    database: Database, asking: Asking, folder: Path
):
    (folder / "mapping.yaml").write_text(
        MAPPING
        + """\
retracted:
  - {event: account-acme, id: taken-back-1, time: &day 2026-02-09T09:00:00Z, reason: A test, by: &desk {role: agent,
     team: support}}
  - {event: account-birch, id: taken-back-2, time: *day, reason: Never there, by: *desk}
"""
    )
    # The second account is refused, and so there is nothing to retract.
    for recorded in (6, 0):
        ended = await command(database.settings, "import", "mapping.yaml", folder=folder)
        assert (ended.status, ended.count("rejected")) == (1, 2), ended.output + ended.errors
        assert (ended.count("recorded"), ended.count("already recorded")) == (recorded, 6 - recorded)
        _, rejected = map(json.loads, (folder / "mapping.rejects.ndjson").read_text().splitlines())
        assert (rejected["line"], rejected["id"]) == (23, "taken-back-2")
        assert rejected["reason"] == "event: /imports/crm has recorded nothing under the id 'account-birch'"
    *_, retraction = await asking.events()
    assert (retraction["type"], retraction["subject"]) == ("ledger.event.retracted.v1", "account/acme")
    assert retraction["data"] == {
        "position": 1,
        "subject": "account/acme",
        "reason": "A test",
        "by": {"role": "agent", "team": "support"},
    }


async def test_the_sample_is_loaded_once(database: Database, asking: Asking, folder: Path):
    for recorded in (192, 0):
        ended = await command(database.settings, "demo", folder=folder)
        assert ended.status == 0, ended.output + ended.errors
        assert (ended.count("read"), ended.count("already recorded")) == (192, 192 - recorded)
        assert ended.output.count("/requirements/SSO-42") == 1
    assert [int(event["sequence"]) for event in await asking.events()] == [*range(1, 193)]


# A line to the ledger that breaks

Pass = Callable[[], Awaitable[web.Response]]
Fault = Callable[[web.Request, Pass], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def line_to(ledger: str, faults: list[Fault]) -> AsyncIterator[str]:
    """The URL of a line to a ledger; each fault in turn has its way with one request, and then it is sound."""
    waiting = iter(faults)

    async def pass_on(request: web.Request) -> web.StreamResponse:
        body = await request.read()

        async def passed() -> web.Response:
            headers = {name: request.headers[name] for name in ("Authorization", "Content-Type")}
            async with session.post(ledger + request.path, data=body, headers=headers) as answer:
                return web.Response(status=answer.status, body=await answer.read(), content_type="application/json")

        fault = next(waiting, None)
        return await (passed() if fault is None else fault(request, passed))

    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_post("/{path:.*}", pass_on)
    runner = web.AppRunner(app)
    async with aiohttp.ClientSession() as session:
        await runner.setup()
        [port] = free_ports(1)
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            await runner.cleanup()


async def full(request: web.Request, passed: Pass) -> web.StreamResponse:
    return web.Response(status=503, headers={"Retry-After": "0"})


async def lost_before_it_landed(request: web.Request, passed: Pass) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def lost_after_it_landed(request: web.Request, passed: Pass) -> web.StreamResponse:
    await passed()
    return await lost_before_it_landed(request, passed)


async def cut_off_after_it_landed(request: web.Request, passed: Pass) -> web.StreamResponse:
    answer = await passed()
    assert isinstance(answer.body, bytes)
    cut = web.StreamResponse(status=answer.status, headers={"Content-Length": str(len(answer.body))})
    await cut.prepare(request)
    await cut.write(answer.body[:20])
    return await lost_before_it_landed(request, passed)


async def import_over(url: str, database: Database, folder: Path, batch: int = 2) -> tuple[Tally, list[str]]:
    key = (database.settings.home / "admin.key").read_text().strip()
    tally = Tally()
    said: list[str] = []
    found = plan(load(folder / "mapping.yaml"), [folder])
    with Rejects(folder / "rejects.ndjson") as rejects:
        async with Delivery(url, "main", key, said.append) as delivery:
            items = read(found, tally, now=datetime.now(UTC))
            await deliver(items, delivery, rejects, tally, batch_events_max=batch)
    return tally, said


@pytest.mark.parametrize(
    ("faults", "recorded"),
    [
        ([full, full], 5),
        ([lost_before_it_landed], 5),
        # What landed without an answer is there when it is posted again; the rest of the batches are new.
        ([lost_after_it_landed], 3),
        ([cut_off_after_it_landed, full, lost_before_it_landed], 3),
    ],
)
async def test_nothing_is_lost_or_doubled_when_the_line_breaks(
    database: Database, asking: Asking, folder: Path, faults: list[Fault], recorded: int
):
    async with line_to(asking.urls["ledger"], faults) as url:
        tally, said = await import_over(url, database, folder)
    assert len(said) == 1
    assert said[0].startswith("Waiting for the ledger: ")
    assert (tally.events_recorded, tally.events_known) == (recorded, 5 - recorded)
    assert [int(event["sequence"]) for event in await asking.events()] == [1, 2, 3, 4, 5]


async def test_where_nobody_listens_is_told_in_plain_words() -> None:
    [port] = free_ports(1)
    told: asyncio.Queue[str] = asyncio.Queue()
    entry = Entry(Origin("asks.ndjson", 1), {}, "ask-1", "ledger.ask.recorded.v1", b"{}")
    async with Delivery(f"http://127.0.0.1:{port}", "main", "lk_a", told.put_nowait) as delivery:
        waiting = asyncio.create_task(delivery.record([entry]))
        said = await asyncio.wait_for(told.get(), 30)
        waiting.cancel()
    assert said == f"Waiting for the ledger: no connection to 127.0.0.1:{port} (Connection refused)"


async def test_a_request_that_is_too_large_is_sent_in_halves(database: Database, asking: Asking, folder: Path):
    async def too_large(request: web.Request, passed: Pass) -> web.StreamResponse:
        return web.json_response({"title": "Too large"}, status=413)

    async with line_to(asking.urls["ledger"], [too_large, too_large]) as url:
        tally, _ = await import_over(url, database, folder, batch=1000)
    assert tally.events_recorded == 5
    assert [event["id"] for event in await asking.events()][:2] == ["account-acme", "account-cedar"]


async def test_an_answer_of_something_else_ends_the_import(database: Database, folder: Path):
    async def another_service(request: web.Request, passed: Pass) -> web.StreamResponse:
        return web.json_response({"hello": "world"})

    async with line_to("http://127.0.0.1:9", [another_service]) as url:
        with pytest.raises(DeliveryFailed, match="answers, but not as a ledger does"):
            await import_over(url, database, folder)


async def test_whoever_is_not_there_is_not_waited_for_long(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("services.importer.delivery.FIRST_SECONDS_MAX", 0.5)
    [port] = free_ports(1)
    with pytest.raises(DeliveryFailed, match="run this again: nothing is recorded twice"):
        await asyncio.wait_for(import_over(f"http://127.0.0.1:{port}", database, folder), 10)
