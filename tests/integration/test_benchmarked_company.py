"""The made-up company of the benchmarks is one that the ledger would have recorded."""

from collections import Counter
from datetime import timedelta
from itertools import islice

from benchmarks.company import FIRST_RECORDED, YEARS, company, growth, scale
from benchmarks.loading import load
from schemas.codec import parse
from services.projector.projector import Projector
from services.sealing import MasterKeys
from tests.conftest import Database
from tests.ledger_service import LedgerService
from tests.log import Log
from tests.readmodels import reached

EVENTS = 2_000
PAGE = 500


async def test_the_ledger_takes_every_event_of_it_over_http(ledger: LedgerService):
    log = [recorded.event for recorded in company(EVENTS)]
    for first in range(0, EVENTS, PAGE):
        answer = await ledger.post(*log[first : first + PAGE])
        assert answer.status == 201, answer.body
        assert [each["position"] for each in answer.results] == [*range(first + 1, first + PAGE + 1)]
    grown = [*islice(growth(EVENTS, of=scale(EVENTS)), 200)]
    assert (await ledger.post(*grown)).status == 201


def test_the_same_seed_makes_the_same_company():
    one, same, other = ([*company(EVENTS, seed=seed)] for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_it_has_what_a_company_has():
    log = [*company(20_000)]
    types = Counter(each.event["type"].removeprefix("ledger.").removesuffix(".v1") for each in log)
    drawn = len(log) - types["requirement.raised"]
    asks = types["ask.recorded"] + types["ask.withdrawn"]
    profiles = types["account.profiled"] + types["account.identified"]
    assert types["requirement.raised"] == 1_000
    assert 0.66 < asks / drawn < 0.74
    assert 0.13 < profiles / drawn < 0.17
    assert 0.08 < types["opportunity.updated"] / drawn < 0.12
    assert 0.03 < (drawn - asks - profiles - types["opportunity.updated"]) / drawn < 0.07
    assert types["agreement.adopted"] == 3
    assert types["decision.made"] == 200
    for kind in ("ask.moved", "account.merged", "account.unmerged", "event.retracted", "decision.acknowledged"):
        assert types[kind] > 0, kind

    times = [each.time for each in log]
    assert times == sorted(set(times))
    assert FIRST_RECORDED < times[0] < times[-1] < FIRST_RECORDED + YEARS
    asked = Counter(each.event["data"]["requirement"] for each in log if each.event["type"].endswith("ask.recorded.v1"))
    voices = sorted(asked.values())
    assert voices[-1] > 20 * voices[len(voices) // 2]
    ids = [each.event["data"].get("ask") for each in log if each.event["type"].endswith("ask.recorded.v1")]
    assert len({*ids}) < len(ids) - ids.count(None)
    late = [
        each
        for each in log
        if "time" in each.event and each.event["time"] < (each.time - timedelta(days=30)).isoformat()
    ]
    assert len(late) > 100


async def test_a_loaded_log_is_that_of_a_ledger(database: Database):
    pages: list[int] = []
    async with Log.open(database) as log:
        stored = await load(
            log.connection,
            "main",
            MasterKeys.load_or_make(database.settings.master_key).newest,
            company(EVENTS),
            pages.append,
        )
        rows = await log.connection.fetch(
            "SELECT state, originator_version, subject FROM ledger_main.stored_events ORDER BY notification_id"
        )
    assert sum(pages) == len(rows) == EVENTS
    assert 500 < stored / EVENTS < 700
    versions: Counter[str] = Counter()
    for position, row in enumerate(rows, 1):
        said = parse(row["state"])
        versions[row["subject"]] += 1
        assert int(said["sequence"]) == position
        assert said["streamversion"] == row["originator_version"] == versions[row["subject"]]
    async with Projector(database.settings) as projector:
        await reached(await projector.ledger("main"), EVENTS)
