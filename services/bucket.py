"""A bucket of S3, or of a service that speaks like it, as a place where files are written once.

Objects are put with `If-None-Match: *`, so the service itself refuses to write one again. Endpoint, region and
credentials are those of boto3: AWS_ENDPOINT_URL_S3, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, a profile, …
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

SCHEME = "s3://"
CONNECT_SECONDS_MAX = 3
READ_SECONDS_MAX = 10
TRIES_MAX = 2
"""Of one request. One that landed and whose answer was lost is answered 412 when it is tried again."""
_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?")


class BucketError(OSError):
    """The bucket does not do what it is asked; the text says why."""

    def __init__(self, text: str) -> None:
        super().__init__(errno.EIO, text)

    def __str__(self) -> str:
        return self.strerror or ""


class Object:
    """An object of a bucket."""

    def __init__(self, bucket: "Bucket", key: str) -> None:
        self._bucket = bucket
        self._key = key

    @property
    def name(self) -> str:
        return self._key.rpartition("/")[2]

    def read_bytes(self) -> bytes:
        return self._bucket.read(self._key)

    def read_text(self) -> str:
        return self.read_bytes().decode()

    def __str__(self) -> str:
        return f"{SCHEME}{self._bucket.name}/{self._key}"


class Bucket:
    """Whatever is below s3://BUCKET/PREFIX. `retention_days`: how long the service is told to let nobody remove an
    object (object lock in compliance mode), in days; 0: as the bucket has it. Raises BucketError throughout; and when
    it is made, ValueError for what cannot be a bucket."""

    def __init__(self, url: str, *, retention_days: int = 0) -> None:
        self.name, self._prefix = bucket_and_prefix(url)
        self._retention_days = retention_days
        self._client = _client()

    def folders(self, path: str) -> list[str]:
        below = f"{self._prefix}{path}/"
        return sorted(
            each["Prefix"].removeprefix(below).rstrip("/")
            for page in self._pages(below)
            for each in page.get("CommonPrefixes", ())
        )

    def files(self, path: str) -> list[Object]:
        keys = [each["Key"] for page in self._pages(f"{self._prefix}{path}/") for each in page.get("Contents", ())]
        return [Object(self, key) for key in sorted(keys)]

    def write_once(self, path: str, octets: bytes) -> Object:
        key = f"{self._prefix}{path}"
        lock: dict[str, Any] = {}
        if self._retention_days:
            until = datetime.now(UTC) + timedelta(days=self._retention_days)
            lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until}
        with _told(self.name):
            try:
                self._client.put_object(Bucket=self.name, Key=key, Body=octets, IfNoneMatch="*", **lock)
            except self._client.exceptions.ClientError as error:
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != 412:
                    raise
        return Object(self, key)

    def read(self, key: str) -> bytes:
        with _told(self.name):
            octets: bytes = self._client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return octets

    def _pages(self, below: str) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("list_objects_v2")
        with _told(self.name):
            yield from pages.paginate(Bucket=self.name, Prefix=below, Delimiter="/")


def bucket_and_prefix(url: str) -> tuple[str, str]:
    """The bucket of s3://BUCKET/PREFIX, and what its keys begin with. Raises ValueError."""
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError(f"not the URL of a bucket, s3://BUCKET/PREFIX: {url!r}")
    prefix = (found[2] or "").strip("/")
    return found[1], f"{prefix}/" if prefix else ""


def _client() -> Any:
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise ValueError(
            "a bucket needs boto3, which is not installed: pip install 'requirements-ledger[s3]'"
        ) from None
    waits = Config(
        connect_timeout=CONNECT_SECONDS_MAX,
        read_timeout=READ_SECONDS_MAX,
        retries={"mode": "standard", "total_max_attempts": TRIES_MAX},
    )
    try:
        return boto3.session.Session().client("s3", config=waits)
    except BotoCoreError as error:
        raise ValueError(f"the bucket cannot be used: {error}") from error


@contextmanager
def _told(bucket: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise BucketError(f"the bucket {bucket}: {error}") from error
