"""What `ledger` says of itself: every command in a whole sentence, with examples."""

from collections.abc import Iterator
from importlib.metadata import version

import click
import pytest
from click.testing import CliRunner

from services.command import commands


def all_commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    yield path
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from all_commands(command, *path, name)
        else:
            yield (*path, name)


def said(*arguments: str) -> str:
    result = CliRunner().invoke(commands, arguments, prog_name="ledger", terminal_width=80)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("path", [*all_commands(commands)], ids=" ".join)
def test_help_has_examples_and_no_sentence_that_breaks_off(path: tuple[str, ...]):
    text = said(*path, "--help")
    assert said(*path, "-h") == text
    assert "..." not in text.replace("[ARGS]...", "").replace("[FILES]...", "").replace("IDS...", "")
    assert "Examples:\n    ledger " in text


def test_the_version_is_that_of_the_package():
    assert said("--version") == f"ledger {version('requirements-ledger')}\n"
