"""`corec send`: a recording, or lines as they come, to a node or to Redis."""

from pathlib import Path

import click

from corec.cli.common.base import EXIT_CODES, config_option, data_option, load_config
from corec.cli.readings.file_options import ReadAs, csv_options, end, file_options
from corec.common.text import counted


@click.command(short_help="Readings from a file or a pipe to a node.", epilog=EXIT_CODES)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@config_option
@data_option
@click.option("--name", help="Name of the sender; what it did not get rid of is found under it.  [default: FILE's name]")
@click.option("--now", is_flag=True, help="Readings take the time at which they are sent.")
@click.option("--again", is_flag=True, help="Send a file that was sent before as new readings.")
@click.option("--timeout", type=float, default=10.0, show_default=True, help="Seconds to wait where there is no room, and at the end.")
@file_options
def send(file: Path, config: Path | None, data: Path, name: str | None, now: bool, again: bool, timeout: float, block: str | None,
         at: int | None, zone: str | None, dates: str | None, follow: bool, lenient: bool) -> None:  # fmt: skip
    """Send the readings of FILE: a CSV or a .frames file as `corec replay` takes them, or `-` for lines
    `id,canal,valor[,estado]` from standard input, sent as they come.

    With redis_config they go to Redis, without to the node that runs on --data.  They are numbered by the beginning of the
    file: a command that was interrupted is given again, and no reading counts twice; of a longer version of the file only what
    is new counts.

    It says how the file was read and what was left out.  At the end it waits until a node has counted the readings, and says
    what became of them: how many were taken, and how many were refused and why.

    \b
    corec send traffic.csv --now
    sensors | corec send - --name gate-7
    """
    from corec.cli.readings.send_run import FileSending, send_lines

    settings, bad, interrupted = load_config(config), False, False
    if str(file) == "-":
        receipt, problems = send_lines(settings, data, name or "stdin", timeout)
    else:
        read_as = ReadAs(block, at, csv_options(zone, dates), follow)
        sending = FileSending(file, settings, data, read_as, name=name or file.name, now=now, again=again, say=click.echo)
        receipt, problems = sending.run(timeout), sending.problems
        bad, interrupted = sending.damaged, sending.interrupted and not follow
    click.echo(str(receipt))
    if receipt.waiting:
        click.echo(f"HINT: {counted(receipt.waiting, 'reading')} wait for a node to count them: see that one runs, and its log", err=True)
    end([*problems, *receipt.problems], bad=bad, lenient=lenient, interrupted=interrupted)
