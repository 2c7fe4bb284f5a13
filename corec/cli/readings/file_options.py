"""What may be said to `corec replay` and `corec send` about a file of readings, and how both end."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from corec.cli.common.base import INTERRUPTED
from corec.cli.common.moments import Moment
from corec.errors import ExitCode, FrameError

if TYPE_CHECKING:
    from corec.sources.recordings.beginning import Options
    from corec.sources.recordings.recording import Recording

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


class ReadAs(NamedTuple):
    """How a file is to be read."""

    block: str | None  # entry or block that columns go to
    at: int | None  # ms; time of bare frames
    csv: "Options"
    follow: bool


def no_readings(file: Path, recording: "Recording") -> FrameError:
    """The error for a file without readings.  Names and reasons of columns were said before."""
    notes = [note.rstrip(":") for note in recording.notes() if not note.startswith(" ")]
    return FrameError(f"{file}: expected readings, got none", detail="; ".join(notes) or None)


def end(problems: Sequence[str], *, bad: bool, lenient: bool, interrupted: bool) -> None:
    """End the command.  problems: lines about readings that were refused.  bad: whether something else of the file was left out."""
    for problem in problems:
        click.echo(problem, err=True)
    code = INTERRUPTED if interrupted else ExitCode.DATA if (bad or problems) and not lenient else ExitCode.OK
    click.get_current_context().exit(int(code))


def csv_options(zone: str | None, dates: str | None) -> "Options":
    """UsageError when this machine does not know the zone."""
    from corec.sources.recordings.beginning import Options
    from corec.sources.recordings.time_cells import find_zone

    return Options(find_zone(zone) if zone else None, dates)
