"""Whether a webhook comes from who holds the secret: Standard Webhooks, GitHub, and HMAC as others use it. Pure.

What is signed are the bytes as they came. A signature is compared in constant time, with that of every live secret.
The time of a signature is judged last, so that only who has the secret is told about clocks.
"""

import binascii
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from schemas.times import format_time

TOLERANCE_SECONDS = 300
SECRET_BYTES_MIN = 16
DELIVERY_CHARS_MAX = 200
SIGNATURES_MAX = 20  # In one header. Each is compared with each live secret.

_HOLE = re.compile(r"\{(timestamp|body|method|url)\}|[{}]")
_DELIVERY = re.compile(r"[!-~]+")

Tolerance = Annotated[int, Meta(ge=1, le=86_400)]
HeaderName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,80}$(?!\n)", description="the name of a header")]
File = Annotated[str, Meta(min_length=1)]


class SignatureInvalid(Exception):
    """The signature is missing, or not one that a live secret makes."""


class SignatureStale(Exception):
    """The signature is right, and its time is too far from the clock here."""


class SecretUnusable(ValueError):
    """A text that is no secret of this scheme."""


class Request(Struct, frozen=True):
    """A request as it came. `headers`: the names in lower case, in order."""

    method: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The header of this name, or None. Raises SignatureInvalid if it is there twice, or not ASCII."""
        found = [value for each, value in self.headers if each == name.lower()]
        if len(found) > 1:
            raise SignatureInvalid(f"the header {name} is there {len(found)} times; one is taken")
        if found and not found[0].isascii():
            raise SignatureInvalid(f"the header {name} holds more than ASCII")
        return found[0].strip() if found else None


class Scheme(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="scheme"):
    """How a sender signs."""


class Secretive(Scheme, frozen=True, kw_only=True):
    """`secret_file`: seen from the hook; a secret a line, each of which is live."""

    secret_file: File


class StandardWebhooks(Secretive, frozen=True, kw_only=True, tag="standard-webhooks"):
    """https://www.standardwebhooks.com: a secret is `whsec_` and base64."""

    tolerance_seconds: Tolerance = TOLERANCE_SECONDS


class GitHub(Secretive, frozen=True, kw_only=True, tag="github"):
    """X-Hub-Signature-256 over the body. It has no time, so a copy that is sent again is told by its events' ids."""


class Timestamp(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The header that says when it was signed, and how: seconds or milliseconds since 1970, or RFC 3339."""

    header: HeaderName
    format: Literal["epoch", "epoch_ms", "iso"] = "epoch"
    tolerance_seconds: Tolerance = TOLERANCE_SECONDS


class Hmac(Secretive, frozen=True, kw_only=True, tag="hmac"):
    """HMAC in a header. `signs`: what of the request is signed. `url`: the address of the hook as the sender knows it,
    where that is signed. `delivery`: the header with the id of the delivery, which its retries share."""

    header: HeaderName
    algorithm: Literal["sha256", "sha512", "sha1"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: Annotated[str, Meta(max_length=40)] = ""
    signs: str = "{body}"
    timestamp: Timestamp | None = None
    url: Annotated[str, Meta(pattern=r"^https?://")] | None = None
    secret_encoding: Literal["text", "base64", "hex"] = "text"  # noqa: S105 - how it is written, not what it is
    delivery: HeaderName | None = None

    def __post_init__(self) -> None:
        holes = set()
        for match in _HOLE.finditer(self.signs):
            if match[1] is None:
                raise ValueError("`signs` is made of {body}, {timestamp}, {method} and {url}, and texts between them")
            holes.add(match[1])
        if "body" not in holes:
            raise ValueError("`signs` lacks {body}: a signature that does not cover the body proves nothing about it")
        if ("timestamp" in holes) != (self.timestamp is not None):
            raise ValueError(
                "`timestamp` and the {timestamp} in `signs` go together: one that is not signed is no proof"
            )
        if ("url" in holes) != (self.url is not None):
            raise ValueError("`url` and the {url} in `signs` go together")


class Unsigned(Scheme, frozen=True, kw_only=True, tag="none"):
    """No signature. Whoever knows the address may post, and the hook has to say so."""

    anybody_may_post: bool = field(default=False)

    def __post_init__(self) -> None:
        if not self.anybody_may_post:
            raise ValueError(
                "without a signature whoever knows the address may post; write `anybody_may_post: true` if so meant"
            )


Signature = StandardWebhooks | GitHub | Hmac | Unsigned


def secret_of(text: str, signature: Secretive) -> bytes:
    """The key that a line of a secret file stands for. Raises SecretUnusable."""
    encoding = "base64" if isinstance(signature, StandardWebhooks) else "text"
    if isinstance(signature, Hmac):
        encoding = signature.secret_encoding
    if isinstance(signature, StandardWebhooks):
        text = text.removeprefix("whsec_")
    try:
        match encoding:
            case "base64":
                secret = b64decode(text, validate=True)
            case "hex":
                secret = bytes.fromhex(text)
            case _:
                secret = text.encode()
    except ValueError:  # binascii.Error is one.
        raise SecretUnusable(f"it is not {encoding}") from None
    if len(secret) < SECRET_BYTES_MIN:
        raise SecretUnusable(f"it has {len(secret)} bytes, and at least {SECRET_BYTES_MIN} are needed")
    return secret


def verify(signature: Signature, secrets: Sequence[bytes], request: Request, now: datetime) -> str | None:
    """The id of the delivery, if its sender gives one, once the signature is found right.

    Raises SignatureInvalid and SignatureStale.
    """
    match signature:
        case StandardWebhooks():
            return _verify_standard(signature, secrets, request, now)
        case GitHub():
            _compare(_hex(_given(request, "X-Hub-Signature-256"), "sha256="), secrets, request.body, "sha256")
            return _delivery(request, "X-GitHub-Delivery")
        case Hmac():
            return _verify_hmac(signature, secrets, request, now)
        case Unsigned():
            return None


def sign(signature: Signature, secret: bytes, body: bytes, *, now: datetime, delivery: str) -> dict[str, str]:
    """The headers that a sender of this scheme adds to a POST of this body."""
    match signature:
        case StandardWebhooks():
            stamp = str(int(now.timestamp()))
            made = hmac.digest(secret, _standard_text(delivery, stamp, body), "sha256")
            return {
                "webhook-id": delivery,
                "webhook-timestamp": stamp,
                "webhook-signature": f"v1,{b64encode(made).decode()}",
            }
        case GitHub():
            return {
                "X-GitHub-Delivery": delivery,
                "X-Hub-Signature-256": f"sha256={hmac.digest(secret, body, 'sha256').hex()}",
            }
        case Hmac():
            headers = {} if signature.delivery is None else {signature.delivery: delivery}
            stamp = ""
            if signature.timestamp is not None:
                stamp = headers[signature.timestamp.header] = _stamp(signature.timestamp.format, now)
            made = hmac.digest(secret, _signed_text(signature, "POST", stamp, body), signature.algorithm)
            text = made.hex() if signature.encoding == "hex" else b64encode(made).decode()
            return headers | {signature.header: signature.prefix + text}
        case Unsigned():
            return {}


def _verify_standard(
    signature: StandardWebhooks, secrets: Sequence[bytes], request: Request, now: datetime
) -> str | None:
    delivery = _delivery(request, "webhook-id", needed=True)
    stamp = _given(request, "webhook-timestamp")
    given = _given(request, "webhook-signature").split()[:SIGNATURES_MAX]
    # Others than v1 (a v1a is asymmetric) are no business of this scheme's secret.
    texts = [text.removeprefix("v1,") for text in given if text.startswith("v1,")]
    if not texts:
        raise SignatureInvalid("the header webhook-signature has no signature of the version v1")
    _compare(
        [each for text in texts if (each := _base64(text)) is not None],
        secrets,
        _standard_text(delivery or "", stamp, request.body),
        "sha256",
    )
    _check_time("webhook-timestamp", stamp, _seconds, signature.tolerance_seconds, now)
    return delivery


def _verify_hmac(signature: Hmac, secrets: Sequence[bytes], request: Request, now: datetime) -> str | None:
    given = _given(request, signature.header)
    if not given.startswith(signature.prefix):
        raise SignatureInvalid(f"the header {signature.header} does not begin with {signature.prefix!r}")
    text = given.removeprefix(signature.prefix)
    if signature.encoding == "hex":
        found = _hex(text, "")
    else:
        decoded = _base64(text)
        found = [] if decoded is None else [decoded]
    stamp = "" if signature.timestamp is None else _given(request, signature.timestamp.header)
    _compare(found, secrets, _signed_text(signature, request.method, stamp, request.body), signature.algorithm)
    if (timestamp := signature.timestamp) is not None:
        read = {"epoch": _seconds, "epoch_ms": _milliseconds, "iso": datetime.fromisoformat}[timestamp.format]
        _check_time(timestamp.header, stamp, read, timestamp.tolerance_seconds, now)
    return None if signature.delivery is None else _delivery(request, signature.delivery)


def _given(request: Request, name: str) -> str:
    value = request.header(name)
    if not value:
        raise SignatureInvalid(f"the request has no header {name}")
    return value


def _delivery(request: Request, name: str, *, needed: bool = False) -> str | None:
    value = _given(request, name) if needed else request.header(name)
    if value and (len(value) > DELIVERY_CHARS_MAX or not _DELIVERY.fullmatch(value)):
        raise SignatureInvalid(f"the header {name} is not an id: 1 to {DELIVERY_CHARS_MAX} ASCII signs without spaces")
    return value or None


def _compare(given: list[bytes], secrets: Sequence[bytes], signed: bytes, algorithm: str) -> None:
    right = False
    for secret in secrets:
        made = hmac.digest(secret, signed, algorithm)
        for each in given:
            # No way out before the end: how long it takes says nothing about which one it was.
            right |= hmac.compare_digest(each, made)
    if not right:
        raise SignatureInvalid("the signature is not the one that a secret of this hook makes of these bytes")


def _check_time(name: str, stamp: str, read: Callable[[str], datetime], tolerance_seconds: int, now: datetime) -> None:
    try:
        time = read(stamp)
        away = abs((now - time).total_seconds())
    except (ValueError, TypeError, OverflowError, OSError):
        raise SignatureInvalid(f"the header {name} holds no time of the form that the hook names") from None
    if away > tolerance_seconds:
        raise SignatureStale(
            f"signed at {format_time(time)}, and the clock here shows {format_time(now)}: {away:.0f} seconds apart, "
            f"{tolerance_seconds} at most are taken"
        )


def _standard_text(delivery: str, stamp: str, body: bytes) -> bytes:
    return f"{delivery}.{stamp}.".encode() + body


def _signed_text(signature: Hmac, method: str, stamp: str, body: bytes) -> bytes:
    parts = {
        "timestamp": stamp.encode(),
        "body": body,
        "method": method.encode(),
        "url": (signature.url or "").encode(),
    }
    signed, end = b"", 0
    for match in _HOLE.finditer(signature.signs):
        signed += signature.signs[end : match.start()].encode() + parts[match[1]]
        end = match.end()
    return signed + signature.signs[end:].encode()


def _hex(text: str, prefix: str) -> list[bytes]:
    try:
        return [bytes.fromhex(text.removeprefix(prefix))] if text.startswith(prefix) else []
    except ValueError:
        return []


def _base64(text: str) -> bytes | None:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _seconds(stamp: str) -> datetime:
    if not re.fullmatch(r"[0-9]{1,12}", stamp):
        raise ValueError(stamp)
    return datetime.fromtimestamp(int(stamp), UTC)


def _milliseconds(stamp: str) -> datetime:
    if not re.fullmatch(r"[0-9]{4,15}", stamp):
        raise ValueError(stamp)
    return datetime.fromtimestamp(int(stamp) / 1000, UTC)


def _stamp(form: str, now: datetime) -> str:
    match form:
        case "epoch":
            return str(int(now.timestamp()))
        case "epoch_ms":
            return str(int(now.timestamp() * 1000))
        case _:
            return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
