"""`corec mute` and `corec ack`: silence alerts for a time, and acknowledge alerts."""

from pathlib import Path

import click

from corec.cli.common.base import EXIT_CODES, data_option
from corec.cli.common.moments import Seconds


@click.command(short_help="Mute the alerts of a block or an entity for a time.", epilog=EXIT_CODES)
@click.argument("subject", metavar="BLOCK|ENTITY")
@click.option("--for", "span", type=Seconds(), required=True, help="How long: 90, 30m, 2h; 0 ends it.")
@click.option("--why", metavar="TEXT", default="", help="A reason, for `corec history`.")
@data_option
def mute(subject: str, span: float, why: str, data: Path) -> None:
    """Mute the alerts of a BLOCK, by its id, or of one ENTITY, by its wire id, in the node that runs on --data.

    Muted alerts are stored and counted, and shown by `corec query --alerts`; streams, plugins and the live status
    do not show them. A mute outlasts restarts and ends by itself.

    \b
    corec mute enjambre_sensor/17 --for 2h --why "sensors are replaced"
    corec mute 70012 --for 30m
    corec mute enjambre_sensor/17 --for 0
    """
    from corec.common.times import iso, wall_ms
    from corec.control.client import ask

    until = wall_ms() + round(span * 1000) if span else 0
    what = {"entity": int(subject)} if subject.isdecimal() else {"block": subject}
    answer = ask(data, {"op": "mute", **what, "until": until, "why": why}, timeout=30.0)
    said = f"is muted until {iso(until)[:-4]} UTC" if span else "is not muted any more"
    click.echo(f"{subject} {said} (turn {answer['turn']:,})")


@click.command(short_help="Acknowledge alerts.", epilog=EXIT_CODES)
@click.argument("alerts", metavar="ALERT...", nargs=-1, required=True)
@click.option("--why", metavar="TEXT", default="", help="What was done about them.")
@data_option
def ack(alerts: tuple[str, ...], why: str, data: Path) -> None:
    """Note that somebody has seen to alerts, by the numbers that `corec query --alerts` shows.

    \b
    corec ack 1712.0 1713.4 --why "cable replaced"
    """
    from corec.common.text import counted
    from corec.control.client import ask

    answer = ask(data, {"op": "ack", "alerts": list(alerts), "why": why}, timeout=30.0)
    click.echo(f"{counted(len(alerts), 'alert')} acknowledged (turn {answer['turn']:,})")
