"""Timestamps of RFC 3161: an authority signs that it was shown a hash, and when.

The response of an authority is kept as it came, so that others can check it (`openssl ts -verify`).
"""

import re
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256, sha384, sha512
from typing import NamedTuple

from cryptography.x509 import Certificate, load_pem_x509_certificates
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

RESPONSE_OCTETS_MAX = 64 * 1024
_HASHES = {
    "2.16.840.1.101.3.4.2.1": sha256,
    "2.16.840.1.101.3.4.2.2": sha384,
    "2.16.840.1.101.3.4.2.3": sha512,
}
"""By the object identifiers of NIST."""
_REASON = re.compile(r'(?:reason|data): "([^"]+)"')
_STATUSES = ("granted", "granted with changes", "rejected", "waiting", "revocation warning", "revoked")


class TimestampError(ValueError):
    """What is given is no timestamp, or not one of these octets; the text says why."""


class Request(NamedTuple):
    """A request for a timestamp, with its nonce: as its response has to have it."""

    octets: bytes
    nonce: int

    @classmethod
    def of(cls, shown: bytes) -> "Request":
        """Asks for a timestamp of these octets, and for the certificate of who makes it. The nonce is random."""
        request = (
            TimestampRequestBuilder()
            .data(shown)
            .hash_algorithm(HashAlgorithm.SHA256)
            .nonce(nonce=True)
            .cert_request(cert_request=True)
            .build()
        )
        assert request.nonce is not None
        return cls(request.as_bytes(), request.nonce)


def time_of(response: bytes, shown: bytes, *, nonce: int | None = None) -> datetime:
    """When an authority was shown these octets, as its response says. Its signature is not looked at.

    Raises TimestampError if it grants nothing, or is of other octets or of another request (its `nonce`).
    """
    return _read(response, shown, nonce).tst_info.gen_time


def signed_time_of(response: bytes, shown: bytes, roots: Sequence[Certificate]) -> datetime:
    """The same, once the signature and the chain to one of these roots hold, at that time. Raises TimestampError."""
    read = _read(response, shown, None)
    builder = VerifierBuilder()
    for root in roots:
        builder = builder.add_root_certificate(root)
    try:
        builder.build().verify_message(read, shown)
    except (VerificationError, ValueError) as error:
        reasons = _REASON.findall(str(error)) or [str(error)]  # The last one is what OpenSSL found in the end.
        raise TimestampError(f"not signed by an authority below the given certificates: {reasons[-1]}") from None
    return read.tst_info.gen_time


def read_roots(pem: bytes) -> list[Certificate]:
    """Raises TimestampError if there are no certificates in it."""
    try:
        return load_pem_x509_certificates(pem)
    except ValueError as error:
        raise TimestampError(f"no certificates in PEM: {error}") from None


def _read(response: bytes, shown: bytes, nonce: int | None) -> TimeStampResponse:
    if len(response) > RESPONSE_OCTETS_MAX:
        raise TimestampError(f"a response has at most {RESPONSE_OCTETS_MAX} bytes")
    try:
        read = decode_timestamp_response(response)
        status = read.status
        if status != 0:
            named = _STATUSES[status] if status < len(_STATUSES) else str(status)
            said = "; ".join(read.status_string or ())
            raise TimestampError(f"the authority has not granted it: {named}{f' ({said})' if said else ''}")
        imprint, found = read.tst_info.message_imprint, read.tst_info.nonce
        algorithm = imprint.hash_algorithm.dotted_string
        message = imprint.message
    except TimestampError:
        raise
    except Exception as error:  # The library has no error of its own for octets that are something else.
        raise TimestampError(f"not a response of a timestamp authority: {error}") from None
    hashed = _HASHES.get(algorithm)
    if hashed is None:
        raise TimestampError(f"of an unknown hash algorithm: {algorithm}")
    if message != hashed(shown).digest():
        raise TimestampError("it is of other octets")
    if nonce is not None and found != nonce:
        raise TimestampError("it is an answer to another request")
    return read
