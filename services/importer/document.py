"""A YAML document as plain values, with the line on which each of them stands.

YAML 1.2's reading of plain words: `no` and `2026-11-21` are texts. The keys of an object are texts, as written.
"""

import re
from pathlib import Path
from typing import Any

import msgspec
import yaml

DOCUMENT_BYTES_MAX = 8 * 1024 * 1024
REPEATED_MAX = 10_000  # Values that stand in a document by aliases, beside those that are written in it.
NUMBER_CHARS_MAX = 400

Step = str | int
Spot = tuple[Step, ...]
"""Where a value is: the keys and indexes that lead to it from the top."""

_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "true": True, "false": False}


class DocumentError(Exception):
    """A file cannot be read as YAML; the text names the file and the line."""


class Document(msgspec.Struct, frozen=True):
    """`lines` gives the line of each spot, counted from 1."""

    path: Path
    value: Any
    lines: dict[Spot, int]

    def line(self, spot: Spot) -> int:
        """The line of a spot, or of the nearest one around it."""
        while spot not in self.lines and spot:
            spot = spot[:-1]
        return self.lines.get(spot, 1)


def read(path: Path, *, bytes_max: int = DOCUMENT_BYTES_MAX) -> Document:
    """Read a YAML file. Raises DocumentError."""
    try:
        if path.stat().st_size > bytes_max:
            raise DocumentError(f"{path} has more than {bytes_max} bytes; rows belong into CSV or NDJSON")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DocumentError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DocumentError(f"{path} is not UTF-8 at byte {error.start}") from error
    return parse(text, path)


def parse(text: str, path: Path) -> Document:
    """The document that a text is; `path` is for messages. Raises DocumentError."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise DocumentError(f"{where}: not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise DocumentError(f"{path}: not YAML: {error}") from error
    except RecursionError:
        raise DocumentError(f"{path}: nested too deeply") from None
    values = _Values(path)
    value = None if node is None else values.of(node, (), ())
    return Document(path=path, value=value, lines=values.lines)


class _Values:
    """The values of one document, made of its nodes, and the line of each spot."""

    def __init__(self, path: Path) -> None:
        self.lines: dict[Spot, int] = {}
        self._path = path
        self._seen: set[int] = set()
        self._repeated = 0

    def of(self, node: yaml.Node, spot: Spot, inside: tuple[yaml.Node, ...]) -> Any:
        """The value of a node that stands at a spot, `inside` these. Raises DocumentError."""
        line = self.lines[spot] = node.start_mark.line + 1
        if node in inside:
            raise DocumentError(f"{self._path}:{line}: an alias that holds itself")
        self._count(node, line)
        inside = (*inside, node)
        match node:
            case yaml.ScalarNode():
                try:
                    return _scalar(node)
                except ValueError as error:
                    raise DocumentError(f"{self._path}:{line}: {error}") from None
            case yaml.SequenceNode():
                return [self.of(item, (*spot, index), inside) for index, item in enumerate(node.value)]
            case yaml.MappingNode():
                return self._members(node, spot, inside)
            case _:
                raise DocumentError(f"{self._path}:{line}: {node.tag} is not understood here")

    def _count(self, node: yaml.Node, line: int) -> None:
        # Aliases of aliases make a document of any size out of a few lines.
        self._repeated += id(node) in self._seen
        self._seen.add(id(node))
        if self._repeated > REPEATED_MAX:
            raise DocumentError(f"{self._path}:{line}: aliases repeat more than {REPEATED_MAX} values; write fewer")

    def _members(self, node: yaml.MappingNode, spot: Spot, inside: tuple[yaml.Node, ...]) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for key, item in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise DocumentError(f"{self._path}:{line}: the key of an object is a text")
            if key.value in members:
                raise DocumentError(f"{self._path}:{line}: `{key.value}` is there twice")
            members[key.value] = self.of(item, (*spot, key.value), inside)
            # What stands under a key begins where the key is, not where its value happens to start.
            self.lines[(*spot, key.value)] = line
        return members


def _scalar(node: yaml.ScalarNode) -> Any:
    """The value of a plain word or a text. Raises ValueError."""
    text: str = node.value
    if node.style is not None:  # It stands in quotes, or is a block of text.
        return text
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > NUMBER_CHARS_MAX and (_INTEGER.fullmatch(text) or _FLOAT.fullmatch(text)):
        raise ValueError(f"a number of {len(text)} digits; put it in quotes if it is a text")
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
