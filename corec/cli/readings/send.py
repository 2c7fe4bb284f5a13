"""`corec send`: a recording, or lines as they come, to a node or to Redis."""

from pathlib import Path

import click

from corec.cli.common.base import EXIT_CODES, config_option, data_option, load_config
from corec.cli.common.moments import Moment
from corec.common.text import counted
from corec.errors import ExitCode


@click.command(short_help="Readings from a file or a pipe to a node.", epilog=EXIT_CODES)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@config_option
@data_option
@click.option("--name", help="Name of the sender; what it did not get rid of is found under it.  [default: FILE's name]")
@click.option("--block", metavar="ID", help="Entry or block that columns go to.  [default: the first entry]")
@click.option("--at", type=Moment(), help="Time of all frames in a file of bare frames.")
@click.option("--now", is_flag=True, help="Readings take the time at which they are sent.")
@click.option("--again", is_flag=True, help="Send a file that was sent before as new readings.")
@click.option("--lenient", is_flag=True, help="End with 0 also where readings were refused, or rows left out.")
@click.option("--timeout", type=float, default=10.0, show_default=True, help="Seconds to wait where there is no room, and at the end.")
def send(file: Path, config: Path | None, data: Path, name: str | None, block: str | None, at: int | None, now: bool, again: bool,
         lenient: bool, timeout: float) -> None:  # fmt: skip
    """Send the readings of FILE: a CSV or a .frames file as `corec replay` takes them, or `-` for lines
    `id,canal,valor[,estado]` from standard input, sent as they come.

    With redis_config they go to Redis, without to the node that runs on --data.  They are numbered by the file's content:
    a command that was interrupted is given again, and no reading counts twice.

    At the end it waits until a node has counted them, and says what became of them: how many were taken, and how many were
    refused and why.

    \b
    corec send traffic.csv --now
    sensors | corec send - --name gate-7
    """
    from corec.cli.readings.send_run import send_file, send_lines

    settings = load_config(config)
    if str(file) == "-":
        receipt, problems = send_lines(settings, data, name or "stdin", timeout)
    else:
        receipt, problems = send_file(file, settings, data, name=name or file.name, block=block, at=at, now=now, again=again,
                                      timeout=timeout)  # fmt: skip
    click.echo(str(receipt))
    problems += receipt.problems
    for problem in problems:
        click.echo(problem, err=True)
    if receipt.waiting:
        click.echo(f"HINT: {counted(receipt.waiting, 'reading')} wait for a node to count them: see that one runs, and its log", err=True)
    click.get_current_context().exit(int(ExitCode.DATA if problems and not lenient else ExitCode.OK))
