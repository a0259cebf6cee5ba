"""An audit from its beginning to its report, whatever it reads from."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from cryptography.x509 import Certificate
from msgspec import Struct

from schemas.times import format_time
from services.auditor.checkpoints import KeptCheckpoint, origin_of, read_checkpoints
from services.auditor.digests import Kept, Replay, read_digests
from services.auditor.findings import Check, Finding, KeysTried, Progress, Report
from services.auditor.imports import Import, check_imports
from services.auditor.log import Stored, Walk
from services.auditor.outside import Outside, Stamped, check_both, check_timestamps, read_past, told
from services.proof.checkpoint import Checkpoint
from services.proof.note import NoteError, VerifierKey, read_keys
from services.proof.published import digests_origin

FINDINGS_MAX = 1_000


class BadInput(Exception):
    """What the audit was given cannot be used; the text says why. Nothing was audited."""


class Source(Protocol):
    """What is audited: where it is read from, and what can be read there."""

    ledger: str
    origin: str | None
    """As it is known beforehand; None: the latest checkpoint tells."""
    told: str
    """What is read, without a password."""
    is_database: bool
    """Whether it shows what stands beside the stored bytes, the tiles that are kept, and read models."""
    reached: Mapping[str, int]
    """How far each read model has got, once the audit has looked at them."""
    keys_tried: KeysTried | None
    """The keys of sealed texts, once the audit has tried them; None: it does not."""

    async def head(self) -> int:
        """How many events there are to audit."""

    async def checkpoints(self) -> list[KeptCheckpoint]:
        """Those that were kept, the latest last."""

    async def verifier_keys(self) -> list[str]:
        """What is kept as the keys that have signed."""

    async def digests(self) -> list[Kept] | None:
        """Digests of read models that were published; None where they cannot be read."""

    async def digest_keys(self) -> list[str]:
        """What is kept as the keys that have signed digests."""

    async def timestamps(self) -> list[Stamped]:
        """Those that can be read there."""

    async def imports(self) -> list[Import]:
        """What the log says of having been imported."""

    def pages(self, *, hashes_only: bool) -> AsyncIterator[Sequence[Stored]]:
        """The log in order."""

    def audit(
        self, walk: Walk, *, read_models: bool, replay: Replay | None, progress: Progress
    ) -> AsyncIterator[Finding]: ...


class Asked(Struct, frozen=True, kw_only=True):
    """What an audit is asked for.

    `by`: who audits. `keys`: those that the auditor trusts; without any, those that the source names. `since`: a
    checkpoint that the auditor kept. `read_models`: replay them, and what was published of them, too. `hashes_only`:
    leave out what events say. `tsa`: certificates of authorities that the auditor trusts, below which timestamps have
    to be signed.
    """

    by: str
    keys: Sequence[VerifierKey] = ()
    since: bytes | None = None
    read_models: bool = True
    hashes_only: bool = False
    tsa: Sequence[Certificate] | None = None


async def audit(
    source: Source, asked: Asked, outside: Outside | None = None, progress: Progress = lambda position, head: None
) -> Report:
    """`outside`: what was kept elsewhere; None: nobody looked. Raises BadInput, and what the source raises."""
    begun, clock = datetime.now(UTC), time.monotonic()
    elsewhere = Outside() if outside is None else outside
    since, read_models = asked.since, asked.read_models and source.is_database and not asked.hashes_only
    replays = asked.read_models and not asked.hashes_only
    kept_inside = await source.checkpoints()
    latest = kept_inside[-1].note if kept_inside else None
    origin = source.origin or (None if latest is None else origin_of(latest))
    name = digests_origin(origin or "")  # What signs digests is the projector's, and does not count under a checkpoint.
    named, amiss_in_named = read_keys(await source.verifier_keys())
    named_of_digests, amiss_in_those = read_keys(await source.digest_keys())
    # Whoever names a key trusts no other under a checkpoint; of digests those of the ledger count unless one is named.
    known = [key for key in asked.keys or named if key.name != name]
    of_digests = [key for key in asked.keys if key.name == name] or named_of_digests
    past = read_past(elsewhere.ended, origin or "", known)
    amiss_in_keys = dict.fromkeys([*amiss_in_named, *amiss_in_those])  # Over HTTP both are in one list.
    found = [*past.found, *(Finding("signatures", None, f"a key that is kept: {each}") for each in amiss_in_keys)]
    checkpoints = read_checkpoints(kept_inside, [*elsewhere.checkpoints, *past.current], origin or "", known)
    found += checkpoints.found
    roots = checkpoints.roots
    if since is not None:
        try:
            earlier = Checkpoint.verified(since, origin or "", known)
        except NoteError as error:
            raise BadInput(f"the checkpoint that was kept earlier cannot be used: {error}") from None
        roots.setdefault(earlier.size, set()).add(earlier.root)
        if earlier.size > (head := await source.head()):
            text = f"the checkpoint that was kept earlier has {earlier.size} events, and the log has {head}"
            raise BadInput(f"{text}: either it was cut off since, or this is an older copy of it")
    stamped = await source.timestamps()
    timestamps, amiss = check_timestamps([*stamped, *elsewhere.timestamps], asked.tsa)
    found += amiss
    imports = await source.imports()
    if outside is not None:
        imported = max((each.size for each in imports), default=0)
        found += check_both(checkpoints.inside, (each.size for each in stamped), outside, imported=imported)
    replay, looked_at = None, None
    if (kept := await source.digests()) is not None:
        digests = read_digests(kept, elsewhere.digests, origin or "", of_digests)
        found += digests.found
        replay = Replay(digests.published)
        looked_at = replay.looked_at
    following = replay if replays else None
    before = [checkpoint.size for _, said in past.said for checkpoint in said]
    walk = Walk(
        roots,
        hashes_only=asked.hashes_only,
        noted=[*before, *(each.size for each in imports)],
        once=not source.is_database,
    )
    async for each in source.audit(walk, read_models=read_models, replay=following, progress=progress):
        is_since = since is not None and each.check == "roots" and each.position == earlier.size
        found.append(Finding("since", each.position, each.text) if is_since else each)
    found += check_imports(imports, walk.noted, walk.edge.size)
    return Report(
        ledger=source.ledger,
        origin=origin,
        source=source.told,
        by=asked.by,
        begun=format_time(begun),
        seconds=round(time.monotonic() - clock, 3),
        events=walk.edge.size,
        checkpoint=latest,
        checkpoints=sum(map(len, roots.values())) + len(before),
        checkpoints_inside=len(kept_inside),
        checkpoints_outside=None if outside is None else len(outside.sizes),
        imported=[each.told for each in imports],
        sealing_keys=source.keys_tried,
        read_models=dict(source.reached),
        digests=looked_at,
        since=None if since is None else since.decode(),
        timestamps=timestamps,
        accepted=told(past, walk.noted),
        checked=[
            *_checked(asked.hashes_only, source.is_database, read_models, since is not None, kept is not None),
            *(("imports",) if imports else ()),
            *(("timestamps",) if timestamps else ()),
            *(("accepted",) if elsewhere.ended else ()),
            *(("outside",) if outside is not None else ()),
        ],
        found=sorted(found, key=lambda each: (each.position or 0, each.check))[:FINDINGS_MAX],
        more=max(0, len(found) - FINDINGS_MAX),
    )


def _checked(hashes_only: bool, beside: bool, read_models: bool, since: bool, digests: bool) -> list[Check]:
    checks: dict[Check, bool] = {
        "positions": True,
        "bytes": not hashes_only,
        "ids": not hashes_only,
        "versions": not hashes_only,
        "columns": beside and not hashes_only,
        "times": not hashes_only,
        "leaves": beside,
        "tiles": beside,
        "roots": True,
        "signatures": True,
        "since": since,
        "keys": beside and not hashes_only,
        "access log": beside and not hashes_only,
        "read models": read_models,
        "digests": digests,
    }
    return [check for check, is_made in checks.items() if is_made]
