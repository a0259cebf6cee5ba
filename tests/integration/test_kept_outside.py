"""What is kept outside is written once, in a directory and in a bucket alike; and what the ledger does while a bucket
is away."""

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from services.bucket import Bucket, BucketError, KeptOtherwise
from services.kept_outside import Directory, KeptOutside, Store, store_of
from services.ledger.history import accept_history
from services.settings import Settings, SettingsError
from tests.buckets import BUCKET, S3, moto, s3  # noqa: F401  Fixtures.
from tests.conftest import Database
from tests.integration.test_tree import cut
from tests.ledger_service import LedgerService, holds, profile, serving

URL = f"s3://{BUCKET}/ledgers"


@pytest.fixture(params=["directory", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "directory":
        return Directory(tmp_path)
    request.getfixturevalue("s3")
    return Bucket(URL)


async def test_what_is_kept_once_stays_as_it_is(store: Store):
    def run() -> None:
        outside = KeptOutside(store, "main")
        assert (outside.last(), [*outside.every()], [*outside.series()]) == (None, [], [])
        outside.keep(7, "the first")
        outside.keep(7, "the first")
        with pytest.raises(KeptOtherwise, match=r"7\.checkpoint is there already, and says something else"):
            outside.keep(7, "another")
        outside.keep_timestamp(7, b"a time")
        with pytest.raises(KeptOtherwise, match=r"7\.tsr is there already"):
            outside.keep_timestamp(7, b"another time")
        last, timestamp = outside.last(), outside.timestamp(7)
        assert last is not None and last.read_text() == "the first" and last.name == f"{7:020d}.checkpoint"
        assert timestamp is not None and timestamp.read_bytes() == b"a time"
        assert str(timestamp) == str(last).replace(".checkpoint", ".tsr")
        with pytest.raises(FileNotFoundError, match="no checkpoint of 8 events"):
            outside.keep_timestamp(8, b"of nothing")

    await asyncio.to_thread(run)


async def test_the_last_one_is_of_the_last_day_of_the_series_that_goes_on(store: Store):
    def run() -> None:
        outside, other = KeptOutside(store, "main"), KeptOutside(store, "main-2")
        for path in (
            "main/0001/2026-01-30/00000000000000000900.checkpoint",
            "main/0001/2026-01-31/00000000000000001000.checkpoint",
            "main/0001/2026-01-31/00000000000000001000.tsr",
            "main/0001/2026-02-01/00000000000000000010.tsr",
            "main/0001/lost+found/00000000000000009999.checkpoint",
            "main/else/2026-02-01/00000000000000009999.checkpoint",
            "main-2/0007/2026-02-01/00000000000000000003.checkpoint",
        ):
            store.write_once(path, path.encode())
        last = outside.last()
        assert last is not None and last.read_text() == "main/0001/2026-01-31/00000000000000001000.checkpoint"
        file = outside.begin_anew(outside.following(), "restored")
        assert file.read_text() == "restored" and str(file).endswith("main/0002/accepted.note")
        assert outside.last() is None
        outside.keep(5, "after")
        after = outside.last()
        assert after is not None and after.read_text() == "after"
        assert [int(each.name[:20]) for each in outside.every()] == [900, 1000, 5]
        first, second = outside.series()
        assert (first.name, first.accepted, len(first.checkpoints)) == ("0001", None, 2)
        assert [(each.name[:20], beside and beside.name[:20]) for each, beside in first.timestamps] == [
            (f"{1000:020d}", f"{1000:020d}"),
            (f"{10:020d}", None),
        ]
        assert second.accepted is not None and second.accepted.read_text() == "restored"
        assert [int(each.name[:20]) for each in other.every()] == [3]

    await asyncio.to_thread(run)


async def test_a_day_of_a_wrong_clock_does_not_hide_what_comes_after_it(store: Store):
    def run() -> None:
        outside = KeptOutside(store, "main")
        assert outside.last() is None
        for day, size in (("2031-01-01", 100), ("2026-11-22", 5_000), ("2026-11-21", 4_000)):
            store.write_once(f"main/0001/{day}/{size:020d}.checkpoint", b"")
            store.write_once(f"main/0001/{day}/{size:020d}.asks.0f.digest", f"of {day}".encode())
        last = outside.last()
        assert last is not None and int(last.name[:20]) == 5_000
        assert {file.read_text() for file in outside.last_digests()} == {"of 2031-01-01", "of 2026-11-22"}

    await asyncio.to_thread(run)


async def test_a_series_after_9999_goes_on(store: Store):
    def run() -> None:
        outside = KeptOutside(store, "main")
        store.write_once("main/9999/accepted.note", b"one")
        assert outside.following() == "10000"
        outside.begin_anew("10000", "another")
        assert (outside.going_on().name, outside.following()) == ("10000", "10001")
        assert [series.name for series in outside.series()] == ["9999", "10000"]

    await asyncio.to_thread(run)


async def test_what_is_locked_in_a_bucket_is_not_hidden_by_removing_it(s3: S3):  # noqa: F811
    outside = KeptOutside(Bucket(URL, retention_days=30), "main")

    def run() -> None:
        outside.keep(7, "seven")
        outside.keep(8, "eight")
        s3.client.delete_object(Bucket=BUCKET, Key=s3.keys[-1])
        s3.client.put_object(Bucket=BUCKET, Key=s3.keys[-1], Body=b"another")
        last = outside.last()
        assert last is not None and last.read_text() == "eight"
        assert [file.read_text() for file in outside.every()] == ["seven", "eight"]
        with pytest.raises(KeptOtherwise):
            outside.keep(7, "another seven")

    await asyncio.to_thread(run)


async def test_a_put_that_did_not_land_can_be_repeated(s3: S3):  # noqa: F811
    outside = KeptOutside(Bucket(URL), "main")
    s3.otherwise = "unsent"
    with pytest.raises(BucketError, match=f"the bucket {BUCKET}"):
        await asyncio.to_thread(outside.keep, 7, "a note")
    s3.otherwise = "through"
    assert s3.keys == []
    await asyncio.to_thread(outside.keep, 7, "a note")
    assert [s3.text(key) for key in s3.keys] == ["a note"]


async def test_a_put_that_landed_without_an_answer_is_there_when_it_is_repeated(s3: S3):  # noqa: F811
    outside = KeptOutside(Bucket(URL), "main")
    s3.moments = ["through", "unanswered"]  # The list of series, and the put; the library tries again.
    await asyncio.to_thread(outside.keep, 7, "a note")
    s3.moments = ["through", "unanswered", "unanswered"]
    with pytest.raises(BucketError):
        await asyncio.to_thread(outside.keep, 8, "the next")
    await asyncio.to_thread(outside.keep, 8, "the next")
    with pytest.raises(KeptOtherwise, match=f"s3://{BUCKET}/.*8.checkpoint is there already"):
        await asyncio.to_thread(outside.keep, 8, "of another log")
    assert [s3.text(key) for key in s3.keys] == ["a note", "the next"]


async def test_a_bucket_is_told_to_let_nobody_remove_what_is_kept(s3: S3):  # noqa: F811
    outside = KeptOutside(Bucket(URL, retention_days=30), "main")
    await asyncio.to_thread(outside.keep, 7, "a note")
    [key] = s3.keys
    kept = s3.client.head_object(Bucket=BUCKET, Key=key)
    assert kept["ObjectLockMode"] == "COMPLIANCE"
    assert abs(kept["ObjectLockRetainUntilDate"] - datetime.now(UTC) - timedelta(days=30)) < timedelta(minutes=5)
    version = {"Bucket": BUCKET, "Key": key, "VersionId": kept["VersionId"]}
    with pytest.raises(s3.client.exceptions.ClientError, match="AccessDenied"):
        s3.client.delete_object(**version)


async def test_a_bucket_that_is_not_there_is_said(s3: S3):  # noqa: F811
    for act in (lambda outside: outside.keep(7, "a note"), lambda outside: outside.last()):
        with pytest.raises(BucketError, match=r"the bucket nowhere: .*NoSuchBucket"):
            await asyncio.to_thread(act, KeptOutside(Bucket("s3://nowhere"), "main"))


@pytest.mark.parametrize("url", ["s3://", "s3://UPPER/x", "gs://bucket/x", "s3:/bucket", "https://bucket"])
def test_what_is_no_bucket_is_refused_at_the_start(url: str):
    if "://" not in url:
        assert Settings.load({"LEDGER_CHECKPOINTS": url}).checkpoints_place == Path(url)
        return
    with pytest.raises(SettingsError, match="LEDGER_CHECKPOINTS: not the URL of a bucket, s3://BUCKET/PREFIX"):
        Settings.load({"LEDGER_CHECKPOINTS": url})


def test_without_its_library_a_bucket_is_refused_with_what_to_install():
    asked = "import sys; sys.modules['boto3'] = None\nfrom services.kept_outside import store_of\n"
    asked += f"from services.settings import Settings\nstore_of(Settings.load({{'LEDGER_CHECKPOINTS': '{URL}'}}))"
    ended = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=False)
    assert "SettingsError: LEDGER_CHECKPOINTS: a bucket needs boto3" in ended.stderr
    assert "pip install '.[s3]' in the clone" in ended.stderr


def test_a_bucket_without_a_region_is_refused(monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "not a url")
    with pytest.raises(SettingsError, match="LEDGER_CHECKPOINTS: "):
        store_of(Settings(checkpoints=URL))


async def checkpoint_of(service: LedgerService, size: int) -> str:
    async def there() -> str | None:
        answer = await service.get("/v1/ledgers/main/checkpoint")
        note = answer.body.decode()
        return note if answer.status == 200 and int(note.split("\n")[1]) >= size else None

    note: str = await holds(there)
    return note


async def test_a_ledger_keeps_its_checkpoints_in_a_bucket_and_waits_for_it(database: Database, s3: S3):  # noqa: F811
    settings = replace(database.settings, checkpoints=URL)
    async with serving(settings) as service:
        assert (await service.post(profile())).status == 201
        note = await checkpoint_of(service, 1)
        [key] = [key for key in s3.keys if key.startswith("ledgers/main/0001/")]
        assert s3.text(key) == note

        s3.otherwise, seen = "unsent", len(s3.seen)
        assert (await service.post(profile(id="e-away"))).status == 201  # Recording goes on.

        async def tried() -> bool:
            return len(s3.seen) > seen + 1

        await holds(tried)
        assert (await service.get("/v1/ledgers/main/checkpoint")).body.decode() == note  # None that is not outside.
        s3.otherwise = "through"
        note = await checkpoint_of(service, 2)
        assert s3.text(s3.keys[-1]) == note

    s3.otherwise = "unsent"
    async with serving(settings) as service:  # One that starts cannot know whether the log is what it was.
        refused = await service.post(profile(id="e-start"))
        assert refused.status == 503 and "the checkpoints kept outside cannot be read" in refused.json["detail"]
        assert refused.headers["Retry-After"]
        s3.otherwise = "through"

        async def taken() -> bool:
            return (await service.post(profile(id="e-start"))).status == 201

        await holds(taken)


async def test_what_an_operator_accepts_is_kept_in_the_bucket(
    database: Database,
    s3: S3,  # noqa: F811
):
    settings = replace(database.settings, checkpoints=URL)
    async with serving(settings) as service:
        for number in range(3):
            assert (await service.post(profile(id=f"e-b-{number}"))).status == 201
        await checkpoint_of(service, 3)
    await cut(database, 2)
    async with serving(settings) as service:
        assert (await service.post(profile(id="e-after"))).problem == "history-in-doubt"
        file = await accept_history(settings, "main", reason="restored by a test", by="a test")
        assert str(file) == f"s3://{BUCKET}/ledgers/main/0002/accepted.note"
        assert "reason: restored by a test\n" in s3.text("ledgers/main/0002/accepted.note")

        async def taken() -> bool:
            return (await service.post(profile(id="e-after"))).status == 201

        await holds(taken)
        await checkpoint_of(service, 3)
    assert any(key.startswith("ledgers/main/0002/20") for key in s3.keys)
