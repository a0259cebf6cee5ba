"""A YAML document as plain values, with the line on which each of them stands.

YAML 1.2's reading of plain words: `no` and `2026-11-21` are texts. The keys of an object are texts, as written.
"""

import re
from pathlib import Path
from typing import Any

import msgspec
import yaml

DOCUMENT_BYTES_MAX = 8 * 1024 * 1024

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


def read(path: Path) -> Document:
    """Read a YAML file. Raises DocumentError."""
    try:
        if path.stat().st_size > DOCUMENT_BYTES_MAX:
            raise DocumentError(f"{path} has more than {DOCUMENT_BYTES_MAX} bytes; rows belong into CSV or NDJSON")
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
    lines: dict[Spot, int] = {}
    value = None if node is None else _value(node, (), path, lines, ())
    return Document(path=path, value=value, lines=lines)


def _value(node: yaml.Node, spot: Spot, path: Path, lines: dict[Spot, int], inside: tuple[yaml.Node, ...]) -> Any:
    lines[spot] = node.start_mark.line + 1
    if node in inside:
        raise DocumentError(f"{path}:{lines[spot]}: an alias that holds itself")
    inside = (*inside, node)
    match node:
        case yaml.ScalarNode():
            return _scalar(node)
        case yaml.SequenceNode():
            return [_value(item, (*spot, index), path, lines, inside) for index, item in enumerate(node.value)]
        case yaml.MappingNode():
            members: dict[str, Any] = {}
            for key, item in node.value:
                line = key.start_mark.line + 1
                if not isinstance(key, yaml.ScalarNode):
                    raise DocumentError(f"{path}:{line}: the key of an object is a text")
                if key.value in members:
                    raise DocumentError(f"{path}:{line}: `{key.value}` is there twice")
                members[key.value] = _value(item, (*spot, key.value), path, lines, inside)
                # What stands under a key begins where the key is, not where its value happens to start.
                lines[(*spot, key.value)] = line
            return members
        case _:
            raise DocumentError(f"{path}:{lines[spot]}: {node.tag} is not understood here")


def _scalar(node: yaml.ScalarNode) -> Any:
    text: str = node.value
    if node.style is not None:  # It stands in quotes, or is a block of text.
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
