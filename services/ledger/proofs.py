"""What outsiders check the log by, over HTTP: checkpoints and their timestamps, tiles, entries, proofs and
verifier keys.

Formats are those of C2SP: tlog-checkpoint, tlog-tiles, tlog-proof and signed-note. What a path names never changes, but
for the checkpoint and the keys; caches of one's own may keep it for ever.
"""

from aiohttp import web

from services.ledger.ledgers import Ledgers
from services.postgres import Unavailable
from services.problems import Problem
from services.proof.inclusion import Proof
from services.proof.merkle import inclusion
from services.proof.tiles import Tile, is_in, read_path
from services.signing import SigningKeyError
from services.tree import Kept, Timestamped
from services.web import RETRY_AFTER_SECONDS, Answer, Call, Route

TEXT = "text/plain"
OCTETS = "application/octet-stream"
TIMESTAMP = "application/timestamp-reply"

_FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable", "Vary": "Authorization"}
_FOR_NOW = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}
_LATER = {"Retry-After": str(RETRY_AFTER_SECONDS)}


def routes(ledgers: Ledgers) -> list[Route]:
    """The routes of proofs. They need the scope `query` or `audit`."""

    async def get_checkpoint(call: Call) -> web.Response:
        ledger = await ledgers.open(call.ledger)
        kept = await ledger.tree.last_checkpoint(ledgers.reading)
        if kept is None:
            raise Problem("not-found", "no checkpoint has been signed yet: nothing is recorded", headers=_LATER)
        return _text(kept.note, _FOR_NOW)

    async def get_checkpoint_of(call: Call) -> web.Response:
        ledger = await ledgers.open(call.ledger)
        size = _number(call, "size")
        kept = await ledger.tree.checkpoint(ledgers.reading, size)
        if kept is None:
            raise Problem("not-found", f"no checkpoint of {size} events was signed")
        return _text(kept.note, _FOR_EVER)

    async def get_last_timestamp(call: Call) -> web.Response:
        ledger = await ledgers.open(call.ledger)
        kept = await ledger.tree.timestamp(ledgers.reading)
        if kept is None:
            raise Problem("not-found", "no checkpoint has been timestamped (LEDGER_TIMESTAMP_URL)", headers=_LATER)
        where = f"/v1/ledgers/{call.ledger}/checkpoints/{kept.size}/timestamp"
        return _timestamp(kept, {**_FOR_NOW, "Content-Location": where})

    async def get_timestamp(call: Call) -> web.Response:
        ledger = await ledgers.open(call.ledger)
        size = _number(call, "size")
        kept = await ledger.tree.timestamp(ledgers.reading, size)
        if kept is None:
            raise Problem("not-found", f"no checkpoint of {size} events was timestamped")
        return _timestamp(kept, _FOR_EVER)

    async def get_keys(call: Call) -> web.Response:
        ledger = await ledgers.open(call.ledger)
        known = await ledger.tree.verifier_keys(ledgers.reading)
        if not known:  # Nothing is recorded yet: those that will sign.
            known = await _signing(ledgers, ledger.registered.origin)
        known += await ledger.tree.digest_keys(ledgers.reading, ledger.registered.origin)
        return _text("".join(f"{key}\n" for key in known), _FOR_NOW)

    async def get_tile(call: Call) -> web.Response:
        ledger = await ledgers.open(call.ledger)
        path = call.request.match_info["tile"]
        tile = read_path(path)
        if tile is None:
            raise Problem("not-found", f"no tile has the path {path[:100]!r}; see c2sp.org/tlog-tiles")
        kept = await ledger.tree.last_checkpoint(ledgers.reading)
        if kept is None or not is_in(tile, kept.size):
            raise _not_yet(f"the tile {path} has leaves", tile, kept)
        octets = await ledger.tree.tile(ledgers.reading, tile)
        return web.Response(body=octets, content_type=OCTETS, headers=_FOR_EVER)

    async def get_proof(call: Call) -> web.Response:
        ledger = await ledgers.open(call.ledger)
        position = _number(call, "position")
        kept = await ledger.tree.last_checkpoint(ledgers.reading)
        if kept is None or position > kept.size:
            size = 0 if kept is None else kept.size
            raise Problem(
                "not-found", f"position {position} is beyond the last checkpoint, which has {size}", headers=_LATER
            )
        path = await ledger.tree.hashes(ledgers.reading, inclusion(position - 1, kept.size), kept.size)
        return _text(str(Proof(position - 1, path, kept.note)), _FOR_NOW)

    ledger = "/v1/ledgers/{ledger}"
    return [
        Route(
            method="GET", path=f"{ledger}/checkpoint", handler=get_checkpoint, scope=("query", "audit"),
            summary="The latest checkpoint: origin, size and root hash of the log, signed (C2SP tlog-checkpoint).",
            answers={200: Answer("the signed note", {TEXT: None})}, refusals=("no-such-ledger", "not-found"),
        ),
        Route(
            method="GET", path=f"{ledger}/checkpoint/timestamp", handler=get_last_timestamp, scope=("query", "audit"),
            summary="The latest timestamp of a checkpoint, as an authority answered (RFC 3161). Content-Location has"
            " the size of that checkpoint.",
            answers={200: Answer("the response of the authority", {TIMESTAMP: None}, headers=("Content-Location",))},
            refusals=("no-such-ledger", "not-found"),
        ),
        Route(
            method="GET", path=f"{ledger}/checkpoints/{{size}}", handler=get_checkpoint_of, scope=("query", "audit"),
            summary="The checkpoint of a size, if one was signed then.",
            answers={200: Answer("the signed note", {TEXT: None})}, refusals=("no-such-ledger", "not-found"),
        ),
        Route(
            method="GET", path=f"{ledger}/checkpoints/{{size}}/timestamp", handler=get_timestamp,
            scope=("query", "audit"),
            summary="The timestamp of the checkpoint of a size (RFC 3161), if it has one.",
            answers={200: Answer("the response of the authority", {TIMESTAMP: None})},
            refusals=("no-such-ledger", "not-found"),
        ),
        Route(
            method="GET", path=f"{ledger}/key", handler=get_keys, scope=("query", "audit"),
            summary="The verifier keys that have signed checkpoints of this log, and after them those that have signed"
            " digests of its read models, a line each (C2SP signed-note).",
            answers={200: Answer("the keys", {TEXT: None})}, refusals=("no-such-ledger",),
        ),
        Route(
            method="GET", path=f"{ledger}/tile/{{tile:.+}}", handler=get_tile, scope=("query", "audit"),
            summary="Hashes of the tree, or entries, by their path (C2SP tlog-tiles).",
            answers={200: Answer("the tile", {OCTETS: None})}, refusals=("no-such-ledger", "not-found"),
        ),
        Route(
            method="GET", path=f"{ledger}/events/{{position}}/proof", handler=get_proof, scope=("query", "audit"),
            summary="That an event is in the log of the latest checkpoint, to be checked without us (C2SP tlog-proof).",
            answers={200: Answer("the proof", {TEXT: None})}, refusals=("no-such-ledger", "not-found"),
        ),
    ]  # fmt: skip


def _not_yet(what: str, tile: Tile, kept: Kept | None) -> Problem:
    size = 0 if kept is None else kept.size
    return Problem("not-found", f"{what} up to {tile.end}, and the last checkpoint has {size}", headers=_LATER)


async def _signing(ledgers: Ledgers, origin: str) -> list[str]:
    """The keys that will sign. Raises Unavailable if who has them does not answer."""
    try:
        return [str(key) for key in await ledgers.signing.verifier_keys(origin)]
    except SigningKeyError as error:
        raise Unavailable(str(error)) from None


def _number(call: Call, name: str) -> int:
    """A whole number from 1 on, of the path."""
    text = call.request.match_info[name]
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
    if number < 1:
        raise Problem("not-found", f"a {name} is a whole number from 1 on, not {text[:40]!r}")
    return number


def _timestamp(kept: Timestamped, headers: dict[str, str]) -> web.Response:
    return web.Response(body=kept.response, content_type=TIMESTAMP, headers=headers)


def _text(text: str, headers: dict[str, str]) -> web.Response:
    return web.Response(text=text, content_type=TEXT, charset="utf-8", headers=headers)
