"""What all commands share: options, exit codes, and how errors are shown."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from corec.errors import Bug, CoreCError, ExitCode

if TYPE_CHECKING:
    from corec.config import Config

EXIT_CODES = "Exit codes: " + ", ".join(f"{code.value} {code.name}" for code in ExitCode) + ", 130 interrupted."
INTERRUPTED = 130
#: The configuration of a CoreC that was installed without its sources.
PACKAGED = Path(__file__).parent / "default"


class ErrorsAsText(click.Group):
    """Shows what the user can put right as text, what is ours as a traceback, and exits with the error's code."""

    def invoke(self, context: click.Context) -> Any:
        """Carry out a command."""
        try:
            return super().invoke(context)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            context.exit(INTERRUPTED)
        except Exception as error:  # whatever it is, it ends here, with a code
            context.exit(show_error(error))


def show_error(error: Exception) -> int:
    """Print an error that ends a command; the code to exit with."""
    if isinstance(error, CoreCError) and not isinstance(error, Bug):
        click.echo(str(error), err=True)
        return int(error.exit_code)
    import traceback

    traceback.print_exception(error)
    if not isinstance(error, CoreCError):
        click.echo("HINT: this is a bug in CoreC; please report it with the lines above", err=True)
    return int(ExitCode.BUG)


def config_option(command: Callable) -> Callable:
    """--config DIR."""
    return click.option(
        "--config", metavar="DIR", type=click.Path(path_type=Path),
        help="Folder of corec_config.json and plugins_config.json, or the first of the two.  [default: ./configs where"
        " there is one, else the configuration that comes with CoreC]",
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


def on_terminal() -> bool:
    """Whether standard output is a terminal that can redraw what it shows."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
