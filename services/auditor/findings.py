"""What an audit found, and the report of it."""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

Check = Literal[
    "positions",
    "bytes",
    "ids",
    "versions",
    "columns",
    "times",
    "leaves",
    "tiles",
    "roots",
    "signatures",
    "since",
    "keys",
    "imports",
    "timestamps",
    "accepted",
    "outside",
    "access log",
    "read models",
    "digests",
]

CHECKS: dict[Check, str] = {
    "positions": "the positions are 1, 2, 3, … without a gap",
    "bytes": "what is stored at each position is an event that says this position",
    "ids": "no event has the source and the id of another",
    "versions": "the versions of each stream are 1, 2, 3, …",
    "columns": "the columns beside the stored bytes say what these say",
    "times": "the recorded times never fall from a position to the next",
    "leaves": "the leaf hash of each event is that of its stored bytes",
    "tiles": "the tiles that are kept are those of the leaves",
    "roots": "each checkpoint has the root of the first events of this log",
    "signatures": "each checkpoint is signed by a known key and kept under its size, and each key that is kept is one",
    "since": "the log extends the checkpoint that was kept earlier",
    "keys": "a sealed text has its key, unless what is on record behind it erases it, and then it has none",
    "imports": "what was imported is the beginning of this log, and came before anything else of it",
    "timestamps": "each timestamp is of the checkpoint that it stands beside",
    "accepted": "what was said to have happened to the log is signed by a known key",
    "outside": "nothing is kept inside alone that was kept outside first, and nothing is gone from either",
    "access log": "the numbers of the readings are 1, 2, 3, … without a gap",
    "read models": "each row of a read model is one that the log comes to, up to where the read model has got",
    "digests": "each digest of a read model is signed by a known key, and the log comes to those that were replayed",
}
"""Each check, and what holds if it finds nothing."""


Progress = Callable[[int, int], None]
"""Told the position that the audit has reached, and the last one of the log."""


class Finding(Struct, frozen=True):
    """Something that should not be. `position`: where in the log; None if it is about none."""

    check: Check
    position: int | None
    text: str


class DigestsLookedAt(Struct):
    """Digests of read models: how many had been published and signed, how many of them were replayed, and how many are
    of other versions of a read model, which this version of the software cannot replay."""

    published: int
    replayed: int
    of_other_versions: int


class Timestamps(Struct, frozen=True):
    """How many timestamps were looked at, and whether their signatures were checked: an auditor who names no
    certificates trusts no authority."""

    looked_at: int
    signatures_checked: bool


class KeysTried(Struct, frozen=True):
    """Keys of sealed texts: how many were unwrapped, or tried in vain, and how many could not be tried, since their
    master key is not in the file that the auditor has."""

    tried: int
    untried: int


class Imported(Struct, frozen=True, kw_only=True):
    """That the beginning of the log was imported: when, out of the log of which origin, how many events, and whether
    the keys of sealed texts came along."""

    at: str
    origin: str
    events: int
    with_keys: bool
    keyless: int
    """If keys came along: how many sealed events had none any more."""


class SaidBefore(Struct, frozen=True, kw_only=True):
    """That the log did not go on from where it was, and what an operator said had happened. It takes no findings away
    from checkpoints that were kept after it."""

    at: str
    by: str
    reason: str
    events: int
    """How many the log had then."""
    checkpoints: int
    """How many had been kept outside before."""
    not_of_this_log: list[int]
    """The sizes of those of them that this log does not extend."""


class Report(Struct, frozen=True, kw_only=True):
    """An audit: what was looked at and how, by whom and when, and what was found."""

    ledger: str
    origin: str | None
    source: str
    """What was read, without a password."""
    by: str
    begun: str
    seconds: float
    events: int
    """All events from position 1 to this one: nothing was sampled."""
    checkpoint: str | None
    """The latest one, as it was signed."""
    checkpoints: int
    """All that were looked at, each once."""
    checkpoints_inside: int
    """Those that the ledger itself has, or shows."""
    checkpoints_outside: int | None
    """Those that were kept elsewhere; None: nobody looked there."""
    imported: list[Imported]
    sealing_keys: KeysTried | None
    """None: it was not tried whether keys of sealed texts open."""
    read_models: dict[str, int]
    """The position that each read model has got to, as far as they were looked at: what it has not, it need not have
    rows for."""
    digests: DigestsLookedAt | None
    """None: there was nowhere to read them."""
    since: str | None
    timestamps: Timestamps | None
    accepted: list[SaidBefore]
    """What was said to have happened to the log, the oldest first."""
    checked: list[Check]
    found: list[Finding]
    more: int
    """How many findings are left out of the list."""
