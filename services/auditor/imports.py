"""What a log says of having been imported, as an audit looks at it: it explains why keys of sealed texts are not there,
and so nobody may add it later. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from schemas.times import format_time
from services.auditor.findings import Finding, Imported


class Import(NamedTuple):
    """A row of `imports`. `recorded_at`: when its last event was recorded, None if the log has none there.
    `first_checkpoint`: when the first checkpoint was kept inside, None if none was."""

    at: datetime
    origin: str
    size: int
    root: bytes
    with_keys: bool
    keyless: Sequence[int]
    recorded_at: datetime | None
    first_checkpoint: datetime | None

    @property
    def told(self) -> Imported:
        return Imported(
            at=format_time(self.at),
            origin=self.origin,
            events=self.size,
            with_keys=self.with_keys,
            keyless=len(self.keyless),
        )


def check_imports(imports: Sequence[Import], roots: Mapping[int, bytes], head: int) -> Iterator[Finding]:
    """`roots`: size → the root of so many events of this log."""
    if len(imports) > 1:
        yield Finding("imports", None, f"{len(imports)} imports are on record, and a log is imported once, when empty")
    for each in imports:
        at = f"the import of {format_time(each.at)}"
        if each.size > head:
            yield Finding("imports", each.size, f"{at} had {each.size} events, and the log has {head}")
        elif roots.get(each.size) != each.root:
            text = f"the first {each.size} events have another root than {at} says"
            yield Finding("imports", each.size, text)
        if each.recorded_at is not None and each.recorded_at > each.at:
            text = f"recorded at {format_time(each.recorded_at)}, and {at} is said to have brought it"
            yield Finding("imports", each.size, text)
        if each.first_checkpoint is not None and each.first_checkpoint < each.at:
            text = f"{at} is said to be what the log began with, and it had a checkpoint before"
            yield Finding("imports", each.size, f"{text}, on {format_time(each.first_checkpoint)}")
