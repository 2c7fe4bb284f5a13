"""What all commands share: options, exit codes, and how errors are shown."""

import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from corec.errors import Bug, CoreCError, DiskFull, ExitCode

if TYPE_CHECKING:
    from corec.config import Config

#: As a shell shows a command that a signal ended: Ctrl-C, and the reader of its output that left.
INTERRUPTED, READER_LEFT = 130, 141
EXIT_CODES = (
    "Exit codes: " + ", ".join(f"{code.value} {code.name}" for code in ExitCode)
    + f", {INTERRUPTED} INTERRUPTED, {READER_LEFT} READER_LEFT."
)  # fmt: skip
#: Set by a shell that completes command lines; click answers it.
COMPLETION = "_COREC_COMPLETE"
#: Of standard output, which has no name that an error could tell.
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
#: The configuration of a CoreC that was installed without its sources.
PACKAGED = Path(__file__).resolve().parent.parent / "default"


class ErrorsAsText(click.Group):
    """Shows what the user can put right as text, what is ours as a traceback, and exits with the error's code."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> NoReturn:
        """Carry out a command line and exit."""
        if COMPLETION in os.environ:
            super().main(args, prog_name, **extra)
        sys.exit(self._carried_out(sys.argv[1:] if args is None else list(args), prog_name, extra))

    def _carried_out(self, args: list[str], prog_name: str | None, extra: dict[str, Any]) -> int:
        try:
            with self.make_context(prog_name, args, **extra) as context:
                self.invoke(context)
        except click.exceptions.Exit as end:
            return end.exit_code
        except click.ClickException as error:
            error.show()
            return error.exit_code
        except (KeyboardInterrupt, click.Abort):
            return INTERRUPTED
        except BrokenPipeError:
            drop_output()
            return READER_LEFT
        except Exception as error:  # whatever it is, it ends here, with a code
            return show_error(error)
        return ExitCode.OK


def drop_output() -> None:
    """Nobody reads standard output any more: what is still buffered goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show_error(error: Exception) -> int:
    """Print an error that ends a command; the code to exit with."""
    if isinstance(error, OSError) and error.filename is None and error.errno in UNWRITABLE:
        error = DiskFull(f"standard output: expected room to write, got {error.strerror.lower()}")
    if isinstance(error, CoreCError) and not isinstance(error, Bug):
        click.echo(str(error), err=True)
        return int(error.exit_code)
    import traceback

    traceback.print_exception(error)
    if not isinstance(error, CoreCError):
        click.echo("HINT: this is a bug in CoreC; please report it with the lines above", err=True)
    return int(ExitCode.BUG)


def config_option(command: Callable) -> Callable:
    """--config PATH."""
    return click.option(
        "--config", metavar="PATH", type=click.Path(path_type=Path),
        help="Folder with corec_config.json and plugins_config.json, or a file in place of the first.  [default: ./configs"
        " where there is one, else the configuration that comes with CoreC]",
    )(command)  # fmt: skip


def data_option(command: Callable) -> Callable:
    """--data DIR."""
    return click.option(
        "--data", metavar="DIR", type=click.Path(path_type=Path), default=Path("data"),
        help="Data folder of the node.  [default: ./data]",
    )(command)  # fmt: skip


def embedded_option(command: Callable) -> Callable:
    """--embedded."""
    return click.option("--embedded", is_flag=True, help="Ignore db_config and redis_config: no server is used.")(
        command
    )


def config_path(given: Path | None) -> Path:
    """Where the configuration is."""
    own = Path("configs")
    return given or (own if (own / "corec_config.json").is_file() else PACKAGED)


def load_config(given: Path | None, *, embedded: bool = False) -> "Config":
    """The configuration that --config means."""
    from corec.config import load

    return load(config_path(given), embedded=embedded)


def config_of_store(given: Path | None, embedded: bool, data: Path) -> "Config | None":
    """The configuration that says where the rows of the node on *data* are; None for its own store."""
    from corec.errors import ConfigError

    if embedded:
        return None
    try:
        return load_config(given)
    except ConfigError:
        if (data / "store.db").exists():
            return None
        raise


def on_terminal() -> bool:
    """Whether standard output is a terminal that can redraw what it shows."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
