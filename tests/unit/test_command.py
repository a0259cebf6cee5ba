"""What `ledger` says of itself: every command in a whole sentence, with examples."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from services.command import commands

ROOT = Path(__file__).parents[2]


def all_commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    yield path
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
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


def test_help_imports_none_of_the_commands():
    """Most of the time of `ledger --help` would go into imports of what it does not run."""
    program = (
        "import sys; from services.command import commands; commands(['--help'], standalone_mode=False);"
        "print(*(name for name in sys.modules if name.startswith(('services.', 'aiohttp', 'asyncpg', 'structlog'))))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "services.command"
    assert "Start PostgreSQL and the services" in done.stdout
