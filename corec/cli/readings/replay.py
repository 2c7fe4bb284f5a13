"""`corec replay`: runs a recording through the engine, at full speed or at a pace."""

from pathlib import Path
from typing import Any

import click

from corec.cli.common.base import EXIT_CODES, INTERRUPTED, config_option, embedded_option, load_config
from corec.cli.common.moments import Moment
from corec.errors import ExitCode


class Speed(click.ParamType):
    """A speed, as a multiple of real time; None for `max`."""

    name = "N|max"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float | None:
        """The speed; the command fails where *value* is none."""
        if value == "max":
            return None
        try:
            speed = float(value)
        except ValueError:
            speed = 0.0
        if not 0 < speed < float("inf"):
            self.fail(f"expected `max` or a number above 0, got {value!r}", parameter, context)
        return speed


@click.command(short_help="A recording through the engine.", epilog=EXIT_CODES)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--speed", type=Speed(), default="max", show_default=True, help="How many times faster than it happened.")
@config_option
@embedded_option
@click.option(
    "--into", metavar="DIR", type=click.Path(path_type=Path), help="Keep the results in this new data folder."
)
@click.option("--block", metavar="ID", help="Entry or block that columns go to.  [default: the first entry]")
@click.option("--at", type=Moment(), help="Time of all frames in a file of bare frames.")
def replay(file: Path, speed: float | None, config: Path | None, embedded: bool, into: Path | None, block: str | None,
           at: int | None) -> None:  # fmt: skip
    """Let the engine work on FILE: a CSV with a column of times and columns of values, or a .frames file.

    A column named like a device of a device table is that device; any other value column is the entity of its
    number in the first entry, or in --block.  An empty cell is no reading, a cell of text a failed one.

    \b
    corec replay traffic.csv
    corec replay traffic.csv --speed 60 --into results && corec query --data results --alerts
    """
    from corec.cli.readings.replay_run import ReplayRun

    run = ReplayRun(file, load_config(config, embedded=embedded), into=into, block=block, at=at)
    click.echo("\n".join(run.recording.about))
    interrupted = run.run(speed)
    click.echo("\n".join(run.summary()))
    code = INTERRUPTED if interrupted else ExitCode.DATA if run.recording.damaged else ExitCode.OK
    click.get_current_context().exit(int(code))
