"""Signatures of webhooks, against the values that their specifications publish."""

import hmac
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from services.receiver.signatures import (
    GitHub,
    Hmac,
    Request,
    SecretUnusable,
    Signature,
    SignatureInvalid,
    SignatureStale,
    StandardWebhooks,
    Timestamp,
    Unsigned,
    secret_of,
    sign,
    verify,
)

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
SECRET = b"0123456789abcdef0123456789abcdef"
OTHER = b"fedcba9876543210fedcba9876543210"

STANDARD = StandardWebhooks(secret_file="s")
GITHUB = GitHub(secret_file="s")
ZENDESK = Hmac(
    secret_file="s",
    header="X-Zendesk-Webhook-Signature",
    encoding="base64",
    signs="{timestamp}{body}",
    timestamp=Timestamp(header="X-Zendesk-Webhook-Signature-Timestamp", format="iso"),
)
HUBSPOT = Hmac(
    secret_file="s",
    header="X-HubSpot-Signature-v3",
    encoding="base64",
    signs="{method}{url}{body}{timestamp}",
    timestamp=Timestamp(header="X-HubSpot-Request-Timestamp", format="epoch_ms"),
    url="https://hooks.example.com/hooks/hubspot-deal",
)
PLAIN = Hmac(secret_file="s", header="X-Signature", algorithm="sha512", prefix="sha512=", delivery="X-Delivery")
EVERY = [STANDARD, GITHUB, ZENDESK, HUBSPOT, PLAIN]


def request(headers: dict[str, str], body: bytes = b"{}", method: str = "POST") -> Request:
    return Request(method, [(name.lower(), value) for name, value in headers.items()], body)


# What is published


def test_the_value_of_standard_webhooks() -> None:
    secret = secret_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", STANDARD)
    at = datetime.fromtimestamp(1614265330, UTC)
    headers = sign(STANDARD, secret, b'{"test": 2432232314}', now=at, delivery="msg_p5jXN8AQM9LWM0D4loKWxJek")
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert verify(STANDARD, [secret], request(headers, b'{"test": 2432232314}'), at) == "msg_p5jXN8AQM9LWM0D4loKWxJek"


def test_the_value_of_github() -> None:
    secret = secret_of("It's a Secret to Everybody", GITHUB)
    headers = sign(GITHUB, secret, b"Hello, World!", now=NOW, delivery="d")
    wanted = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert headers["X-Hub-Signature-256"] == f"sha256={wanted}"
    assert verify(GITHUB, [secret], request(headers, b"Hello, World!"), NOW) == "d"


def test_the_value_that_zendesk_once_published() -> None:
    """Of the time when it signed the body before the timestamp."""
    secret = secret_of("HRkRd4BeOAoUkfZr-mhauJT64rvBASlJRoIyPsd3zeA=", ZENDESK)
    earlier = msgspec.structs.replace(ZENDESK, signs="{body}{timestamp}")
    at = datetime(2021, 7, 25, 10, tzinfo=UTC)
    headers = sign(earlier, secret, b'{"say": "hello"}', now=at, delivery="")
    assert headers["X-Zendesk-Webhook-Signature-Timestamp"] == "2021-07-25T10:00:00Z"
    assert headers["X-Zendesk-Webhook-Signature"] == "tRDSF7URY8BLCDlaBcQ7FHu051Zk+aAB0NKMP53teMw="


# What is right and what is not


@pytest.mark.parametrize("signature", EVERY)
def test_what_is_signed_is_known_and_nothing_else(signature: Signature) -> None:
    body = b'{"a": "\xc3\xa4"}'
    headers = sign(signature, SECRET, body, now=NOW, delivery="d-1")
    assert verify(signature, [SECRET], request(headers, body), NOW) in ("d-1", None)
    # Any of several live secrets.
    verify(signature, [OTHER, SECRET], request(headers, body), NOW)
    for wrong in (request(headers, body + b" "), request({}, body)):
        with pytest.raises(SignatureInvalid):
            verify(signature, [SECRET], wrong, NOW)
    for secrets in ([OTHER], []):
        with pytest.raises(SignatureInvalid):
            verify(signature, secrets, request(headers, body), NOW)


@pytest.mark.parametrize("signature", [STANDARD, ZENDESK, HUBSPOT])
@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_time_outside_the_tolerance_is_told_with_both_clocks(signature: Signature, minutes: int) -> None:
    headers = sign(signature, SECRET, b"{}", now=NOW + timedelta(minutes=minutes), delivery="d")
    with pytest.raises(SignatureStale, match=r"2026-11-21T10:00:00\.000000Z: 600 seconds apart, 300 at most"):
        verify(signature, [SECRET], request(headers), NOW)
    for near in (-4.9, 4.9):
        headers = sign(signature, SECRET, b"{}", now=NOW + timedelta(minutes=near), delivery="d")
        verify(signature, [SECRET], request(headers), NOW)


@pytest.mark.parametrize("signature", [STANDARD, ZENDESK, HUBSPOT])
def test_only_who_has_the_secret_is_told_about_clocks(signature: Signature) -> None:
    headers = sign(signature, OTHER, b"{}", now=NOW - timedelta(minutes=10), delivery="d")
    with pytest.raises(SignatureInvalid):
        verify(signature, [SECRET], request(headers), NOW)


@pytest.mark.parametrize("stamp", ["", "soon", "1e9", "-5", "١٧٣٢", "99999999999999999999", "2026-11-21T10:00:00Z"])
def test_a_time_that_is_none(stamp: str) -> None:
    signed = sign(STANDARD, SECRET, b"{}", now=NOW, delivery="d")
    made = b64encode(hmac.digest(SECRET, f"d.{stamp}.{{}}".encode(), "sha256")).decode()
    headers = signed | {"webhook-timestamp": stamp, "webhook-signature": f"v1,{made}"}
    with pytest.raises(SignatureInvalid):
        verify(STANDARD, [SECRET], request(headers), NOW)


def test_a_header_that_is_there_twice() -> None:
    headers = sign(GITHUB, SECRET, b"{}", now=NOW, delivery="d")
    twice = Request("POST", [(name.lower(), value) for name, value in headers.items()] * 2, b"{}")
    with pytest.raises(SignatureInvalid, match="X-Hub-Signature-256 is there 2 times"):
        verify(GITHUB, [SECRET], twice, NOW)


def test_several_signatures_in_one_header() -> None:
    headers = sign(STANDARD, SECRET, b"{}", now=NOW, delivery="d")
    right = headers["webhook-signature"]
    wrong = "v1," + b64encode(bytes(32)).decode()
    for text in (f"{wrong} {right}", f"v1a,AAAA {right}", f"v1,@@@ v2,x {right}"):
        assert verify(STANDARD, [SECRET], request(headers | {"webhook-signature": text}), NOW) == "d"
    for text in (wrong, "v1a,AAAA", right.removeprefix("v1,"), "v1,", right[:-4]):
        with pytest.raises(SignatureInvalid):
            verify(STANDARD, [SECRET], request(headers | {"webhook-signature": text}), NOW)


def test_the_method_and_the_address_are_signed_where_the_hook_says_so() -> None:
    headers = sign(HUBSPOT, SECRET, b"{}", now=NOW, delivery="")
    with pytest.raises(SignatureInvalid):
        verify(HUBSPOT, [SECRET], request(headers, method="PUT"), NOW)
    elsewhere = msgspec.structs.replace(HUBSPOT, url="https://hooks.example.com/hooks/other")
    with pytest.raises(SignatureInvalid):
        verify(elsewhere, [SECRET], request(headers), NOW)


@pytest.mark.parametrize("delivery", ["a b", "ä", "x" * 201])
def test_an_id_of_a_delivery_that_is_none(delivery: str) -> None:
    headers = sign(GITHUB, SECRET, b"{}", now=NOW, delivery="d") | {"X-GitHub-Delivery": delivery}
    with pytest.raises(SignatureInvalid, match=r"is not an id|more than ASCII"):
        verify(GITHUB, [SECRET], request(headers), NOW)


# What a hook may say


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"scheme": "none"}, "anybody_may_post: true"),
        ({"scheme": "hmac", "secret_file": "s", "header": "X", "signs": "{timestamp}"}, "lacks {body}"),
        ({"scheme": "hmac", "secret_file": "s", "header": "X", "signs": "{timestamp}{body}"}, "go together"),
        (
            {"scheme": "hmac", "secret_file": "s", "header": "X", "timestamp": {"header": "T"}},
            "one that is not signed is no proof",
        ),
        ({"scheme": "hmac", "secret_file": "s", "header": "X", "signs": "{url}{body}"}, "`url` and the {url}"),
        ({"scheme": "hmac", "secret_file": "s", "header": "X", "signs": "{body}{host}"}, "`signs` is made of"),
        ({"scheme": "hmac", "secret_file": "s", "header": "X Y"}, "the name of a header|matching regex"),
        ({"scheme": "hmac", "secret_file": "s", "header": "X", "algorithm": "md5"}, "md5"),
        ({"scheme": "github"}, "secret_file"),
    ],
)
def test_a_scheme_that_proves_nothing_is_refused(written: Any, message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert(written, Signature)  # type: ignore[arg-type]


def test_no_signature_is_a_word_of_its_own() -> None:
    assert msgspec.convert({"scheme": "none", "anybody_may_post": True}, Signature) == Unsigned(anybody_may_post=True)  # type: ignore[arg-type, comparison-overlap]


def test_secrets() -> None:
    assert secret_of(b64encode(SECRET).decode(), STANDARD) == SECRET
    assert secret_of("whsec_" + b64encode(SECRET).decode(), STANDARD) == SECRET
    assert secret_of(SECRET.hex(), msgspec.structs.replace(PLAIN, secret_encoding="hex")) == SECRET
    assert b64decode(b64encode(secret_of("ä" * 8, GITHUB))) == ("ä" * 8).encode()
    for text, signature, message in (
        ("whsec_!", STANDARD, "not base64"),
        ("short", GITHUB, "it has 5 bytes, and at least 16 are needed"),
        ("zz", msgspec.structs.replace(PLAIN, secret_encoding="hex"), "not hex"),
    ):
        with pytest.raises(SecretUnusable, match=message):
            secret_of(text, signature)  # type: ignore[arg-type]
