"""The small types that every event is built of: ids, texts, amounts, times.

Every limit stands in the type, so that decoding is the validation and the JSON Schemas state it too.
A pattern ends in `$(?!\\n)`: Python's `$` also matches before a trailing line break, other dialects' does not.
"""

from datetime import UTC, date, datetime, time
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

ID_CHARS_MAX = 100
ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._~:@-]{0,99}$(?!\n)"
LEDGER_PATTERN = r"^[a-z][a-z0-9-]{0,39}$(?!\n)"
SOURCE_PATTERN = r"^[!-~]{1,200}$(?!\n)"

Id = Annotated[str, Meta(pattern=ID_PATTERN, description="1 to 100 of A-Z a-z 0-9 . _ ~ : @ -")]
LedgerName = Annotated[str, Meta(pattern=LEDGER_PATTERN, description="a-z, then a-z 0-9 -, 40 at most")]
SystemName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._~@-]{0,39}$(?!\n)", description="an id of 40 at most, without a colon")
]
IdElsewhere = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9._~:@-]{1,98}$(?!\n)", description="1 to 98 of A-Z a-z 0-9 . _ ~ : @ -")
]
Source = Annotated[str, Meta(pattern=SOURCE_PATTERN, description="a URI reference, as in CloudEvents")]
Subject = Annotated[
    str, Meta(pattern=r"^[a-z]{1,40}/[!-~]{1,200}$(?!\n)", description="the kind and the id, as requirement/SSO-42")
]
EventType = Annotated[str, Meta(pattern=r"^ledger\.[a-z]+\.[a-z_]+\.v[1-9][0-9]{0,3}$(?!\n)")]
Origin = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[!-*,-~]+$(?!\n)")]
"""The name of a log in checkpoints, as C2SP's signed-note has names of keys."""

Team = Annotated[str, Meta(min_length=1, max_length=60, pattern=r"\S")]
Role = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"\S")]

Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\S")]
Sentence = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"\S")]
Paragraph = Annotated[str, Meta(min_length=1, max_length=4_000, pattern=r"\S")]
Url = Annotated[str, Meta(pattern=r"^https?://[!-~]+$(?!\n)", max_length=2_000)]

LabelName = Annotated[str, Meta(min_length=1, max_length=60)]
LabelText = Annotated[str, Meta(max_length=200)]
Labels = Annotated[dict[LabelName, LabelText], Meta(max_length=50)]

AttributeName = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"\S")]
AttributeText = Annotated[str, Meta(max_length=4_000)]
AttributeNumber = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | float
AttributeValue = AttributeText | AttributeNumber | bool | Annotated[list[AttributeText], Meta(max_length=1_000)] | None

Amount = Annotated[str, Meta(pattern=r"^-?[0-9]{1,15}(\.[0-9]{1,6})?$(?!\n)", description="a decimal number as text")]
Currency = Literal[
    "AED", "AFN", "ALL", "AMD", "ANG", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BGN", "BHD",
    "BIF", "BMD", "BND", "BOB", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF", "CLF", "CLP",
    "CNY", "COP", "CRC", "CUP", "CVE", "CZK", "DJF", "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD",
    "FKP", "GBP", "GEL", "GHS", "GIP", "GMD", "GNF", "GTQ", "GYD", "HKD", "HNL", "HTG", "HUF", "IDR", "ILS",
    "INR", "IQD", "IRR", "ISK", "JMD", "JOD", "JPY", "KES", "KGS", "KHR", "KMF", "KPW", "KRW", "KWD", "KYD",
    "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "LYD", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU",
    "MUR", "MVR", "MWK", "MXN", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "OMR", "PAB", "PEN",
    "PGK", "PHP", "PKR", "PLN", "PYG", "QAR", "RON", "RSD", "RUB", "RWF", "SAR", "SBD", "SCR", "SDG", "SEK",
    "SGD", "SHP", "SLE", "SOS", "SRD", "SSP", "STN", "SVC", "SYP", "SZL", "THB", "TJS", "TMT", "TND", "TOP",
    "TRY", "TTD", "TWD", "TZS", "UAH", "UGX", "USD", "UYU", "UYW", "UZS", "VED", "VES", "VND", "VUV", "WST",
    "XAF", "XCD", "XCG", "XOF", "XPF", "YER", "ZAR", "ZMW", "ZWG",
]  # fmt: skip

Day = date
Moment = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt][0-9:.]+([Zz]|[+-][0-9]{2}:[0-9]{2}))?$(?!\n)",
        description="a date (its first instant in UTC) or an RFC 3339 time",
    ),
]


YEAR_MIN = 1900
YEAR_MAX = 9998
"""Outside of these years lie the dates by which systems say `never` and `always`, and the ends of calendars."""


class By(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """On whose behalf something was said: a role and a team; `person` is an opaque id, never a name."""

    role: Role
    team: Team
    person: Id | None = None


class Sealed(Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in the log in place of a sealed text: base64url of a 12-byte nonce and the AES-256-GCM text."""

    sealed: Annotated[str, Meta(max_length=100_000)]


def moment(value: str) -> datetime:
    """The instant that a `Moment` names, in UTC. Raises ValueError if the calendar or the clock has none such."""
    try:
        if len(value) == len("2026-11-21"):
            found = datetime.combine(date.fromisoformat(value), time(), UTC)
        else:
            found = msgspec.convert(value, datetime)
            if found.tzinfo is None:
                raise ValueError
            found = found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{value} is not a date, or a time with its zone, that there is") from None
    if not in_range(found):
        raise ValueError(f"{value} is not between the years {YEAR_MIN} and {YEAR_MAX}")
    return found


def in_range(day: date) -> bool:
    """Whether a date or a time is one that can be meant: see YEAR_MIN."""
    return YEAR_MIN <= day.year <= YEAR_MAX


def same_team(team: str) -> str:
    """The form in which team names are compared."""
    return team.strip().casefold()
