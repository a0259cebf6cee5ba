"""Texts that others wrote as parts of a markdown document (CommonMark with front matter), where they are text and
nothing else: no heading, list, link, HTML or front matter of theirs changes the document. Pure."""

import json
import re
from collections.abc import Iterable

# What YAML refuses, and no text needs.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufffe\uffff]")
_PARAGRAPHS = re.compile(r"(?:\r\n|[\n\r\x85\u2028\u2029])[^\S\n\r]*(?:\r\n|[\n\r\x85\u2028\u2029])\s*")
_SPECIAL = re.compile(r"[\\`*_{}\[\]<>#|~$]")
_ENTITY = re.compile(r"&(?=#?\w)")
_LIST_NUMBER = re.compile(r"^([0-9]{1,9})([.)])(?=\s|$)")
_LINE_MARK = re.compile(r"^([-+=:!^])")


def inline(text: str) -> str:
    """A text in one line, as it reads: in a paragraph, in a list or as a heading."""
    line = _ENTITY.sub(r"\\&", _SPECIAL.sub(r"\\\g<0>", _line(text)))
    return _LINE_MARK.sub(r"\\\1", _LIST_NUMBER.sub(r"\1\\\2", line))


def block(text: str) -> str:
    """A text with its paragraphs."""
    return "\n\n".join(found for part in _PARAGRAPHS.split(text.strip()) if (found := inline(part)))


def heading(level: int, text: str) -> str:
    return f"{'#' * level} {inline(text)}"


def items(texts: Iterable[str]) -> str:
    """A list of lines that are markdown already."""
    return "\n".join(f"* {text}" for text in texts)


def front_matter(members: Iterable[tuple[str, str]]) -> str:
    """YAML of texts and dates, each on one line. A date stays one; all else is a quoted text."""
    lines = (f"{name}: {value if _DAY.match(value) else _quoted(value)}" for name, value in members)
    return "\n".join(["---", *lines, "---"])


_DAY = re.compile(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")


def _quoted(text: str) -> str:
    # What JSON escapes in a text without control characters, YAML escapes in the same way.
    return json.dumps(_line(text), ensure_ascii=False)


def _line(text: str) -> str:
    # What is taken for white space here includes every line break that a reader may know.
    return " ".join(_UNPRINTABLE.sub("\ufffd", text).split())


def document(parts: Iterable[str]) -> str:
    """Parts with an empty line between each two; empty ones are left out."""
    return "\n\n".join(part for part in parts if part) + "\n"
