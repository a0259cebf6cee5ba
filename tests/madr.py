"""Reads the documents that briefs are written as, with CommonMark as markdown-it knows it.

A decision record has to be as the template of MADR 4.0 lays it out and as madrlint, the linter of MADR's makers, wants
it: one title, the mandatory sections, headings at their levels and in their order, no empty section, lists with
asterisks, the chosen option first in its section, and metadata that is YAML. And no text may have become anything but
text.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token
from msgspec import Struct

METADATA = {"status", "date", "decision-makers", "consulted", "informed"}
MANDATORY = ("Context and Problem Statement", "Considered Options", "Decision Outcome")
SECTIONS = (
    *("Context and Problem Statement", "Decision Drivers", "Considered Options", "Decision Outcome"),
    *("Pros and Cons of the Options", "More Information"),
)
OF_OUTCOME = ["Consequences", "Confirmation"]
STRUCTURE = {"heading_open", "heading_close", "paragraph_open", "paragraph_close", "inline"} | {
    *("bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close"),
}


class Section(Struct):
    """What stands under a heading, up to the next one."""

    title: str
    level: int
    paragraphs: list[str]
    items: list[str]

    @property
    def empty(self) -> bool:
        return not self.paragraphs and not self.items


class Record(Struct):
    metadata: dict[str, Any]
    title: str
    sections: list[Section]

    def section(self, title: str) -> Section:
        [found] = [each for each in self.sections if each.level == 2 and each.title == title]
        return found

    def under(self, title: str) -> list[Section]:
        """The sections of level 3 below one of level 2."""
        found, inside = [], False
        for each in self.sections:
            if each.level == 2:
                inside = each.title == title
            elif inside:
                found.append(each)
        return found

    def facts(self) -> dict[str, str]:
        return facts(self.section("More Information"))


def read_record(text: str) -> Record:
    """A decision record. Fails the test where it is none."""
    opening, front, body = text.split("---\n", 2)
    assert opening == ""
    metadata = yaml.safe_load(front)
    assert metadata.keys() <= METADATA
    assert isinstance(metadata["date"], date)
    assert all(isinstance(value, str) for name, value in metadata.items() if name != "date")
    title, sections = read_document(body)
    names = [each.title for each in sections if each.level == 2]
    assert names == [name for name in SECTIONS if name in names]
    assert set(MANDATORY) <= set(names)
    record = Record(metadata=metadata, title=title, sections=sections)
    for each, following in zip(sections, [*sections[1:], None], strict=True):
        assert not each.empty or (following is not None and following.level > each.level), f"{each.title} is empty"
    outcome = record.section("Decision Outcome")
    if metadata["status"] != "proposed":
        assert outcome.paragraphs[0].startswith('Chosen option: "')
        assert ", because " in outcome.paragraphs[0]
        assert [each.title for each in record.under("Decision Outcome")] == OF_OUTCOME
    return record


def read_document(text: str) -> tuple[str, list[Section]]:
    """The title of a document and its sections. Fails the test where a text has become more than text."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    assert {token.type for token in tokens} <= STRUCTURE, {token.type for token in tokens} - STRUCTURE
    sections: list[Section] = []
    kinds = [*_kinds(tokens)]
    for kind, level, content in kinds:
        if kind == "heading":
            sections.append(Section(title=content, level=level, paragraphs=[], items=[]))
        elif kind == "item":
            sections[-1].items.append(content)
        else:
            sections[-1].paragraphs.append(content)
    assert [each.level for each in sections].count(1) == 1
    assert sections[0].level == 1
    assert {each.level for each in sections} <= {1, 2, 3}
    return sections[0].title, sections


def facts(section: Section) -> dict[str, str]:
    """What documents of both voices tell, by name."""
    return dict(item.split(": ", 1) for item in section.items)


def _kinds(tokens: list[Token]) -> Iterator[tuple[str, int, str]]:
    """Heading, paragraph or item, the level of a heading, and its text."""
    opened: list[Token] = []
    for token in tokens:
        if token.type == "inline":
            inner = token.children or []
            assert {each.type for each in inner} <= {"text"}, f"{token.content} is more than text"
            assert token.map is not None and token.map[1] == token.map[0] + 1, "one line each"
            text = "".join(each.content for each in inner)
            if opened[-1].type == "heading_open":
                assert opened[-1].markup == "#" * int(opened[-1].tag[1]), "headings begin with number signs"
                yield "heading", int(opened[-1].tag[1]), text
            elif any(each.type == "list_item_open" for each in opened):
                lists = [each for each in opened if each.type == "bullet_list_open"]
                assert [each.markup for each in lists] == ["*"], "lists have asterisks, and none inside"
                yield "item", 0, text
            else:
                yield "paragraph", 0, text
        elif token.nesting == 1:
            opened.append(token)
        elif token.nesting == -1:
            opened.pop()
