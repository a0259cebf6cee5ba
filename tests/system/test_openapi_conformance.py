"""The three services against their own descriptions: schemathesis asks what /openapi.json allows, and what it does not.

`LEDGER_TEST_API_CASES` requests in all, or a few more (`make fuzz` makes 50,000); `LEDGER_TEST_API_SEED` repeats a
run. What fails is printed with the request as a curl command.
"""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from schemas.cloudevents import example
from schemas.events import EVENT_TYPES, Correction
from schemas.examples import EXAMPLES
from schemas.values import ID_PATTERN
from services.keys import key_id
from services.problems import KINDS
from tests.conftest import Database

CASES = int(os.environ.get("LEDGER_TEST_API_CASES", "2000"))
SEED = int(os.environ.get("LEDGER_TEST_API_SEED", "20261122"))
SECONDS_MAX = 120
CASES_OF_LONG_RUN_MIN = 20_000
CASES_BESIDE_FUZZING = 1_400
"""What the boundaries of each parameter, the examples and the links of the descriptions take in any case."""

OF_ONE_KIND = {name: cls for name, cls in EVENT_TYPES.items() if not issubclass(cls, Correction)}
"""Event types whose subjects are of one kind: a correction is about whatever it corrects."""

SERVICES = ("ledger", "projector", "receiver")
HOOKS = {
    "signed": "{scheme: github, secret_file: signed.secret}",
    "open": "{scheme: none, anybody_may_post: true}",
}
"""Hooks that the receiver finds, by their signatures. What is posted to them is made up, and fits no mapping."""

# What a valid request may be answered besides: a rule, a version or a grant refuses it, or it has to wait.
TAKEN = ["2xx", "3xx", "401", "403", "404", "409", "412", "422", "503", "504"]
REFUSED = ["400", "401", "403", "404", "405", "406", "409", "412", "413", "415", "422", "503", "504"]

pytestmark = [pytest.mark.system, pytest.mark.timeout(SECONDS_MAX + CASES)]


async def test_each_answer_is_one_that_the_description_has(database: Database, tmp_path: Path):
    async with _services(database, tmp_path) as (urls, key):
        operations = {name: await _operations(url) for name, url in urls.items()}
        beside = min(CASES_BESIDE_FUZZING, CASES * 3 // 4)
        each = -(-(CASES - beside) // sum(len(found) for found in operations.values()))
        made = {}
        for name, url in urls.items():
            made[name] = await _schemathesis(name, url, key, operations[name], each, tmp_path)
        assert await _head(urls["ledger"], key) > len(EXAMPLES), "no event that was made up has been recorded"
    assert sum(made.values()) >= CASES, made
    print(f"{made} requests, seed {SEED}")  # noqa: T201


@asynccontextmanager
async def _services(database: Database, folder: Path) -> AsyncIterator[tuple[dict[str, str], str]]:
    """The services as processes, on a ledger that holds an example of each event: their URLs, and the admin key."""
    settings = database.settings
    key = (settings.home / "admin.key").read_text().strip()
    urls = {
        "ledger": f"http://{settings.bind}:{settings.ledger_port}",
        "projector": f"http://{settings.bind}:{settings.projector_port}",
        "receiver": f"http://{settings.bind}:{settings.receiver_port}",
    }
    _write_hooks(settings.hooks_directory)
    running = []
    for name in SERVICES:
        with (folder / f"{name}.log").open("wb") as log:
            running.append(
                await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", f"services.{name}"), env=settings.environ(), stdout=log, stderr=log
                )
            )
    try:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
            for url in urls.values():
                await _answers(session, f"{url}/readyz")
            head = await _record_examples(session, urls["ledger"])
            await _answers(session, f"{urls['projector']}/v1/ledgers/main/requirements?at_least={head}")
        yield urls, key
    finally:
        for process in running:
            if process.returncode is None:
                process.terminate()
        for process in running:
            await process.wait()


def _write_hooks(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    secret = directory / "signed.secret"
    secret.write_text("a-secret-of-twenty-four-bytes\n")
    secret.chmod(0o600)
    for name, signature in HOOKS.items():
        (directory / f"{name}.yaml").write_text(
            f"signature: {signature}\nsource: /hooks/{name}\nevents:\n"
            "  - type: ledger.feedback.received.v1\n"
            '    id: "{id}"\n'
            '    data: {feedback: "{id}", text: {from: text}}\n'
        )


async def _answers(session: aiohttp.ClientSession, url: str) -> None:
    """Wait until this is answered with 200."""
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            try:
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.05)


async def _record_examples(session: aiohttp.ClientSession, url: str) -> int:
    """One event of each type whose rule is met, so that ids of the examples lead to something: the last position."""
    recorded = 0
    for name in EXAMPLES:
        async with session.post(
            f"{url}/v1/ledgers/main/events",
            data=msgspec.json.encode(example(name)),
            headers={"Content-Type": "application/cloudevents+json"},
        ) as answer:
            assert answer.status in (201, 422), await answer.text()
            recorded += answer.status == 201
    return recorded


async def _head(url: str, key: str) -> int:
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession() as session, session.get(f"{url}/v1/ledgers/main", headers=headers) as answer:
        return int((await answer.json())["head"])


async def _operations(url: str) -> dict[str, Any]:
    """The operations of a service by their ids, without those whose answers have no end."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/openapi.json") as answer:
        document = await answer.json()
    return {
        operation["operationId"]: operation
        for operations in document["paths"].values()
        for operation in operations.values()
        if "text/event-stream" not in operation["responses"].get("200", {}).get("content", {})
    }


async def _schemathesis(name: str, url: str, key: str, operations: dict[str, Any], each: int, folder: Path) -> int:
    """Run it against one service; the number of requests that it made. Fails with what it says."""
    configuration, report = folder / f"{name}.toml", folder / f"{name}.json"
    configuration.write_text(_configuration())
    environment = dict(os.environ) | {
        "LEDGER_TEST_API_KEY_ID": str(key_id(key)),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli"),
        *("--config-file", str(configuration)),
        *("run", f"{url}/openapi.json", "--header", f"Authorization: Bearer {key}"),
        *("--max-examples", str(each), "--seed", str(SEED), "--checks", "all", "--continue-on-failure", "--no-color"),
        *("--report", "json", "--report-json-path", str(report)),
        *(part for operation in operations for part in ("--include-operation-id", operation)),
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode:
        pytest.fail(f"the {name}, with LEDGER_TEST_API_SEED={SEED}:\n{output.decode()}", pytrace=False)
    return _cases(json.loads(report.read_text()))


def _configuration() -> str:
    """What schemathesis is told by its configuration: ids that lead to something, and which statuses are fine."""
    known = {
        "ledger": ["main"],
        "position": [*range(1, 10)],
        "type": sorted(EVENT_TYPES),
        "kind": sorted({cls.KIND for cls in OF_ONE_KIND.values()}),
    }
    for data in EXAMPLES.values():
        for name, value in data.items():
            if isinstance(value, str) and re.match(ID_PATTERN, value):
                known.setdefault(name, []).append(value)
    known["name"] = sorted(KINDS)
    known["hook"] = [*HOOKS]
    known["id"] = [EXAMPLES[name][cls.KIND] for name, cls in OF_ONE_KIND.items()]
    lines = [f"hooks = {json.dumps(str(Path(__file__).with_name('fuzzing.py')))}", "[generation]", "allow-x00 = false"]
    for name, values in known.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps([*dict.fromkeys(values)])}"]
    lines += ["[parameters]"]
    lines += [f'"path.{name}" = {{dictionary = "{name}", probability = 0.8}}' for name in known]
    for check, statuses in (
        ("not_a_server_error", ["2xx", "3xx", "4xx", "503", "504"]),
        ("positive_data_acceptance", TAKEN),
        ("negative_data_rejection", REFUSED),
    ):
        lines += [f"[checks.{check}]", f"expected-statuses = {json.dumps(statuses)}"]
    if CASES < CASES_OF_LONG_RUN_MIN:
        # Every boundary of every field of every event in three modes is thousands of requests, and so are those of a
        # proposed revision, whose tests may hold tests.
        for operation in (
            "post_v1_ledgers_ledger_events",
            "post_v1_ledgers_ledger_agreements_agreement_what_if",
        ):
            lines += [
                "[[operations]]",
                f'include-operation-id = "{operation}"',
                "phases.coverage.enabled = false",
            ]
    return "\n".join(lines) + "\n"


def _cases(report: Any) -> int:
    return int(report["test_cases"]["generated"])
