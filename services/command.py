"""The command line `ledger`: which commands there are. Each is imported when it is called.

To import all of them takes longer than most of them run.
"""

import os
import sys
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

# Each command: the module that has it, its name there, and what the list of commands says of it.
_COMMANDS = {
    "accept-history": (
        "services.operating",
        "accept_history_",
        "Say what happened to a log that does not go on from where it was.",
    ),
    "audit": ("services.auditor.command", "audit_", "Check a log, its tree and its read models; trust nobody."),
    "backup": ("services.operating", "backup", "Copy the embedded database while it runs."),
    "demo": ("services.operating", "demo", "Load a made-up company into a ledger that runs."),
    "dev": ("services.ephemeral", "dev", "Start an ephemeral ledger for local work."),
    "export": ("services.archive.command", "export_", "Write the log, or the read models, into files."),
    "hook": ("services.receiver.terminal", "hook_commands", "Webhooks: try them out, see to what is kept."),
    "import": ("services.operating", "import_", "Import CSV and NDJSON files by a mapping."),
    "import-log": (
        "services.archive.command",
        "import_log_",
        "Take an exported log into an empty ledger, all of it or nothing.",
    ),
    "migrate": ("services.operating", "migrate", "Bring the database up to date; make ledgers."),
    "projections": ("services.operating", "projections", "Show how far the read models have got, and their rebuilds."),
    "rebuild": ("services.operating", "rebuild", "Build a read model anew from the log."),
    "replay": (
        "services.archive.command",
        "replay_",
        "Build all read models from the log as of a position; compare with the live ones.",
    ),
    "restore": ("services.operating", "restore", "Put a backup into a new LEDGER_HOME."),
    "rotate-master-key": (
        "services.operating",
        "rotate_master_key_",
        "Bring a new master key into use, then end the old one.",
    ),
    "rotate-signing-key": (
        "services.operating",
        "rotate_signing_key",
        "Make a new key that signs checkpoints, beside the old one.",
    ),
    "run": ("services.running", "run", "Start PostgreSQL and the services; watch over them."),
    "scrub-keys": ("services.operating", "scrub_keys_", "Let destroyed keys leave the files of the database."),
    "verify": ("services.verifier.command", "verify_", "Check one answer, or one event, offline."),
}


class _Group(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and (like := get_close_matches(args[0], _COMMANDS, 1)):
            context.fail(f"No such command {args[0]!r}. Did you mean {like[0]!r}?")
        return super().resolve_command(context, args)

    def invoke(self, context: click.Context) -> Any:
        _warn_of_misspelt()
        try:
            return super().invoke(context)
        except click.NoSuchOption as error:
            raise click.UsageError(error.format_message() + _set_instead(error.option_name), error.ctx) from error

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][2]) for name in self.list_commands(context)])


def main() -> None:
    """The entry of the console script `ledger`."""
    try:
        commands(prog_name="ledger")
    except Exception as error:
        # To know them is to import most of the commands.
        from services.operating import EXPLAINED

        if not isinstance(error, EXPLAINED):
            raise
        click.echo(str(error), err=True)
        sys.exit(os.EX_CONFIG)


def _warn_of_misspelt() -> None:
    """Before any command, whatever it makes of its settings; services of `ledger run` do not repeat it."""
    from services.settings import misspelt

    for name, setting in misspelt().items():
        click.echo(f"{name} is not read; set {setting}, if that is meant", err=True)


def _set_instead(option: str) -> str:
    """What to say to whoever looks for a setting among the options."""
    from services.settings import VARIABLES

    ending = "_" + option.lstrip("-").replace("-", "_").upper()
    if found := [name for name in VARIABLES.values() if name.endswith(ending)]:
        return f" Settings are environment variables: {', '.join(found)}; as in `{found[0]}=… ledger run`."
    return ""


def _version() -> str:
    try:
        return version("requirements-ledger")
    except PackageNotFoundError:
        return "(run from its sources, which are not installed as a package)"


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(_version(), prog_name="ledger", message="%(prog)s %(version)s")
def commands() -> None:
    """Who asked for this, how on-target were they, who decided: the requirements ledger.

    \b
    Examples:
      ledger run                        start everything, and keep it running
      ledger demo                       load a made-up company into it
      ledger dev --demo                 the same, and nothing is left on exit
      ledger import crm.yaml --dry-run  see what an import would record
      ledger hook check desk.yaml       see whether a webhook can be taken in
      ledger backup /mnt/backups/today  copy the embedded database while it runs
      ledger export log exported        write the log into files that can be checked
      ledger COMMAND --help             options and examples of a command
    """


if __name__ == "__main__":
    main()
