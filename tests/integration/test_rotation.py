"""Rotation of the master key: nothing is lost on the way, and at its end the old one opens nothing."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from msgspec.structs import replace

from services.master_keys import WRAPPED_AT_ONCE_MAX, Rotated, finish, rotate
from services.migrate import MigrationError, migrate
from services.postgres import connect
from services.sealing import (
    MASTER_KEYS_MAX,
    MasterKey,
    MasterKeyError,
    MasterKeys,
    SealingKey,
    new_master_key,
    open_text,
)
from tests.asking import asking
from tests.conftest import Database
from tests.importing import command
from tests.ledger_service import BATCH, EVENTS, LedgerService, example, holds, profile, serving
from tests.log import Log, event

SECONDS_MAX = 60
KEYS = "ledger_main.sealing_keys"
REFUSED_BY_THE_LAW = "sealing_keys_master_in_use"


class Cut(Exception):
    """A step is cut short, as by a kill."""


def ask(number: int, **more: Any) -> Any:
    return event("ask.recorded", requirement="R", account="acme", ask=f"a-{number}", quote=f"Word {number}", **more)


async def record(database: Database, count: int, ledger: str = "main") -> None:
    async with Log.open(database, ledger) as log:
        await log.append(*(ask(number) for number in range(1, count + 1)))


@pytest.fixture
async def superuser(database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(database.superuser)
    yield connection
    await connection.close()


async def step(
    database: Database,
    take: Callable[..., Any],
    progress: Callable[[str, int, int], None] = lambda ledger, wrapped, total: None,
) -> Rotated:
    """Take a step of the rotation, on a connection of its own."""
    owner = await connect(database.owner)
    try:
        rotated: Rotated = await take(owner, database.settings.master_key, progress)
    finally:
        await owner.close()
    return rotated


async def kept(superuser: asyncpg.Connection, ledger: str = "main") -> list[SealingKey]:
    rows = await superuser.fetch(
        f"SELECT event_id, person, master, wrapped FROM ledger_{ledger}.sealing_keys ORDER BY position"
    )
    return [SealingKey(**row) for row in rows]


async def registered(superuser: asyncpg.Connection) -> dict[str, str]:
    """Each master key and what became of it."""
    rows = await superuser.fetch("SELECT * FROM registry.master_keys")
    return {
        row["name"]: "emptied"
        if row["emptied_at"]
        else "retired"
        if row["retired_at"]
        else "lost"
        if row["lost_at"]
        else "in use"
        for row in rows
    }


async def every_text_opens(superuser: asyncpg.Connection, masters: MasterKeys, ledger: str = "main") -> None:
    keys = {key.event_id: key for key in await kept(superuser, ledger)}
    rows = await superuser.fetch(
        "SELECT event_id, notification_id AS position, convert_from(state, 'UTF8')::jsonb #>> '{data,quote,sealed}' AS"
        f" sealed FROM ledger_{ledger}.stored_events WHERE sealed"
    )
    assert len(rows) == len(keys) > 0
    for row in rows:
        assert open_text(row["sealed"], keys[row["event_id"]], masters, "quote") == f"Word {row['position']}"


def opens_nothing(old: MasterKey, keys: list[SealingKey]) -> None:
    for key in keys:
        assert key.master != old.name
        with pytest.raises(MasterKeyError):
            old.unwrap(replace(key, master=old.name))


# From one key to the next


async def test_after_both_steps_the_new_key_opens_everything_and_the_old_one_nothing(
    database: Database, superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    await migrate(database.settings, ledgers=["main", "payments"])
    old = MasterKeys(database.settings.master_key).newest
    count = WRAPPED_AT_ONCE_MAX + 200
    await record(database, count)
    await record(database, 3, "payments")
    before = {ledger: await kept(superuser, ledger) for ledger in ("main", "payments")}

    begun = await command(database.settings, "rotate-master-key", folder=tmp_path)
    assert begun.status == 0, begun.errors
    both = MasterKeys(database.settings.master_key)
    assert both.names[1:] == [old.name] and begun.output.startswith(f"{count + 3} sealing keys were wrapped anew")
    assert f"by the master key {both.newest.name}" in begun.output and "rotate-master-key --finish" in begun.output
    assert {key.master for key in await kept(superuser)} == {both.newest.name}
    assert await registered(superuser) == {old.name: "in use", both.newest.name: "in use"}

    finished = await command(database.settings, "rotate-master-key", "--finish", folder=tmp_path)
    assert finished.status == 0, finished.errors
    assert f"{both.newest.name} is the only one" in finished.output
    masters = MasterKeys(database.settings.master_key)
    assert masters.names == [both.newest.name]
    assert database.settings.master_key.stat().st_mode & 0o777 == 0o600
    assert await registered(superuser) == {old.name: "emptied", both.newest.name: "in use"}
    for ledger, was in before.items():
        now = await kept(superuser, ledger)
        opens_nothing(old, now)
        assert [(key.event_id, key.person) for key in now] == [(key.event_id, key.person) for key in was]
        await every_text_opens(superuser, masters, ledger)
    await migrate(database.settings)
    assert len((await command(database.settings, "rotate-master-key", "--finish", folder=tmp_path)).output) > 0
    assert MasterKeys(database.settings.master_key).names == masters.names


async def test_an_event_that_was_sealed_under_the_old_key_is_known_again(database: Database) -> None:
    asked = ask(1, id="first")
    async with serving(database.settings) as ledger:
        assert (await ledger.post(asked)).status == 201
        await step(database, rotate)
        assert (await ledger.post(asked)).results[0]["duplicate"]
        await step(database, finish)
        again = await ledger.post(asked)
        assert (again.status, again.results[0]["duplicate"], again.results[0]["position"]) == (200, True, 1)
        other = await ledger.post(asked | {"data": asked["data"] | {"quote": "Other words"}})
        assert (other.status, other.problem) == (409, "id-conflict")


async def test_a_key_that_somebody_holds_is_waited_for_by_nobody_and_wrapped_anew_later(
    database: Database, superuser: asyncpg.Connection
) -> None:
    await record(database, 10)
    await superuser.execute("BEGIN")
    await superuser.execute(f"SELECT FROM {KEYS} WHERE position = 4 FOR UPDATE")
    assert (await step(database, rotate)).wrapped == 9
    finishing = asyncio.create_task(step(database, finish))
    looking = await connect(database.superuser)

    async def retired() -> bool:
        assert not finishing.done()
        return "retired" in (await registered(looking)).values()

    await holds(retired)
    await superuser.execute("ROLLBACK")
    assert (await finishing).wrapped == 1
    await looking.close()
    assert len({key.master for key in await kept(superuser)}) == 1


# Cut short


async def test_a_step_that_is_killed_in_the_middle_is_repeated_and_all_is_whole(
    database: Database, superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    await migrate(database.settings, ledgers=["main", "payments"])
    old = MasterKeys(database.settings.master_key).newest
    await record(database, 5)
    await record(database, 5, "payments")

    await kill_in_the_middle(database, superuser, tmp_path)
    both = MasterKeys(database.settings.master_key)
    assert len(both.names) == 2
    assert {key.master for key in await kept(superuser)} == {both.newest.name}
    assert {key.master for key in await kept(superuser, "payments")} == {old.name}
    await repeat(database, tmp_path)

    # Between the steps something comes in by services that know the old key only.
    await insert(superuser, "main", 6, old)
    await insert(superuser, "payments", 6, old)
    await kill_in_the_middle(database, superuser, tmp_path, "--finish")
    assert MasterKeys(database.settings.master_key).names == both.names
    assert (await registered(superuser))[old.name] == "retired"
    assert [key.master for key in await kept(superuser, "payments")][-1] == old.name
    await repeat(database, tmp_path, "--finish")

    masters = MasterKeys(database.settings.master_key)
    assert masters.names == both.names[:1]
    for ledger in ("main", "payments"):
        keys = await kept(superuser, ledger)
        assert len(keys) == 6 and all(masters.unwrap(key) for key in keys)
        opens_nothing(old, keys)


async def kill_in_the_middle(
    database: Database, superuser: asyncpg.Connection, tmp_path: Path, *arguments: str
) -> None:
    """kill -9 a step that has done with one ledger and comes to the next. While it is there, no other begins."""
    await superuser.execute("BEGIN; LOCK TABLE ledger_payments.sealing_keys IN SHARE ROW EXCLUSIVE MODE")
    process = subprocess.Popen(
        [sys.executable, "-m", "services.command", "rotate-master-key", *arguments],
        env=database.settings.environ(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    async def waits() -> bool:
        assert process.poll() is None
        return bool(
            await superuser.fetch(
                "SELECT FROM pg_locks WHERE NOT granted AND relation = 'ledger_payments.sealing_keys'::regclass"
            )
        )

    try:
        await holds(waits)
        second = await command(database.settings, "rotate-master-key", *arguments, folder=tmp_path)
        assert second.status == 2
        assert second.errors == "a rotation of the master key is under way; wait until it has ended\n"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(SECONDS_MAX)
        await superuser.execute("ROLLBACK")


async def repeat(database: Database, tmp_path: Path, *arguments: str) -> None:
    async def done() -> bool:
        ended = await command(database.settings, "rotate-master-key", *arguments, folder=tmp_path)
        # The server takes a moment to see that the first one is gone.
        assert ended.status == 0 or "under way" in ended.errors, ended.errors
        return ended.status == 0

    await holds(done)


async def insert(superuser: asyncpg.Connection, ledger: str, position: int, master: MasterKey) -> None:
    """A sealing key as a service keeps it."""
    key = bytes(32)
    event_id = await superuser.fetchval("SELECT gen_random_uuid()")
    await superuser.execute(
        f"INSERT INTO ledger_{ledger}.sealing_keys VALUES ($1, $2, NULL, $3, $4)",
        position, event_id, master.name, master.wrap(key, event_id),
    )  # fmt: skip


async def test_cut_short_anywhere_and_repeated_it_comes_to_the_same(
    database: Database, superuser: asyncpg.Connection
) -> None:
    old = MasterKeys(database.settings.master_key).newest
    await record(database, WRAPPED_AT_ONCE_MAX * 2 + 1)

    def cut_at(count: int) -> Callable[[str, int, int], None]:
        def cut(ledger: str, wrapped: int, total: int) -> None:
            if wrapped >= count:
                raise Cut

        return cut

    # Known, and not in the file yet: nobody has the key.
    await superuser.execute("INSERT INTO registry.master_keys VALUES ('nobody-has-it', clock_timestamp())")
    with pytest.raises(Cut):
        await step(database, rotate, cut_at(1))
    new = MasterKeys(database.settings.master_key).newest
    with pytest.raises(Cut):
        await step(database, rotate, cut_at(WRAPPED_AT_ONCE_MAX))
    rest = await step(database, rotate)
    assert (rest.newest, rest.wrapped) == (new.name, 1)

    # Retired, and still in the file.
    await insert(superuser, "main", WRAPPED_AT_ONCE_MAX * 2 + 2, old)
    writing = await connect(database.superuser)
    await writing.execute("BEGIN")
    await insert(writing, "main", WRAPPED_AT_ONCE_MAX * 2 + 3, old)
    finishing = asyncio.create_task(step(database, finish, cut_at(2)))

    async def waits() -> bool:
        assert not finishing.done()
        return bool(await superuser.fetch("SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"))

    await holds(waits)
    # Who keeps a sealing key under the old one is waited for, and what they kept is found.
    await writing.execute("COMMIT")
    await writing.close()
    with pytest.raises(Cut):
        await finishing
    assert MasterKeys(database.settings.master_key).names == [new.name, old.name]
    assert await registered(superuser) == {old.name: "retired", new.name: "in use", "nobody-has-it": "retired"}
    await migrate(database.settings)

    leftover = database.settings.master_key.with_name(".master.key.x1y2")
    leftover.write_bytes(database.settings.master_key.read_bytes())
    assert (await step(database, finish)).wrapped == 0
    assert not leftover.exists()
    assert MasterKeys(database.settings.master_key).names == [new.name]
    assert await registered(superuser) == {old.name: "emptied", new.name: "in use", "nobody-has-it": "emptied"}
    opens_nothing(old, await kept(superuser))


# What is at hand


async def test_nothing_is_changed_where_the_file_is_not_the_one(
    database: Database, superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    await record(database, 2)
    path = database.settings.master_key
    good = path.read_text()
    line, _ = new_master_key()
    before = await kept(superuser), await registered(superuser)
    for text, told in (
        (None, "cannot be read"),
        ("", "does not hold master keys"),
        ("garbage\n", "does not hold master keys"),
        (good + "garbage\n", "does not hold master keys"),
        (line, "Texts are sealed here under the master key"),
    ):
        path.unlink() if text is None else path.write_text(text)
        for take in (rotate, finish):
            with pytest.raises(MasterKeyError, match=told):
                await step(database, take)
        assert (path.read_text() if path.exists() else None) == text
        assert [*path.parent.glob(".master*")] == []
        assert (await kept(superuser), await registered(superuser)) == before
    ended = await command(database.settings, "rotate-master-key", folder=tmp_path)
    assert (ended.status, ended.output) == (2, "") and "put its file back" in ended.errors


async def test_the_command_says_what_it_misses_and_ends_with_2(database: Database, tmp_path: Path) -> None:
    before = database.settings.master_key.read_text()
    away = "postgresql://nobody@127.0.0.1:1/nothing"
    empty = database.superuser.replace(f"/{database.name}", "/postgres")
    for settings, told in (
        (replace(database.settings, database_url=away), "cannot be used"),
        (replace(database.settings, database_url=empty), "run `ledger migrate`"),
        (replace(database.settings, database_url=database.writer), "has to name the database's owner"),
        (replace(database.settings, database_url=None), "Set LEDGER_DATABASE_URL"),
    ):
        ended = await command(settings, "rotate-master-key", folder=tmp_path)
        assert (ended.status, ended.output) == (2, ""), ended.errors
        assert told in ended.errors and "Traceback" not in ended.errors
        assert database.settings.master_key.read_text() == before


async def test_a_key_that_does_not_open_is_named_and_all_others_are_wrapped_anew(
    database: Database, superuser: asyncpg.Connection
) -> None:
    old = MasterKeys(database.settings.master_key).newest.name
    await record(database, 5)
    await superuser.execute(
        f"UPDATE {KEYS} SET wrapped = set_byte(wrapped, 20, 255 - get_byte(wrapped, 20)) WHERE position = 3"
    )
    for take in (rotate, finish):
        with pytest.raises(MasterKeyError, match=r"1 do not, the first at position 3 of the ledger main"):
            await step(database, take)
    masters = MasterKeys(database.settings.master_key)
    assert masters.names[1:] == [old]  # What it would open, if it were mended, is not thrown away.
    assert (await registered(superuser))[old] == "retired"
    assert [key.master == masters.newest.name for key in await kept(superuser)] == [True, True, False, True, True]


async def test_a_key_that_somebody_has_written_into_the_file_is_rotated_to(
    database: Database, superuser: asyncpg.Connection
) -> None:
    path = database.settings.master_key
    async with serving(database.settings) as ledger:
        assert (await ledger.post(ask(1))).status == 201
    line, new = new_master_key()
    path.write_text(line + "\n" + path.read_text())
    await migrate(database.settings)
    async with serving(database.settings) as ledger:
        assert (await ledger.post(ask(2))).status == 201
        assert (await step(database, rotate)).newest == new.name
        assert (await step(database, finish)).wrapped == 0
        assert await quotes(ledger, 2) == ["Word 1", "Word 2"]
    assert {key.master for key in await kept(superuser)} == {new.name}
    assert path.read_text().split() == [line]


async def test_a_key_in_the_file_that_is_no_predecessor_keeps_no_new_one_from_being_made(
    database: Database, superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    path = database.settings.master_key
    await record(database, 2)
    old = MasterKeys(path).newest
    foreign, stranger = new_master_key()  # As for the import of a log from elsewhere.
    path.write_text(path.read_text() + foreign + "\n")
    begun = await command(database.settings, "rotate-master-key", folder=tmp_path)
    assert begun.status == 0 and "It was made now." in begun.output, begun.errors
    assert f"{old.name} is still in use behind it" in begun.output and stranger.name not in begun.output
    new = MasterKeys(path).newest
    assert MasterKeys(path).names == [new.name, old.name, stranger.name]
    assert {key.master for key in await kept(superuser)} == {new.name}

    again = await command(database.settings, "rotate-master-key", folder=tmp_path)
    assert again.status == 0 and "No new one was made" in again.output and "Finish" in again.output
    assert MasterKeys(path).newest.name == new.name
    finished = await command(database.settings, "rotate-master-key", "--finish", folder=tmp_path)
    assert "ledger scrub-keys" in finished.output
    assert MasterKeys(path).names == [new.name]
    opens_nothing(old, await kept(superuser))
    third = await command(database.settings, "rotate-master-key", folder=tmp_path)
    assert "It was made now." in third.output and MasterKeys(path).newest.name != new.name


async def test_a_file_that_is_full_takes_no_new_key_and_stays_as_it_is(database: Database) -> None:
    path = database.settings.master_key
    path.write_text(path.read_text() + "".join(f"{new_master_key()[0]}\n" for _ in range(MASTER_KEYS_MAX - 1)))
    before = path.read_text()
    with pytest.raises(MasterKeyError, match="take some out of it"):
        await step(database, rotate)
    assert path.read_text() == before


async def test_an_older_file_is_not_taken_back(database: Database) -> None:
    path = database.settings.master_key
    older = path.read_text()
    await step(database, rotate)
    await step(database, finish)
    path.write_text(older)
    with pytest.raises(MigrationError, match="which was retired"):
        await migrate(database.settings)
    with pytest.raises(MasterKeyError, match="which was retired"):
        await step(database, rotate)


async def test_a_lost_key_that_is_found_opens_again_and_can_be_rotated_away(
    database: Database, superuser: asyncpg.Connection
) -> None:
    path = database.settings.master_key
    async with serving(database.settings) as ledger:
        assert (await ledger.post(ask(1))).status == 201
    found = path.read_text()
    path.unlink()
    await migrate(database.settings, new_master_key=True)
    async with serving(database.settings) as ledger:
        assert (await ledger.post(ask(2))).status == 201
        assert await quotes(ledger, 2) == [None, "Word 2"]
        path.write_text(path.read_text() + found)
        await migrate(database.settings)
        assert await quotes(ledger, 2) == ["Word 1", "Word 2"]
        await step(database, finish)
        assert await quotes(ledger, 2) == ["Word 1", "Word 2"]
    assert len({key.master for key in await kept(superuser)}) == 1


async def quotes(ledger: LedgerService, count: int) -> list[str | None]:
    found = []
    for position in range(1, count + 1):
        reply = await ledger.get(f"{EVENTS}/{position}?unseal=1")
        assert reply.status == 200, reply.body
        found.append(reply.json["data"]["quote"])
    return found


# Services that have another file


async def test_a_text_whose_master_key_a_service_has_not_been_given_does_not_look_erased(
    database: Database, tmp_path: Path
) -> None:
    stale = tmp_path / "stale.key"
    stale.write_bytes(database.settings.master_key.read_bytes())
    apart = replace(database, settings=replace(database.settings, master_key_file=stale))
    asked = example("ask.recorded")
    async with serving(apart.settings) as ledger, asking(apart) as client:
        assert (await ledger.post(asked)).status == 201
        client.head = 1
        requirement = f"requirements/{asked['data']['requirement']}"
        await client.answer(requirement)
        await step(database, rotate)

        written = await ledger.get(f"{EVENTS}/1?unseal=1")
        read = await client.get(requirement, key="personal")
        for reply in (written, read):
            assert (reply.status, reply.json["type"]) == (503, "/problems/unavailable")
            assert "give this service the file as it is now" in reply.json["detail"]
            assert reply.headers["Retry-After"]
        again = await ledger.post(asked)  # Neither is it taken for known, by its id alone.
        assert (again.status, again.problem) == (503, "unavailable")
        assert (await ledger.post(profile())).status == 201

        stale.write_bytes(database.settings.master_key.read_bytes())

        async def opens() -> bool:
            return (await ledger.get(f"{EVENTS}/1?unseal=1")).status == 200

        await holds(opens)
        assert (await ledger.post(asked)).results[0]["duplicate"]

        async def shown() -> bool:
            return (await client.get(requirement, key="personal")).status == 200

        await holds(shown)


async def test_a_ledger_that_has_the_old_key_only_seals_nothing_more_and_goes_on_by_itself(
    database: Database, superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    stale = tmp_path / "stale.key"
    stale.write_bytes(database.settings.master_key.read_bytes())
    async with serving(replace(database.settings, master_key_file=stale)) as ledger:
        assert (await ledger.post(ask(1))).status == 201
        await step(database, rotate)
        assert (await ledger.post(ask(2))).status == 201  # It is still in use.
        await step(database, finish)

        refused = await ledger.post(ask(3))
        assert (refused.status, refused.problem) == (503, "unavailable")
        assert "is not in use" in refused.json["detail"] and refused.headers["Retry-After"]
        lenient = await ledger.send(
            b"[" + b",".join(encoded(each) for each in (ask(3), profile())) + b"]",
            BATCH,
            headers={"Prefer": "handling=lenient"},
        )
        assert [each["status"] for each in lenient.json["results"]] == [503, 503]
        # What has nothing to seal is recorded, alone and in the company of what has.
        replies = await asyncio.gather(*(ledger.post(each) for _ in range(5) for each in (profile(), ask(4))))
        assert {reply.status for reply in replies[::2]} == {201} and {reply.status for reply in replies[1::2]} == {503}
        assert await superuser.fetchval(f"SELECT count(*) FROM {KEYS}") == 2

        stale.write_bytes(database.settings.master_key.read_bytes())

        async def taken() -> bool:
            return (await ledger.post(ask(5))).status == 201

        await holds(taken)
    masters = MasterKeys(stale)
    assert {key.master for key in await kept(superuser)} == {masters.newest.name}


def encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)


# The law


async def test_no_sealing_key_is_kept_under_a_master_key_out_of_use(
    database: Database, superuser: asyncpg.Connection
) -> None:
    await record(database, 1)
    path = database.settings.master_key
    retired = MasterKeys(path).newest.name
    await step(database, rotate)
    await step(database, finish)
    lost = MasterKeys(path).newest.name
    path.unlink()
    await migrate(database.settings, new_master_key=True)
    now = MasterKeys(path).newest.name

    def row(master: str) -> str:
        return f"INSERT INTO {KEYS} VALUES (99, gen_random_uuid(), NULL, '{master}', '')"

    silent = "SET session_replication_role = replica"
    for out_of_use in (retired, lost, "never-known"):
        for url, first in (
            (database.writer, "SELECT"),
            (database.owner, "SELECT"),
            (database.superuser, "SELECT"),
            (database.superuser, silent),
        ):
            attacks = [row(out_of_use), f"{row(now)}, (100, gen_random_uuid(), NULL, '{out_of_use}', '')"]
            if url != database.writer:
                attacks.append(f"UPDATE {KEYS} SET master = '{out_of_use}'")
            for attack in attacks:
                connection = await connect(url)
                try:
                    await connection.execute(first)
                    with pytest.raises(asyncpg.RestrictViolationError) as refused:
                        await connection.execute(attack)
                    assert refused.value.constraint_name == REFUSED_BY_THE_LAW, attack
                finally:
                    await connection.close()
    assert {key.master for key in await kept(superuser)} == {lost}
    await superuser.execute(row(now))


async def test_a_snapshot_from_before_a_retirement_does_not_get_round_it(
    database: Database, superuser: asyncpg.Connection
) -> None:
    old = MasterKeys(database.settings.master_key).newest.name
    writing = await connect(database.writer)
    try:
        async with writing.transaction(isolation="repeatable_read"):
            await writing.fetch("SELECT FROM registry.master_keys")
            await step(database, rotate)
            await step(database, finish)
            with pytest.raises(asyncpg.SerializationError):
                await writing.execute(f"INSERT INTO {KEYS} VALUES (99, gen_random_uuid(), NULL, '{old}', '')")
            raise asyncpg.SerializationError
    except asyncpg.SerializationError:
        pass
    finally:
        await writing.close()
    assert await kept(superuser) == []


async def test_a_retired_master_key_does_not_come_back(database: Database, superuser: asyncpg.Connection) -> None:
    await step(database, rotate)
    await step(database, finish)
    before = await superuser.fetch("SELECT * FROM registry.master_keys ORDER BY name")
    for attack in (
        "UPDATE registry.master_keys SET retired_at = NULL",
        "UPDATE registry.master_keys SET retired_at = clock_timestamp()",
        "UPDATE registry.master_keys SET name = 'x' || name",
        "UPDATE registry.master_keys SET known_from = clock_timestamp()",
        "DELETE FROM registry.master_keys",
        "DELETE FROM registry.master_keys WHERE false",
        "TRUNCATE registry.master_keys",
    ):
        for url, first in ((database.owner, "SELECT"), (database.superuser, "SET session_replication_role = replica")):
            connection = await connect(url)
            await connection.execute(first)
            with pytest.raises(asyncpg.RestrictViolationError):
                await connection.execute(attack)
            await connection.close()
        for role in (database.writer, database.projector, database.auditor):
            connection = await connect(role)
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(attack)
            await connection.close()
    assert await superuser.fetch("SELECT * FROM registry.master_keys ORDER BY name") == before


@pytest.mark.parametrize("role", ["writer", "projector", "auditor"])
async def test_no_service_may_wrap_anew(database: Database, role: str) -> None:
    await record(database, 1)
    connection = await connect(getattr(database, role))
    try:
        for attack in (
            f"UPDATE {KEYS} SET master = master",
            f"UPDATE {KEYS} SET wrapped = wrapped",
            "INSERT INTO registry.master_keys VALUES ('mine', clock_timestamp())",
            f"ALTER TABLE {KEYS} DISABLE TRIGGER ALL",
            "CREATE OR REPLACE FUNCTION registry.refuse_master_key_out_of_use() RETURNS trigger LANGUAGE sql AS ''",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(attack)
    finally:
        await connection.close()
