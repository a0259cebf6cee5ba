"""What is kept outside the database beside checkpoints, as an audit looks at it: timestamps, and what operators said
had happened. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from cryptography.x509 import Certificate

from services.auditor.checkpoints import size_of
from services.auditor.findings import Finding, SaidBefore, Timestamps
from services.proof.accepted import Accepted
from services.proof.checkpoint import Checkpoint
from services.proof.note import NoteError, VerifierKey
from services.proof.timestamp import TimestampError, signed_time_of, time_of


class Stamped(NamedTuple):
    """A timestamp that is kept: where, of how many events, and the note that it stands beside (None: there is none)."""

    place: str
    size: int
    response: bytes
    note: bytes | None
    goes_on: bool = False
    """Whether it was kept outside, in the series that goes on."""


class Ended(NamedTuple):
    """A series of checkpoints that ended when somebody said what had happened: where it says so, the note, and the
    checkpoints before it."""

    place: str
    said: bytes
    checkpoints: Sequence[bytes]


class Outside(NamedTuple):
    """`checkpoints`: those that the log has to extend. `digests`: of read models, from the series that goes on; what
    those of ended series are of, the log may not have. `sizes`: of every checkpoint of every series, as they were there
    once the database had been read. `amiss`: what is amiss with the series themselves."""

    checkpoints: Sequence[bytes] = ()
    ended: Sequence[Ended] = ()
    timestamps: Sequence[Stamped] = ()
    digests: Sequence[bytes] = ()
    sizes: frozenset[int] = frozenset()
    amiss: Sequence[str] = ()


class Past(NamedTuple):
    """What ended series say: `said` of those that are signed, each with its checkpoints; `current`: the checkpoints of
    the others, for which nobody who is known has answered."""

    said: Sequence[tuple[Accepted, Sequence[Checkpoint]]]
    current: Sequence[bytes]
    found: Sequence[Finding]


def read_past(ended: Iterable[Ended], origin: str, keys: Sequence[VerifierKey]) -> Past:
    said: list[tuple[Accepted, Sequence[Checkpoint]]] = []
    current: list[bytes] = []
    found: list[Finding] = []
    for each in ended:
        try:
            accepted = Accepted.verified(each.said, origin, keys)
        except NoteError as error:
            found.append(Finding("accepted", None, f"{each.place}: {error}"))
            current += each.checkpoints
            continue
        if f"/{accepted.series}/" not in each.place:
            found.append(Finding("accepted", None, f"{each.place}: it was said of the series {accepted.series}"))
            current += each.checkpoints
            continue
        checkpoints = []
        for note in each.checkpoints:
            try:
                checkpoints.append(Checkpoint.verified(note, origin, keys))
            except NoteError as error:
                found.append(Finding("signatures", None, f"a checkpoint from before {each.place}: {error}"))
        said.append((accepted, checkpoints))
    return Past(said, current, found)


def read_series(every: Sequence[tuple[str, bool]]) -> list[str]:
    """What is amiss with series, of each its name and whether it begins with what somebody said: they are 1, 2, 3, …,
    and all but the first begin so."""
    amiss, expected = [], 1
    for name, is_said in every:
        if int(name) > expected:
            lost = f"{expected:0{len(name)}d}"
            amiss.append(
                f"the series {lost} is gone" if int(name) == expected + 1 else f"the series from {lost} are gone"
            )
        if int(name) > 1 and not is_said:
            amiss.append(f"the series {name} begins, and nobody has said what happened to the one before")
        expected = int(name) + 1
    return amiss


def check_both(
    inside: Iterable[int], timestamps: Iterable[int], outside: Outside, *, imported: int = 0
) -> list[Finding]:
    """Whether outside and inside have what either has to have. `inside`: the sizes of the checkpoints there, and
    `timestamps`: those of the timestamps there. `imported`: how many events came from an export, without timestamps.

    What is inside was kept outside first, so all of it is there. Of timestamps that are outside, the last may still be
    on its way inside."""
    found = [Finding("outside", None, text) for text in outside.amiss]
    every = sorted(inside)
    alone = [size for size in every if size not in outside.sizes]
    if alone and not outside.sizes:
        text = f"{len(alone)} checkpoints are kept inside, and none outside: is LEDGER_CHECKPOINTS where they are?"
        found.append(Finding("outside", None, text))
    elif alone:
        text = f"{len(alone)} checkpoints are kept inside alone (of {alone[0]} to {alone[-1]} events)"
        found.append(Finding("outside", alone[0], text))
    stamped = sorted(each.size for each in outside.timestamps if each.goes_on)
    there = {*timestamps}
    found += [
        Finding("outside", size, f"the timestamp of {size} events is kept outside, and not inside any more")
        for size in stamped[:-1]
        if size not in there and size > imported
    ]
    return found


def told(past: Past, roots: Mapping[int, bytes]) -> list[SaidBefore]:
    """What was said, with the checkpoints before it that are not of this log, which has these roots by its sizes."""
    return [
        SaidBefore(
            at=accepted.at,
            by=accepted.by,
            reason=accepted.reason,
            events=accepted.events,
            checkpoints=len(checkpoints),
            not_of_this_log=sorted(each.size for each in checkpoints if roots.get(each.size) != each.root),
        )
        for accepted, checkpoints in past.said
    ]


def check_timestamps(
    stamped: Iterable[Stamped], roots: Sequence[Certificate] | None
) -> tuple[Timestamps | None, list[Finding]]:
    """`roots`: certificates of the authorities that the auditor trusts; None: signatures are not looked at."""
    count, found = 0, []
    for each in stamped:
        count += 1
        if each.note is None:
            found.append(Finding("timestamps", each.size, f"{each.place} stands beside no checkpoint"))
            continue
        if (said := size_of(each.note)) not in (None, each.size):
            text = f"{each.place} is of {each.size} events, and the checkpoint there says {said}"
            found.append(Finding("timestamps", each.size, text))
        try:
            if roots is None:
                time_of(each.response, each.note)
            else:
                signed_time_of(each.response, each.note, roots)
        except TimestampError as error:
            found.append(Finding("timestamps", each.size, f"{each.place}: {error}"))
    return (Timestamps(count, roots is not None) if count else None), found
