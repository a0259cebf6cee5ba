"""What `ledger` says of itself: every command in a whole sentence, with examples."""

import json
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


@pytest.mark.parametrize(
    ("option", "settings"),
    [
        ("--port", "LEDGER_PORT, PROJECTOR_PORT, RECEIVER_PORT; as in `LEDGER_PORT=… ledger run`."),
        ("--log-level", "LEDGER_LOG_LEVEL; as in `LEDGER_LOG_LEVEL=… ledger run`."),
    ],
)
def test_who_looks_for_a_setting_among_the_options_is_told_its_variable(option: str, settings: str):
    result = CliRunner().invoke(commands, ["run", option, "1"], prog_name="ledger")
    assert result.exit_code == 2
    assert f"No such option '{option}'. Settings are environment variables: {settings}" in result.stderr


def test_an_option_that_is_no_setting_either_is_refused_as_ever():
    result = CliRunner().invoke(commands, ["run", "--portal"], prog_name="ledger")
    assert result.stderr.endswith("Error: No such option '--portal'.\n")


@pytest.mark.parametrize(("typed", "meant"), [("audti", " Did you mean 'audit'?"), ("xyzzy", "")])
def test_who_misspells_a_command_is_told_which_is_like_it(typed: str, meant: str):
    result = CliRunner().invoke(commands, [typed], prog_name="ledger")
    assert result.exit_code == 2
    assert result.stderr.endswith(f"Error: No such command '{typed}'.{meant}\n")


def run_misspelt(module: str, *arguments: str, **environ: str) -> list[str]:
    """What is said on stderr where a setting is misspelt and no database is there."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={"LEDGER_PROCESES": "2", **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stdout == ""
    return done.stderr.splitlines()


@pytest.mark.parametrize("arguments", [["projections"], ["audit", "--ledger", "acme"]], ids=" ".join)
def test_a_setting_that_is_misspelt_is_told_once_and_stops_nothing(tmp_path: Path, arguments: list[str]):
    warning, ended = run_misspelt("services.command", *arguments, LEDGER_HOME=str(tmp_path))
    assert warning == "LEDGER_PROCESES is not read; set LEDGER_PROCESSES, if that is meant"
    assert "No database: " in ended


def test_a_service_logs_a_setting_that_is_misspelt_unless_ledger_run_has_told_of_it(tmp_path: Path):
    warning, *ended = run_misspelt("services.ledger", LEDGER_HOME=str(tmp_path))
    told = json.loads(warning)
    assert told.items() >= {"level": "warning", "variable": "LEDGER_PROCESES", "nearest": "LEDGER_PROCESSES"}.items()
    assert run_misspelt("services.ledger", LEDGER_HOME=str(tmp_path), LEDGER_SUPERVISED="1") == ended
