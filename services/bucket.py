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
_PRESENT = "list_objects_v2", "StartAfter"
_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?")


class BucketError(OSError):
    """The bucket does not do what it is asked; the text says why."""

    def __init__(self, text: str) -> None:
        super().__init__(errno.EIO, text)

    def __str__(self) -> str:
        return self.strerror or ""


class KeptOtherwise(OSError):
    """Something else is kept there already, and stays; the text says where."""

    def __init__(self, file: object) -> None:
        super().__init__(errno.EEXIST, f"{file} is there already, and says something else")

    def __str__(self) -> str:
        return self.strerror or ""


class Object:
    """An object of a bucket. `version`: which one of this key; None: the one that is there now."""

    def __init__(self, bucket: "Bucket", key: str, version: str | None = None) -> None:
        self._bucket = bucket
        self._key = key
        self._version = version

    @property
    def name(self) -> str:
        return self._key.rpartition("/")[2]

    def read_bytes(self) -> bytes:
        return self._bucket.read(self._key, self._version)

    def read_text(self) -> str:
        return self.read_bytes().decode()

    def __str__(self) -> str:
        return f"{SCHEME}{self._bucket.name}/{self._key}"


class Bucket:
    """Whatever is below s3://BUCKET/PREFIX. `retention_days`: how long the service is told to let nobody remove an
    object (object lock in compliance mode), in days; 0: as the bucket has it. Where objects are locked, the first
    version of each counts, also of one that was deleted since: that only hides it. Raises BucketError throughout; and
    when it is made, ValueError for what cannot be a bucket."""

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

    def files(self, path: str, after: str = "") -> list[Object]:
        below = f"{self._prefix}{path}/"
        found: dict[str, str | None] = {}
        for page in self._pages(below, after=f"{below}{after}" if after else ""):
            found |= {each["Key"]: None for each in page.get("Contents", ())}
            # Those of a key come one after the other, the first one last.
            found |= {each["Key"]: each["VersionId"] for each in page.get("Versions", ())}
        return [Object(self, key, found[key]) for key in sorted(found)]

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
                if self.read(key) != octets:
                    raise KeptOtherwise(Object(self, key)) from None
        return Object(self, key)

    def read(self, key: str, version: str | None = None) -> bytes:
        which = {} if version is None else {"VersionId": version}
        with _told(self.name):
            octets: bytes = self._client.get_object(Bucket=self.name, Key=key, **which)["Body"].read()
        return octets

    def _pages(self, below: str, *, after: str = "") -> Iterator[dict[str, Any]]:
        operation, marker = ("list_object_versions", "KeyMarker") if self._retention_days else _PRESENT
        asked = {"Bucket": self.name, "Prefix": below, "Delimiter": "/"} | ({marker: after} if after else {})
        with _told(self.name):
            yield from self._client.get_paginator(operation).paginate(**asked)


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
        raise ValueError("a bucket needs boto3, which is not installed: pip install '.[s3]' in the clone") from None
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
