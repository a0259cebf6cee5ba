"""What is sealed is nowhere in the clear on disk: not in tables, not in the write-ahead log, not in a log file."""

import json
import secrets
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from services.settings import Settings
from tests.log import event
from tests.system.test_supervisor import Run, home, running

__all__ = ["home"]  # A fixture.

pytestmark = pytest.mark.system

LONG_WORDS = 300


def words(about: str, count: int = 1) -> str:
    """A text that occurs nowhere else, and that no compression can take apart."""
    return " ".join(f"{about} {secrets.token_hex(8)}" for _ in range(count))


SEALED = {
    "quote": words("quote"),
    "long quote": words("quote", LONG_WORDS),
    "accented quote": f"Größe ßü {secrets.token_hex(8)} für 日本",
    "problem": words("problem"),
    "name": words("Ada"),
    "email": f"{secrets.token_hex(8)}@example.com",
    # Sent, and refused: for what the event holds, and for the key that it came with.
    "refused quote": words("quote"),
    "quote without a key": words("quote"),
    # Sent a second time with other content, which is a conflict.
    "other quote": words("quote"),
}
CLEAR = {"title": words("title"), "statement": words("statement", LONG_WORDS // 3), "rationale": f"Größe {words('')}"}


def post(run: Run, *events: Any, key: str | None = None) -> int:
    admin = (run.home / "admin.key").read_text().strip()
    request = urllib.request.Request(
        f"http://127.0.0.1:{run.ledger}/v1/ledgers/main/events",
        data=json.dumps(events, ensure_ascii=False).encode(),
        headers={
            "Authorization": f"Bearer {key or admin}",
            "Content-Type": "application/cloudevents-batch+json",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def get(run: Run, port: int, path: str) -> Any:
    admin = (run.home / "admin.key").read_text().strip()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {admin}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def superuser(home: Path, sql: str) -> None:
    """Run statements as the superuser of the embedded database."""
    password = json.loads((home / "database.json").read_text())["passwords"]["postgres"]
    owner = urlsplit(Settings(home=home).url("owner"))
    url = f"postgresql://postgres:{password}@{owner.netloc.rpartition('@')[2]}{owner.path}?{owner.query}"
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in sql.split(";"):
            connection.execute(statement.encode())


def traces(text: str) -> Iterator[bytes]:
    """How parts of a text that occur nowhere else might lie there."""
    words = [word for word in text.split() if len(word) >= 16]
    for word in {words[0], words[-1]}:
        yield word.encode()
        yield word.encode("utf-16-le")[:-1]  # Whichever byte comes first.
        yield word.encode().hex().encode()  # As PostgreSQL writes bytes in a text.


def found(directory: Path, texts: dict[str, str]) -> dict[str, set[str]]:
    """Which of these texts have left traces in which files."""
    wanted = {name: list(traces(text)) for name, text in texts.items()}
    places: dict[str, set[str]] = {}
    for file in directory.rglob("*"):
        if file.is_file() and not file.is_symlink():
            content = file.read_bytes()
            for name, signs in wanted.items():
                if any(sign in content for sign in signs):
                    places.setdefault(name, set()).add(str(file.relative_to(directory)))
    return places


def test_sealed_texts_are_nowhere_in_the_clear(home: Path) -> None:
    with running(home, LEDGER_LOG_LEVEL="debug") as run:
        run.ready()
        # Compression would hide from this search what it is to find.
        superuser(
            home,
            "ALTER SYSTEM SET wal_compression = off; SELECT pg_reload_conf();"
            "ALTER TABLE ledger_main.stored_events ALTER COLUMN state SET STORAGE EXTERNAL",
        )
        asked = event("ask.recorded", requirement="R-1", account="a-1", contact="p-1", quote=SEALED["quote"])
        events = [
            event("requirement.raised", requirement="R-1", title=CLEAR["title"], problem=SEALED["problem"]),
            asked,
            event("ask.recorded", requirement="R-1", account="a-2", quote=SEALED["long quote"]),
            event("ask.recorded", requirement="R-1", account="a-3", quote=SEALED["accented quote"]),
            event("person.introduced", person="p-1", name=SEALED["name"], email=SEALED["email"]),
            agreement(),
            decision(),
        ]
        assert post(run, *events) == 201
        assert post(run, asked) == 200
        assert post(run, {**asked, "data": {**asked["data"], "quote": SEALED["other quote"]}}) == 409
        refused = event("ask.recorded", requirement="R-1", account="a-1", quote=SEALED["refused quote"], more=1)
        assert post(run, refused) == 422
        unheard = event("ask.recorded", requirement="R-1", account="a-1", quote=SEALED["quote without a key"])
        assert post(run, unheard, key="lk_none") == 401

        # Answered in the clear to who may see it, by both services, so that it has been through all of it.
        one = get(run, run.ledger, "/v1/ledgers/main/events/2?unseal=true")
        assert one["data"]["quote"] == SEALED["quote"]
        answer = get(run, run.projector, "/v1/ledgers/main/requirements/R-1?at_least=7&timeout=30")
        assert SEALED["quote"] in json.dumps(answer, ensure_ascii=False)

        superuser(home, "CHECKPOINT")
        (home / "output.log").write_text(run.output())
        assert found(home, SEALED) == {}

        # The same search finds what is not sealed, in the table and in the write-ahead log.
        clear = found(home, CLEAR)
        assert clear.keys() == CLEAR.keys()
        for name in CLEAR:
            assert any(file.startswith("database/base/") for file in clear[name]), (name, clear[name])
            assert any(file.startswith("database/pg_wal/") for file in clear[name]), (name, clear[name])
        assert "request_answered" in run.output()

    # Nor has stopping written it anywhere.
    assert found(home, SEALED) == {}
    assert shell_search(home, SEALED["quote"]) == []
    assert shell_search(home, CLEAR["title"])


def shell_search(home: Path, text: str) -> list[str]:
    """As an operator would look."""
    done = subprocess.run(["grep", "-rlaF", text, str(home)], capture_output=True, text=True, check=False)
    return done.stdout.split()


def agreement() -> Any:
    return event(
        "agreement.revised",
        agreement="target-market",
        revision="r-1",
        title="Target market",
        stage="exploratory",
        statement=CLEAR["statement"],
        bullets=[],
        threshold=50,
        signatories=["sales"],
        reason="A start.",
        by={"role": "product manager", "team": "product"},
    )


def decision() -> Any:
    return event(
        "decision.made",
        decision="D-1",
        requirements=["R-1"],
        outcome="decline",
        rationale=CLEAR["rationale"],
        instruction="Say no.",
        deciders=[{"role": "product manager", "team": "product"}],
    )
