"""The `corec` command.  Each subcommand is a module of its own, imported when it is used."""

import sys
from importlib import import_module

import click

from corec.cli.common.base import EXIT_CODES, ErrorsAsText
from corec.version import VERSION

#: Command -> module; each has its click command under `command`.
COMMANDS = {
    "run": "corec.cli.run",
    "init": "corec.cli.init",
    "status": "corec.cli.status",
    "query": "corec.cli.stored.query",
    "export": "corec.cli.stored.export",
    "replay": "corec.cli.readings.replay",
    "send": "corec.cli.readings.send",
    "check": "corec.cli.check",
    "history": "corec.cli.stored.happenings",
    "repair": "corec.cli.control",
    "fuse": "corec.cli.control",
    "undo": "corec.cli.control",
    "mute": "corec.cli.maintenance",
    "ack": "corec.cli.maintenance",
    "reload": "corec.cli.control",
    "db": "corec.cli.stored.db",
    "workers": "corec.cli.workers",
    "rescore": "corec.cli.stored.analysis",
    "train": "corec.cli.stored.analysis",
    "plan": "corec.cli.stored.analysis",
    "compact": "corec.cli.stored.analysis",
    "bench": "corec.cli.bench",
}


class Commands(ErrorsAsText):
    """Loads commands by name; lists them in the order of COMMANDS."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        return getattr(import_module(COMMANDS[name]), name) if name in COMMANDS else None

    def resolve_command(self, context: click.Context, arguments: list[str]) -> tuple:
        """As click's, but an unknown name ends with the nearest known one as a hint."""
        if arguments[0] not in COMMANDS:
            from difflib import get_close_matches

            near = get_close_matches(arguments[0], COMMANDS, 1)
            hint = f"did you mean `corec {near[0]}`?" if near else "`corec --help` lists the commands"
            context.fail(f"there is no command {arguments[0]!r}\nHINT: {hint}")
        return super().resolve_command(context, arguments)


@click.group(cls=Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="corec")
def main() -> None:
    """CoreC watches fleets of sensors: it filters their readings, aggregates them by block and raises alerts.

    \b
    corec run                          watch this machine's own sensors
    corec replay recording.csv         what would the node have made of it?
    corec query --since 10m            what the last ten minutes gave
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal without Unicode shows ? and goes on
            stream.reconfigure(errors="replace")
