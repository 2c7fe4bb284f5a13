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
    """Have the node that runs on --data read its configuration files again.

    Filters, limits, windows and intervals change at once; which blocks there are changes at a restart only.

    \b
    corec reload
    """
    from corec.node.control import ask

    answer = ask(data, {"op": "reload"}, timeout=30.0)
    click.echo(f"configuration reloaded (turn {answer['turn']:,})")
