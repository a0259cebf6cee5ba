"""Hooks: one YAML file each says where webhooks of one kind come from, how they are signed, and what events they make.

    ledger: main                            the ledger that its events go to
    signature: {scheme: github, secret_file: github.secret}
    source: /github                         as in every mapping, and so are time_zone, let and events
    optional: [issue.body]                  paths that a body may lack
    each: deals                             a list in the body, of each item of which events are made
    key_file: acts.key                      an API key of its own, which it needs for acts

A file is read again as soon as it, or its file of secrets, has changed. What is wrong with one hook says file, line
and spot, and holds up no other.
"""

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

from schemas.events import EVENT_TYPES, Act
from schemas.values import LedgerName, Source
from services.importer import document
from services.importer.document import Document, Spot
from services.importer.mapping import (
    EventRecipe,
    Expression,
    MappingError,
    Part,
    Zone,
    decode,
    event_objections,
    let_objections,
)
from services.receiver.bodies import HEADER, ITEM, ITSELF, WHOLE, Recipes, paths
from services.receiver.private_files import PrivateFileUnusable, lines_of
from services.receiver.signatures import Secretive, SecretUnusable, Signature, secret_of

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
HOOK_BYTES_MAX = 256 * 1024
SECRETS_MAX = 10

Schemes = {"standard-webhooks", "github", "hmac", "none"}


class HookMissing(Exception):
    """There is no hook of this name."""


class HookUnusable(Exception):
    """A hook, or a part of it, cannot be used; the text names file, line and spot, and says what to do."""


class Written(Part, frozen=True, kw_only=True):
    """A hook, as it is written."""

    ledger: LedgerName = "main"
    signature: Signature
    key_file: Annotated[str, Meta(min_length=1)] | None = None
    source: Source
    time_zone: Zone = Zone(ZoneInfo("UTC"))
    each: Annotated[str, Meta(min_length=1)] | None = None
    optional: tuple[Annotated[str, Meta(min_length=1)], ...] = ()
    let: Expression | None = None
    events: Annotated[list[EventRecipe], Meta(min_length=1)]

    @property
    def recipes(self) -> Recipes:
        return Recipes(
            source=self.source,
            zone=self.time_zone.zone,
            events=self.events,
            let=self.let,
            each=self.each,
            optional=self.optional,
        )


class Hook(Struct, frozen=True, kw_only=True):
    """A hook that can tell who posts. `written` is None where the rest of it cannot be used, and `amiss` says why: what
    comes meanwhile is kept."""

    name: str
    signature: Signature
    secrets: list[bytes]
    written: Written | None
    amiss: str = ""
    key_file: Path | None = None

    @property
    def usable(self) -> Written:
        """Raises HookUnusable."""
        if self.written is None:
            raise HookUnusable(self.amiss)
        return self.written


class Hooks:
    """The hooks of a directory. Threads may share it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._read: dict[str, tuple[object, Hook]] = {}

    def get(self, name: str) -> Hook:
        """Raises HookMissing, and HookUnusable where not even its signature can be checked."""
        path = self.directory / f"{name}.yaml"
        if not NAME.fullmatch(name) or not path.is_file():
            self._read.pop(name, None)
            raise HookMissing(name)
        # Several threads may ask at once: what one has forgotten, another has in hand.
        if (known := self._read.get(name)) is not None and known[0] == _state(path, known[1]):
            return known[1]
        self._read.pop(name, None)
        state = _state(path, load(path, shown=Path(f"{name}.yaml")))
        # Read after its state was: what changes in between is seen the next time.
        hook = load(path, shown=Path(f"{name}.yaml"))
        self._read[name] = (state, hook)
        return hook

    def names(self) -> list[str]:
        return sorted(path.stem for path in self.directory.glob("*.yaml") if NAME.fullmatch(path.stem))


def load(path: Path, *, shown: Path | None = None, needs_secret: bool = True) -> Hook:
    """Read a hook. `shown`: what messages call its file. Raises HookUnusable, where its signature cannot be checked."""
    try:
        found = document.read(path, bytes_max=HOOK_BYTES_MAX)
    except document.DocumentError as error:
        raise HookUnusable(str(error).replace(str(path), str(shown or path))) from error
    found = Document(path=shown or path, value=found.value, lines=found.lines)
    signature = _signature(found)
    secrets = _secrets(found, path, signature) if needs_secret else []
    written, amiss, key_file = None, "", None
    try:
        written = decode(found, (), Written, lambda each: _objections(each, found))
        key_file = None if written.key_file is None else path.parent / written.key_file
    except MappingError as error:
        amiss = str(error)
    return Hook(name=path.stem, signature=signature, secrets=secrets, written=written, amiss=amiss, key_file=key_file)


def _state(path: Path, hook: Hook) -> object:
    """What differs once the hook, or its file of secrets, has changed."""
    watched = [path]
    if isinstance(hook.signature, Secretive):
        watched.append(path.parent / hook.signature.secret_file)
    try:
        return [(each.st_mtime_ns, each.st_ctime_ns, each.st_size, each.st_ino) for each in map(Path.stat, watched)]
    except (OSError, ValueError):
        return None


def _signature(found: Document) -> Signature:
    if not isinstance(found.value, dict):
        raise HookUnusable(f"{found.path}: a hook is an object with `signature`, `source` and `events`")
    written = found.value.get("signature")
    if not isinstance(written, dict):
        raise HookUnusable(
            f"{found.path}:{found.line(('signature',))}: signature: expected an object: `scheme` ({_schemes()}) and "
            "`secret_file`"
        )
    if (scheme := written.get("scheme")) not in Schemes:
        near = difflib.get_close_matches(str(scheme), Schemes, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {_schemes()}"
        raise HookUnusable(
            f"{found.path}:{found.line(('signature', 'scheme'))}: signature.scheme: no such scheme: {scheme!r}; {hint}"
        )
    try:
        signature: Signature = decode(found, ("signature",), Signature, lambda _: iter(()))  # type: ignore[arg-type]
    except MappingError as error:
        raise HookUnusable(str(error)) from error
    return signature


def _schemes() -> str:
    return ", ".join(sorted(Schemes))


def _secrets(found: Document, path: Path, signature: Signature) -> list[bytes]:
    """The live secrets of a hook. Raises HookUnusable."""
    if not isinstance(signature, Secretive):
        return []
    where = f"{found.path}:{found.line(('signature', 'secret_file'))}: signature.secret_file: {signature.secret_file}"
    try:
        texts = lines_of(path.parent / signature.secret_file)
    except PrivateFileUnusable as error:
        raise HookUnusable(
            f"{where} {error}. The secret that the sender signs with stands there, for its owner only (chmod 600)"
        ) from error
    if len(texts) > SECRETS_MAX:
        raise HookUnusable(f"{where} has {len(texts)} secrets, and at most {SECRETS_MAX} may be live")
    secrets = []
    for number, text in enumerate(texts, 1):
        try:
            secrets.append(secret_of(text, signature))
        except SecretUnusable as error:
            # The secret itself is in no message.
            raise HookUnusable(f"{where}: secret {number}: {error}") from None
    return secrets


def _objections(written: Written, found: Document) -> Iterator[tuple[Spot, str]]:
    if written.each is not None and written.each != ITSELF and written.each.partition(".")[0] in (HEADER, ITEM, WHOLE):
        yield ("each",), f"a path into the body, or {ITSELF!r} for the body itself"
    taken = (HEADER, ITEM, WHOLE) if written.each is not None else (HEADER,)
    yield from let_objections(written.let, (), taken, "a part of the request")
    yield from event_objections([(("events", index), event) for index, event in enumerate(written.events)])
    for index, event in enumerate(written.events):
        if written.key_file is None and issubclass(EVENT_TYPES[event.type], Act):
            yield (
                ("events", index, "type"),
                f"{event.type} is an act, and the receiver's own key records observations only; name the `key_file` "
                "of an API key with the scope act",
            )
    read = {*paths(written.recipes)}
    for path in sorted(read):
        first, _, name = path.partition(".")
        if first == HEADER and (not name or name != name.lower()):
            yield (), f"{path!r}: a header is read as `header.` and its name in lower case"
    for index, path in enumerate(written.optional):
        if not any(each == path or each.startswith(f"{path}.") for each in read):
            near = difflib.get_close_matches(path, read, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            yield ("optional", index), f"nothing reads {path!r}{hint}"
