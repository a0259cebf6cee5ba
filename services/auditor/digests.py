"""The checks of published digests of read models: who signed them, and whether the log comes to them. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct

from schemas.times import format_time
from services.auditor.findings import DigestsLookedAt, Finding
from services.auditor.read_models import Folded
from services.projector.projections import ALL
from services.projector.running_digest import RunningDigest
from services.proof.note import Note, NoteError, VerifierKey
from services.proof.published import PublishedDigest


class Beside(NamedTuple):
    """What stands beside the note of a digest in the database."""

    projection: str
    version: str
    position: int
    digest: str


class Kept(NamedTuple):
    """A digest as it was found. `beside`: None where nothing stands beside the note."""

    note: bytes
    beside: Beside | None


class Digests(Struct):
    """Digests that were published, as far as somebody known has signed them, and what was found on reading them."""

    published: Sequence[PublishedDigest]
    found: Sequence[Finding]


def read_digests(inside: Iterable[Kept], outside: Iterable[bytes], origin: str, keys: Sequence[VerifierKey]) -> Digests:
    """`outside`: notes that were kept elsewhere. What is kept there alone is a finding, but for the last of each read
    model: that one may be on its way inside."""
    found: list[Finding] = []
    places: dict[PublishedDigest, set[str]] = defaultdict(set)
    kept = [("inside", each) for each in inside] + [("outside", Kept(note, None)) for note in outside]
    for place, (note, beside) in kept:
        try:
            published = PublishedDigest.verified(note, origin, keys)
        except NoteError as error:
            at = _position(note) if beside is None else beside.position
            found.append(Finding("digests", at, f"a digest that was kept {place}: {error}"))
            continue
        places[published].add(place)
        meant = Beside(published.projection, published.version, published.position, published.digest)
        if beside is not None and beside != meant:
            text = f"the columns beside a digest say {_told(beside)}, its note {_told(meant)}"
            found.append(Finding("digests", beside.position, text))

    last: dict[tuple[str, str], int] = {}
    digests: dict[tuple[str, str, int], set[str]] = defaultdict(set)
    for each in places:
        of = each.projection, each.version
        last[of] = max(last.get(of, 0), each.position)
        digests[*of, each.position].add(each.digest)
    for (projection, _, position), some in digests.items():
        if len(some) > 1:
            found.append(Finding("digests", position, f"{projection}: {len(some)} different digests were published"))
    for each, where in places.items():
        if "inside" not in where and each.position < last[each.projection, each.version]:
            text = f"{each.projection}: a digest is kept outside the database, and not inside any more"
            found.append(Finding("digests", each.position, text))
    return Digests(sorted(places, key=lambda each: each.position), found)


class Replay:
    """Replays read models page by page, and compares published digests with what the log comes to on the way."""

    def __init__(self, published: Iterable[PublishedDigest]) -> None:
        """`published`: in the order of positions. Those of other versions of read models are left out."""
        every = [*published]
        versions = {projection.name: projection.version for projection in ALL}
        ours = [each for each in every if versions.get(each.projection) == each.version]
        self._due: dict[str, list[PublishedDigest]] = {}
        for each in reversed(ours):
            self._due.setdefault(each.projection, []).append(each)
        self._running = {each.name: RunningDigest(each.tables) for each in ALL if each.name in self._due}
        self._refused: dict[str, int] = {}
        self._looked_at = DigestsLookedAt(published=len(every), replayed=0, of_other_versions=len(every) - len(ours))

    @property
    def looked_at(self) -> DigestsLookedAt:
        return self._looked_at

    def page(self, folded: Folded, upto: int) -> Iterator[Finding]:
        """The next page, which ends with a position."""
        for refusing, position, _ in folded.refused:
            for name in self._due.keys() if refusing is None else (refusing,):
                self._refused.setdefault(name, position)
        for name, due in self._due.items():
            rows, begun = folded.rows[name], 0
            while due and due[-1].position <= upto:
                published = due.pop()
                end = begun
                while end < len(rows) and rows[end][0] <= published.position:
                    end += 1
                self._running[name].extend(rows[begun:end])
                begun = end
                yield from self._compare(published, folded.recorded.get(published.position))
            if due:
                self._running[name].extend(rows[begun:])

    def end(self, head: int) -> Iterator[Finding]:
        """What is said of positions that the log does not have."""
        for name, due in self._due.items():
            for each in reversed(due):
                text = f"{name}: a digest was published of position {each.position}, and the log has {head} events"
                yield Finding("digests", each.position, text)

    def _compare(self, published: PublishedDigest, recorded: datetime | None) -> Iterator[Finding]:
        name, position = published.projection, published.position
        refused = self._refused.get(name)
        if refused is not None and refused <= position:
            yield Finding("digests", position, f"{name}: not replayed, since position {refused} cannot be applied")
            return
        self._looked_at.replayed += 1
        if (digest := self._running[name].hexdigest()) != published.digest:
            text = f"{name}: the digest {published.digest} was published, and the log comes to {digest}"
            yield Finding("digests", position, text)
        if recorded is None or format_time(recorded) != published.recordedtime:
            at = "not there" if recorded is None else f"of {format_time(recorded)}"
            text = f"{name}: the digest says that its position is of {published.recordedtime}, and it is {at}"
            yield Finding("digests", position, text)


def _position(note: bytes) -> int | None:
    try:
        return PublishedDigest.read(Note.read(note).text).position
    except NoteError:
        return None


def _told(beside: Beside) -> str:
    return " ".join(map(str, beside))
