"""`corec replay`: runs a recording through the engine, at full speed or at a pace."""

from pathlib import Path
from typing import Any

import click

from corec.cli.common.base import EXIT_CODES, config_option, embedded_option, load_config
from corec.cli.readings.file_options import ReadAs, csv_options, end, file_options


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
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--speed", type=Speed(), default="max", show_default=True, help="How many times faster than it happened.")
@config_option
@embedded_option
@click.option(
    "--into", metavar="DIR", type=click.Path(path_type=Path), help="Keep the results in this new data folder."
)
@file_options
def replay(file: Path, speed: float | None, config: Path | None, embedded: bool, into: Path | None, block: str | None, at: int | None,
           zone: str | None, dates: str | None, follow: bool, lenient: bool) -> None:  # fmt: skip
    """Let the engine work on FILE: a CSV, or a .frames file. `-` is standard input.

    A CSV has a column of times and a column for each sensor, or a row for each reading. Columns and sensors go to the devices of
    their names, others to entities of the first entry, or of --block. How the file was read is printed first, and what was left
    out at the end; where rows or columns were left out, or readings refused, the command ends with 4.

    \b
    corec replay traffic.csv
    corec replay traffic.csv --zone Europe/Berlin
    corec replay traffic.csv --speed 60 --into results && corec query --data results --alerts
    """
    from corec.cli.readings.replay_run import ReplayRun

    read_as = ReadAs(block, at, csv_options(zone, dates), follow)
    run = ReplayRun(file, load_config(config, embedded=embedded), read_as, into=into, say=click.echo)
    interrupted = run.run(speed)
    click.echo("\n".join(run.summary()))
    end(run.problems, bad=run.damaged, lenient=lenient, interrupted=interrupted and not follow)
