"""Merges, of accounts and of requirements: into one that stands by itself. So they never make a circle."""

from collections.abc import Iterator

from services.ledger.rules.objection import Objection


def against_merging(
    kind: str, name: str, into: str, *, merged: str | None, into_merged: str | None
) -> Iterator[Objection]:
    """What speaks against merging `name`, which `merged` has taken in, into one that `into_merged` has taken in."""
    if name == into:
        yield Objection("/data/into", f"the {kind} {name} is not merged into itself")
        return
    if merged is not None:
        yield Objection(
            f"/data/{kind}", f"the {kind} {name} was merged into {merged}; unmerge it first", retryable=True
        )
    if into_merged == name:
        yield Objection("/data/into", f"{into} was merged into {name}: that would be a circle", retryable=True)
    elif into_merged is not None:
        yield Objection(
            "/data/into",
            f"the {kind} {into} was merged into {into_merged}; merge into the one in which its merges end",
            retryable=True,
        )


def against_unmerging(kind: str, name: str, merged: str | None) -> Iterator[Objection]:
    """What speaks against taking `name` out of `merged`."""
    if merged is None:
        yield Objection(f"/data/{kind}", f"the {kind} {name} is not merged into another", retryable=True)
