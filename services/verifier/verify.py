"""Whether an answer is what the events that it carries come to, and whether these are in the log. Pure.

Nothing is asked of anybody: the events prove themselves by their bytes and the checkpoint, and everything else is made
anew from them, by the folds and the judgement that the projector has, and compared member by member.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from schemas.codec import Undecodable, decode_recorded
from services.projector.shapes.proof import ProvenEvent
from services.projector.telling.requirement import WHO_ASKED_MAX, Judged, judge_requirement, tell_requirement
from services.proof.checkpoint import Checkpoint
from services.proof.inclusion import Proof
from services.proof.merkle import ProofError, leaf_hash, verify_inclusion
from services.proof.note import Note, NoteError, VerifierKey
from services.verifier.rows import Rows, Stored, evidence_of, shown_of

ANSWER_BYTES_MAX = 64 * 1024 * 1024

Check = Literal["checkpoint", "events", "position", "streams", "asked", "fits", "sums", "revisions", "decided", "told"]

CHECKS: dict[Check, str] = {
    "checkpoint": "the checkpoint is of this log, and signed by a key that you trust",
    "events": "the bytes of each cited event are in the log, at the position that it says",
    "position": "the event at the position of the answer is cited, and none behind it",
    "streams": "of the events about the requirement and each cited decision, none before the last cited is left out",
    "asked": "who asked, when and for what is what those events say",
    "fits": "each fit, with its verdicts and its class, follows from them",
    "sums": "voices, counts by class and revenue follow from them",
    "revisions": "each revision, with its digest, is what was adopted",
    "decided": "who decided what and why, and what needs review, is what they say",
    "told": "all else that the answer says is what they say",
}
"""Each check, and what holds if it finds nothing."""

NOT_SHOWN = (
    "That nothing else was left out: what came last about the requirement or a cited decision, or anything about"
    " another decision, an account or an agreement. `ledger audit` reads the whole log, and digests of read models say"
    " what it comes to.",
    "That what a sealed text says here is what was sealed: only who has the keys can open the bytes.",
    "That other people were shown the same log: compare the checkpoint with one that somebody else has kept.",
)
"""What no answer can show by itself."""


class Unverifiable(Exception):
    """The answer cannot be verified; the text says why, and what to do."""


class Finding(Struct, frozen=True):
    """Something that does not hold. `spot`: a JSON pointer into the answer; `about`: the account, decision or position
    that it is part of, in words."""

    check: Check
    spot: str
    about: str
    text: str


class Report(Struct, frozen=True, kw_only=True):
    """What was checked of an answer, and what was found."""

    ledger: str
    requirement: str
    position: int
    keys: list[str]
    """Those that have signed the checkpoint."""
    checkpoint: str
    size: int
    events: int
    checked: list[Check]
    """The others were not looked at: they rest on one that does not hold."""
    found: list[Finding]
    sealed: int
    """Sealed texts that the answer shows in the clear, and that were not looked at."""
    erased: int
    """Sealed texts that the answer shows as erased, which nobody can tell from the bytes."""
    not_shown: Sequence[str] = NOT_SHOWN


class _Revised(Struct):
    position: int


class _Ask(Struct):
    position: int
    revised: _Revised | None = None
    quote: str | UnsetType | None = UNSET


class _Account(Struct):
    account: str
    asks: list[_Ask]


class _AsOf(Struct):
    position: int


class _Event(ProvenEvent, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whatever else it said would be covered by nothing."""


class _Proof(Struct, frozen=True, forbid_unknown_fields=True):
    checkpoint: str
    events: list[_Event]


class _Answer(Struct):
    """As much of an answer as has to be known to make it anew."""

    requirement: str
    as_of: _AsOf
    who_asked: list[_Account]
    problem: str | UnsetType | None = UNSET
    proof: _Proof | UnsetType = UNSET


def verify(octets: bytes, keys: Sequence[VerifierKey]) -> Report:
    """What holds of the answer to `GET …/requirements/{id}?proof=1`. Raises Unverifiable if that cannot be said."""
    value, answer = _read(octets)
    if isinstance(answer.proof, UnsetType):
        raise Unverifiable("there is no `proof` in the answer: ask for it with `proof=1`")
    checkpoint, signed_by = _checkpoint(answer.proof.checkpoint, keys)
    checked: list[Check] = ["checkpoint", "events"]
    sealed = erased = 0
    found = [*_unproven(answer.proof, checkpoint)]
    if not found:
        checked += ["position", "streams"]
        found = [*_misplaced(answer.proof.events, answer.as_of.position)]
        found += _gaps(answer.proof.events, answer.requirement)
    if not found:
        checked += ["asked", "fits", "sums", "revisions", "decided", "told"]
        sealed, erased = _sealed(answer)
        found = [*_differences(value, answer)]
    return Report(
        ledger=checkpoint.origin,
        requirement=answer.requirement,
        position=answer.as_of.position,
        keys=[str(key) for key in signed_by],
        checkpoint=answer.proof.checkpoint,
        size=checkpoint.size,
        events=len(answer.proof.events),
        checked=checked,
        found=found,
        sealed=sealed,
        erased=erased,
    )


def _read(octets: bytes) -> tuple[dict[str, Any], _Answer]:
    if len(octets) > ANSWER_BYTES_MAX:
        raise Unverifiable(f"the answer has {len(octets)} bytes; at most {ANSWER_BYTES_MAX} are read")
    try:
        value = msgspec.json.decode(octets)
        json.loads(octets.decode(), object_pairs_hook=_each_once)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Unverifiable(f"the answer is not JSON: {error}") from None
    try:
        answer = msgspec.convert(value, _Answer)
    except msgspec.ValidationError as error:
        raise Unverifiable(
            f"this is not the answer about a requirement: {error}. One event goes with --proof"
        ) from None
    return value, answer


def _each_once(members: list[tuple[str, Any]]) -> None:
    """Raises Unverifiable if a name stands twice in an object: of two values, each reader chooses one."""
    names = set[str]()
    for name, _ in members:
        if name in names:
            raise Unverifiable(f"the name {_shown(name)} stands twice in one object of the answer; ask for it again")
        names.add(name)


def _checkpoint(note: str, keys: Sequence[VerifierKey]) -> tuple[Checkpoint, list[VerifierKey]]:
    """The checkpoint that a note says, and who of these has signed it: a key has the name of its log."""
    try:
        read = Note.read(note.encode())
        found = Checkpoint.read(read.text)
    except NoteError as error:
        raise Unverifiable(f"the checkpoint in the answer cannot be read: {error}") from None
    own = [key for key in keys if key.name == found.origin]
    if not own:
        names = ", ".join(sorted({key.name for key in keys}))
        raise Unverifiable(f"the answer is of the log {found.origin}, and the key is that of {names}")
    try:
        return found, read.verified_by(own)
    except NoteError as error:
        raise Unverifiable(f"the checkpoint of {found.origin}: {error}") from None


def _unproven(proof: _Proof, checkpoint: Checkpoint) -> Iterator[Finding]:
    """The cited events whose bytes are not in the log at their position, and those that are cited again."""
    cited = set[int]()
    for number, each in enumerate(proof.events):
        if each.position in cited:
            yield Finding("events", f"/proof/events/{number}", f"position {each.position}", "it is cited twice")
        cited.add(each.position)
        try:
            _prove(each, proof.checkpoint, checkpoint)
        except (ProofError, NoteError, Undecodable) as error:
            yield Finding("events", f"/proof/events/{number}", f"position {each.position}", str(error))


def _prove(cited: ProvenEvent, note: str, checkpoint: Checkpoint) -> None:
    """Raises ProofError, NoteError and Undecodable."""
    proof, entry = Proof.read(cited.proof.encode()), cited.entry.encode()
    if proof.checkpoint != note:
        raise ProofError("its proof is for another checkpoint than that of the answer")
    if proof.leaf != cited.position - 1:
        raise ProofError(f"its proof is for position {proof.leaf + 1}")
    verify_inclusion(leaf_hash(entry), proof.leaf, checkpoint.size, proof.path, checkpoint.root)
    said = decode_recorded(entry).position
    if said != cited.position:
        raise ProofError(f"its bytes say that they are position {said}")


def _misplaced(events: Sequence[ProvenEvent], position: int) -> Iterator[Finding]:
    """What keeps the cited events from being those of an answer at a position."""
    if all(each.position != position for each in events):
        text = "the event at this position is not cited, so that nobody knows what time it was"
        yield Finding("position", "/as_of/position", f"position {position}", text)
    for number, each in enumerate(events):
        if each.position > position:
            text = f"it lies behind the position of the answer, which is {position}"
            yield Finding("position", f"/proof/events/{number}", f"position {each.position}", text)


def _gaps(events: Sequence[ProvenEvent], requirement: str) -> Iterator[Finding]:
    """Where the versions of a stream that is cited whole leave one out: that of the requirement, and of each decision
    of which anything is cited. What took an event back stands in the stream of that event."""
    streams: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for number, each in enumerate(events):
        recorded = decode_recorded(each.entry.encode())
        if recorded.subject == f"requirement/{requirement}" or recorded.subject.startswith("decision/"):
            streams[recorded.subject].append((recorded.version, each.position, number))
    for subject, cited in streams.items():
        before = 0
        for version, position, number in sorted(cited):
            if version != before + 1:
                text = f"it is version {version} of {subject}, and cited before it is {before or 'none'}"
                yield Finding("streams", f"/proof/events/{number}", f"position {position}", text)
            before = version


def _differences(value: Mapping[str, Any], answer: _Answer) -> Iterator[Finding]:
    """Where the answer is not what the cited events come to."""
    assert not isinstance(answer.proof, UnsetType)
    try:
        follows = _made_anew(answer, answer.proof.events)
    except Exception as error:  # Whatever is missing shows where it is first missed.
        text = f"from the cited events no answer follows; some may be missing ({type(error).__name__}: {error})"
        yield Finding("told", "", "the whole answer", text)
        return
    said = {name: each for name, each in value.items() if name != "proof"}
    for path, about, text in _compare(said, follows, (), "the answer"):
        spot = "".join(f"/{str(each).replace('~', '~0').replace('/', '~1')}" for each in path)
        yield Finding(_check_of(path), spot, about, text)


def _made_anew(answer: _Answer, events: Sequence[ProvenEvent]) -> Any:
    """The answer that the cited events come to, as JSON has it."""
    states = {each.position: each.entry.encode() for each in events}
    cited = [Stored(state, decode_recorded(state)) for _, state in sorted(states.items())]
    rows, position = Rows(cited), answer.as_of.position
    now = cited[-1].recorded.recordedtime
    judged = judge_requirement(evidence_of(rows, answer.requirement, position, now))
    page = judged.page(_passed_over(answer, judged))
    quotes, problem = _sealed_texts(answer, rows)
    told = tell_requirement(judged, page, shown_of(rows, judged, page, quotes, problem))
    return msgspec.json.decode(msgspec.json.encode(told))


def _passed_over(answer: _Answer, judged: Judged) -> int:
    """How many accounts the pages before this one have shown."""
    first = answer.who_asked[0].account if answer.who_asked else None
    places = (place for place, asker in enumerate(judged.heard.askers) if asker.account == first)
    return next(places, 0) // WHO_ASKED_MAX * WHO_ASKED_MAX


def _sealed_texts(answer: _Answer, rows: Rows) -> tuple[Mapping[int, str | None], str | UnsetType | None]:
    """What the answer says that sealed texts say, where there are any."""
    sealed = {row["position"] for row in rows.all("asks") if row["has_quote"]}
    quotes = {
        (ask.revised or ask).position: ask.quote
        for account in answer.who_asked
        for ask in account.asks
        if not isinstance(ask.quote, UnsetType)
    }
    stated = any(
        row["has_problem"] and row["requirement"] == answer.requirement for row in rows.standing("requirement_rows")
    )
    quotes = {position: quote for position, quote in quotes.items() if position in sealed}
    return quotes, answer.problem if stated else UNSET


def _sealed(answer: _Answer) -> tuple[int, int]:
    """How many sealed texts the answer shows, and how many as erased."""
    texts = [answer.problem, *(ask.quote for account in answer.who_asked for ask in account.asks)]
    return sum(isinstance(each, str) for each in texts), texts.count(None)


def _compare(said: Any, follows: Any, path: tuple[str | int, ...], about: str) -> Iterator[tuple[Any, str, str]]:
    """Where two JSON values differ: the path, what it is part of, and how."""
    if isinstance(said, dict) and isinstance(follows, dict):
        about = _named(follows) or about
        for name in [*follows, *(each for each in said if each not in follows)]:
            if name not in said:
                yield (*path, name), about, f"it is missing, and {_shown(follows[name])} follows"
            elif name not in follows:
                yield (*path, name), about, f"says {_shown(said[name])}, and nothing like it follows"
            else:
                yield from _compare(said[name], follows[name], (*path, name), about)
    elif isinstance(said, list) and isinstance(follows, list):
        for number, (one, other) in enumerate(zip(said, follows, strict=False)):
            yield from _compare(one, other, (*path, number), about)
        for number, one in enumerate(said[len(follows) :], len(follows)):
            yield (*path, number), about, f"says {_shown(one)}, and nothing like it follows"
        for number, other in enumerate(follows[len(said) :], len(said)):
            yield (*path, number), about, f"it is missing, and {_shown(other)} follows"
    elif said != follows or isinstance(said, bool) != isinstance(follows, bool):
        yield path, about, f"says {_shown(said)}, and {_shown(follows)} follows"


_NAMES = ("account", "decision", "position")
_SHOWN_CHARACTERS_MAX = 120


def _named(value: Mapping[str, Any]) -> str | None:
    """What an object is about."""
    return next((f"{name} {value[name]}" for name in _NAMES if isinstance(value.get(name), str | int)), None)


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN_CHARACTERS_MAX else f"{text[:_SHOWN_CHARACTERS_MAX]}…"


def _check_of(path: Sequence[str | int]) -> Check:
    """The check that a member of the answer belongs to."""
    match path:
        case ("who_asked" | "who_asked_total", *_):
            return "asked"
        case ("how_on_target", "fits", *_):
            return "fits"
        case ("how_on_target", "revisions", *_):
            return "revisions"
        case ("how_on_target", *_):
            return "sums"
        case ("who_decided", *_):
            return "decided"
        case _:
            return "told"
