"""The edition of a projection is raised when the same stored events come to make other rows.

A read model that was filled by an older version is built anew only if the projection's version has changed. A change
beneath the folds (in the codec, in upcasts, in what counts as valid) changes no file of theirs; it shows here.
"""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from schemas.codec import canonical, decode_recorded
from schemas.envelope import Recorded
from services.projector.projections import ALL, Projection
from services.projector.running_digest import plain

GOLDEN = Path(__file__).with_name("golden")
EDITIONS = Path(__file__).with_name("editions.json")


def stored(path: Path) -> Iterator[Recorded]:
    """A golden record, and the same from an emitter whose clock is ahead."""
    state = path.read_bytes().removesuffix(b"\n")
    ahead = state.replace(b'"time":"2026-11-20T10:00:00', b'"time":"2026-11-22T10:00:00')
    assert ahead != state
    yield decode_recorded(state)
    yield decode_recorded(ahead)


def rows_digests(projection: Projection) -> dict[str, str]:
    """What each golden record that the projection cares about comes to."""
    digests = {}
    for path in sorted(GOLDEN.glob("*.json")):
        lines = [
            canonical([table, *map(plain, values)]) + b"\n"
            for recorded in stored(path)
            if recorded.type in projection.topics
            for table, values in projection.fold(recorded)
        ]
        if lines:
            digests[path.stem] = sha256(b"".join(lines)).hexdigest()
    return digests


@pytest.mark.parametrize("projection", ALL, ids=lambda projection: projection.name)
def test_the_same_events_make_the_same_rows_within_an_edition(projection: Projection) -> None:
    known = json.loads(EDITIONS.read_text())[projection.name].get(str(projection.edition), {})
    found = rows_digests(projection)
    changed = {name: digest for name, digest in found.items() if known.get(name) != digest}
    assert not changed and known.keys() == found.keys(), (
        f"{EDITIONS.name} has other digests, or none, for {projection.name} in edition {projection.edition}: {changed}."
        " New records are added there. Where a record that is there makes other rows now, and that is meant, raise"
        f" `edition` in services/projector/projections/{projection.name}.py and add that edition; what is there stays"
    )
