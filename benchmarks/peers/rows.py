"""The rows that the ledger stores of a made-up company's log, in a file: what peers and limits write as well.

One JSON array a line, a value a column of `stored_events`, bytes in base64. So processes of any language read it.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks.company import SEED, company
from benchmarks.loading import stored_rows
from services.archive.lines import EventRow
from services.sealing import MasterKey


def write(path: Path, events: int, master: MasterKey, *, seed: int = SEED) -> None:
    """Write the rows of the company's log of so many events, if the file is not there. Takes a minute for 200,000."""
    if path.exists():
        return
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        for row, _ in stored_rows(company(events, seed=seed), master):
            file.write(msgspec.json.encode(row) + b"\n")
    new.rename(path)


def read(path: Path) -> Iterator[EventRow]:
    """The rows of a file that `write` has made."""
    decoder = msgspec.json.Decoder(EventRow)
    with path.open("rb") as file:
        for line in file:
            yield decoder.decode(line)
