"""Once a person is erased and the keys are scrubbed, no file of the database has a text, its key, or that wrapped."""

import subprocess
import sys
import urllib.parse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from services.sealing import MasterKeys, SealingKey
from services.settings import Settings
from tests.log import erased, event, redacted
from tests.system.test_sealed_on_disk import get, post, superuser, words
from tests.system.test_supervisor import Run, home, running

__all__ = ["home"]  # A fixture.

pytestmark = pytest.mark.system

NAME, EMAIL, QUOTE, SAID, PROBLEM = (words(about) for about in ("Ada", "ada", "quote", "said", "problem"))
# Keys of others, so that there is something to keep statistics of, and pages to copy. They come first: what lies at the
# end of a page that is not full is what PostgreSQL writes over last.
OTHERS = 300
INTRODUCED, ASKED, FED_BACK, RAISED, LASTS = range(OTHERS + 1, OTHERS + 6)
GONE = (INTRODUCED, ASKED, FED_BACK, RAISED)
LASTING = words("lasting")


def introduced() -> list[Any]:
    return [
        *(
            event("ask.recorded", requirement="R-2", account=f"a-{number}", contact=f"q-{number}", quote="Us too.")
            for number in range(OTHERS)
        ),
        event("person.introduced", person="p-1", name=NAME, email=EMAIL),
        event("ask.recorded", requirement="R-1", account="a-1", contact="p-1", quote=QUOTE),
        event("feedback.received", feedback="F-1", contact="p-1", text=SAID),
        event("requirement.raised", requirement="R-1", title="Single sign-on", problem=PROBLEM),
        event("ask.recorded", requirement="R-1", account="a-2", contact="p-2", quote=LASTING),
    ]


def keys(home: Path) -> dict[int, SealingKey]:
    """The keys that are there, by position."""
    with psycopg.connect(Settings(home=home).url("owner")) as connection:
        rows = connection.execute("SELECT position, event_id, person, master, wrapped FROM ledger_main.sealing_keys")
        return {
            position: SealingKey(event_id=id, person=person, master=master, wrapped=wrapped)
            for position, id, person, master, wrapped in rows.fetchall()
        }


def places(home: Path, signs: Iterable[bytes]) -> set[str]:
    """The files of the database that have one of these, as it is or as PostgreSQL writes bytes in a text."""
    wanted = [form for sign in signs for form in (sign, sign.hex().encode())]
    found = set()
    for file in (home / "database").rglob("*"):
        if file.is_file() and not file.is_symlink():
            content = file.read_bytes()
            if any(sign in content for sign in wanted):
                found.add(str(file.relative_to(home / "database")))
    return found


def scrub(run: Run | None, home: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "services.command", "scrub-keys"],
        env=run.environ if run else {"LEDGER_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(240)
def test_what_was_erased_is_nowhere_on_disk(home: Path) -> None:
    with running(home) as run:
        run.ready()
        # Compression would hide from this search what it is to find.
        superuser(home, "ALTER SYSTEM SET wal_compression = off; SELECT pg_reload_conf()")
        assert post(run, *introduced()) == 201
        # Opened by both services, so that the texts have been through all of it.
        answer = get(run, run.projector, f"/v1/ledgers/main/requirements/R-1?at_least={LASTS}&timeout=30")
        assert {QUOTE, LASTING} <= {asked.get("quote") for who in answer["who_asked"] for asked in who["asks"]}
        inbox = get(run, run.projector, "/v1/ledgers/main/feedback")
        assert inbox["feedback"][0]["text"] == SAID
        alike = urllib.parse.quote(PROBLEM)
        get(run, run.projector, f"/v1/ledgers/main/requirements?similar_to=single%20sign-on%20{alike}")
        assert get(run, run.ledger, f"/v1/ledgers/main/events/{INTRODUCED}?unseal=1")["data"]["name"] == NAME
        superuser(home, "ANALYZE; CHECKPOINT; ANALYZE")

        master = MasterKeys(home / "master.key")
        kept = keys(home)
        wrapped = [kept[position].wrapped for position in GONE]
        secret = [master.unwrap(kept[position]) for position in GONE]
        lasting = kept[LASTS]
        # After a checkpoint a page is logged whole when it is next changed: with the keys that are about to go.
        superuser(home, "CHECKPOINT")
        assert post(run, erased("p-1"), redacted(RAISED, "requirement/R-1")) == 201
        assert keys(home).keys() == kept.keys() - {*GONE}

        before = places(home, wrapped)
        assert any(file.startswith("base/") for file in before), before
        assert any(file.startswith("pg_wal/") for file in before), before
        assert "was written anew" in scrub(run, home)
        assert places(home, wrapped) == set()

        # What is not erased is there, and opens.
        answer = get(run, run.projector, "/v1/ledgers/main/requirements/R-1")
        quotes = {asked.get("quote") for who in answer["who_asked"] for asked in who["asks"]}
        assert LASTING in quotes and QUOTE not in quotes
        assert places(home, [lasting.wrapped])
        # And once more, of what stays in the files until nothing runs any more.
        assert post(run, erased("p-2")) == 201
        (home / "output.log").write_text(run.output())

    assert places(home, [lasting.wrapped])
    scrub(None, home)
    wrapped.append(lasting.wrapped)
    texts = [text.encode() for text in (NAME, EMAIL, QUOTE, SAID, PROBLEM)]
    for text in (NAME, EMAIL, QUOTE, SAID, PROBLEM):
        assert subprocess.run(["grep", "-rlaF", text, str(home)], check=False, capture_output=True).stdout == b""
    assert places(home, [*wrapped, *secret, *texts]) == set()
