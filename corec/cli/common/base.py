"""Options, exit codes and error output that all commands share."""

import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from corec.common.text import printable
from corec.errors import Bug, CoreCError, DiskFull, ExitCode, NotBuilt

if TYPE_CHECKING:
    from corec.config import Config

#: Exit codes as a shell has them for SIGINT (Ctrl-C) and SIGPIPE (the reader of the output is gone).
INTERRUPTED, READER_LEFT = 130, 141
EXIT_CODES = (
    "Exit codes: " + ", ".join(f"{code.value} {code.name}" for code in ExitCode)
    + f", {INTERRUPTED} INTERRUPTED, {READER_LEFT} READER_LEFT."
)  # fmt: skip
#: Environment variable of a shell that asks click to complete a command line.
COMPLETION = "_COREC_COMPLETE"
#: Error numbers that mean a full disk where standard output, which has no file name, is written.
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
#: The folder of the configuration that comes with CoreC.
PACKAGED = Path(__file__).resolve().parent.parent / "default"


class ErrorsAsText(click.Group):
    """Shows a CoreCError as text and a bug as a traceback, and exits with the error's code."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> NoReturn:
        """Run a command line and exit with its code; never returns."""
        if COMPLETION in os.environ:
            super().main(args, prog_name, **extra)
        sys.exit(self._carried_out(sys.argv[1:] if args is None else list(args), prog_name, extra))

    def _carried_out(self, args: list[str], prog_name: str | None, extra: dict[str, Any]) -> int:
        try:
            with self.make_context(prog_name, args, **extra) as context:
                self.invoke(context)
            sys.stdout.flush()  # here, where a reader that has left is no traceback
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
    """Discard what is still buffered for standard output, whose reader is gone or which is full."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show_error(error: Exception) -> int:
    """Print an error that ends a command; returns the exit code."""
    if isinstance(error, OSError) and error.filename is None and error.errno in UNWRITABLE:
        drop_output()
        error = DiskFull(f"standard output: expected room to write, got {error.strerror.lower()}")
    if isinstance(error, ModuleNotFoundError) and not (error.name or "corec").startswith("corec"):
        error = NotBuilt.without(error.name)
    if isinstance(error, CoreCError) and not isinstance(error, Bug):
        click.echo(printable(str(error)), err=True)
        return int(error.exit_code)
    import traceback

    traceback.print_exception(error)
    if not isinstance(error, CoreCError):
        click.echo("HINT: this is a bug in CoreC; please report it with the lines above", err=True)
    return int(ExitCode.BUG)


def config_option(command: Callable) -> Callable:
    return click.option(
        "--config", metavar="PATH", type=click.Path(path_type=Path),
        help="Folder with corec_config.json and plugins_config.json, or a file in place of the first.  [default: ./configs"
        " where there is one, else the configuration that comes with CoreC]",
    )(command)  # fmt: skip


def data_option(command: Callable) -> Callable:
    return click.option(
        "--data", metavar="DIR", type=click.Path(path_type=Path), default=Path("data"),
        help="Data folder of the node.  [default: ./data]",
    )(command)  # fmt: skip


def embedded_option(command: Callable) -> Callable:
    return click.option("--embedded", is_flag=True, help="Ignore db_config and redis_config: no server is used.")(
        command
    )


def config_path(given: Path | None) -> Path:
    """The path given with --config, else ./configs where it has a configuration, else the packaged one."""
    own = Path("configs")
    return given or (own if (own / "corec_config.json").is_file() else PACKAGED)


def load_config(given: Path | None, *, embedded: bool = False) -> "Config":
    """Load the configuration of `config_path`; ConfigError.  embedded: ignore its servers."""
    from corec.config import load

    return load(config_path(given), embedded=embedded)


def config_of_store(given: Path | None, embedded: bool, data: Path) -> "Config | None":
    """The configuration that names the store of the node on *data*; None where that is the store in the folder itself."""
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
