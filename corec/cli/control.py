"""`corec repair` and `corec reload`: commands to a node that runs, applied between two of its turns."""

from pathlib import Path

import click

from corec.cli.base import EXIT_CODES, data_option


@click.command(short_help="Regenerate the failing entities of a block.", epilog=EXIT_CODES)
@click.argument("block")
@data_option
def repair(block: str, data: Path) -> None:
    """Regenerate the failing entities of BLOCK in the node that runs on --data.

    \b
    corec repair enjambre_sensor/17
    """
    from corec.node.control import ask

    answer = ask(data, {"op": "repair", "block": block}, timeout=30.0)
    healthy = "no entity of it was failing" if not answer.get("repairs") else "its failing entities are regenerated"
    click.echo(f"{block}: {healthy} (turn {answer['turn']:,})")


@click.command(short_help="Read the configuration again.", epilog=EXIT_CODES)
@data_option
def reload(data: Path) -> None:
    """Have the node that runs on --data read again the configuration files that it was started with.

    Filters, limits, windows, intervals, lateness and skew change at once.  What waits for a restart is named.  A file
    that is wrong, or that would not fit, is refused, and the node goes on as it was.

    \b
    corec reload
    """
    from corec.node.control import ask

    answer = ask(data, {"op": "reload"}, timeout=30.0)
    if answer["changed"]:
        click.echo(f"taken over (turn {answer['turn']:,}): {', '.join(answer['changed'])}")
    if answer["waiting"]:
        click.echo(f"waits for a restart: {', '.join(answer['waiting'])}")
    if not answer["changed"] and not answer["waiting"]:
        click.echo(f"nothing has changed: the node runs by {answer['source']}")
