"""What `corec replay` and `corec send` may be told about a file of readings."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from corec.cli.common.moments import Moment

if TYPE_CHECKING:
    from corec.sources.recordings.csv_recording import Options

_OPTIONS = (
    click.option("--block", metavar="ID", help="Entry or block that columns go to.  [default: the first entry]"),
    click.option("--at", type=Moment(), help="Time of all frames in a file of bare frames."),
    click.option("--zone", metavar="NAME", help="Time zone of times that have none, as Europe/Berlin.  [default: UTC]"),
    click.option("--dates", type=click.Choice(["dmy", "mdy", "ymd"]), help="Order of day, month and year, where the file does not say it."),
    click.option("--follow", is_flag=True, help="Go on with what is written to FILE, until Ctrl-C."),
    click.option("--lenient", is_flag=True, help="End with 0 also where rows or columns were left out, or readings refused."),
)


def file_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --block, --at, --zone, --dates, --follow and --lenient."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def csv_options(zone: str | None, dates: str | None) -> "Options":
    """UsageError when this machine does not know the zone."""
    from corec.sources.recordings.csv_recording import Options
    from corec.sources.recordings.time_cells import find_zone

    return Options(find_zone(zone) if zone else None, dates)
