"""`corec repair`, `fuse`, `undo` and `reload`: commands to a node that runs, applied between two of its turns."""

from pathlib import Path

import click

from corec.cli.common.base import EXIT_CODES, data_option


@click.command(short_help="Regenerate the failing entities of a block.", epilog=EXIT_CODES)
@click.argument("block")
@data_option
def repair(block: str, data: Path) -> None:
    """Regenerate the failing entities of BLOCK in the node that runs on --data.

    \b
    corec repair enjambre_sensor/17
    """
    from corec.control.client import ask

    answer = ask(data, {"op": "repair", "block": block}, timeout=30.0)
    healthy = "no entity of it was failing" if not answer.get("repairs") else "its failing entities are regenerated"
    click.echo(f"{block}: {healthy} (turn {answer['turn']:,})")


@click.command(short_help="Let a weak block join a strong one.", epilog=EXIT_CODES)
@click.argument("weak")
@click.argument("host")
@click.option("--force", is_flag=True, help="Whatever the fitness of the two.")
@click.option("--why", metavar="TEXT", default="", help="A reason, for `corec history`.")
@data_option
def fuse(weak: str, host: str, force: bool, why: str, data: Path) -> None:
    """Let block WEAK join block HOST in the node that runs on --data.

    Both are of one channel; WEAK is below its `min_fitness` and HOST above 0.5, or --force is given. Entities keep
    their ids; faulty ones start afresh with what the fittest healthy ones have. `corec undo WEAK` gives it back.

    \b
    corec fuse enjambre_sensor/17 enjambre_sensor/3
    """
    from corec.control.client import ask

    answer = ask(data, {"op": "fuse", "block": weak, "host": host, "force": force, "why": why}, timeout=30.0)
    click.echo(f"{weak} is fused into {host} (turn {answer['turn']:,}); corec undo {weak} gives it back")


@click.command(short_help="Give a fused block back what it was.", epilog=EXIT_CODES)
@click.argument("block")
@click.option("--why", metavar="TEXT", default="", help="A reason, for `corec history`.")
@data_option
def undo(block: str, why: str, data: Path) -> None:
    """Undo the fusion of BLOCK in the node that runs on --data: its entities count in a block of their own again.

    A host that was itself fused on since is undone first. What was repaired stays repaired.

    \b
    corec undo enjambre_sensor/17
    """
    from corec.control.client import ask

    answer = ask(data, {"op": "undo", "block": block, "why": why}, timeout=30.0)
    click.echo(f"{block} stands by itself again (turn {answer['turn']:,})")


@click.command(short_help="Read the configuration again.", epilog=EXIT_CODES)
@data_option
def reload(data: Path) -> None:
    """Have the node that runs on --data read again the configuration files that it was started with.

    Filters, limits, windows, intervals, lateness and skew change at once.  What waits for a restart is named.  A file
    that is wrong, or that would not fit, is refused, and the node goes on as it was.

    \b
    corec reload
    """
    from corec.control.client import ask

    answer = ask(data, {"op": "reload"}, timeout=30.0)
    if answer["changed"]:
        click.echo(f"taken over (turn {answer['turn']:,}): {', '.join(answer['changed'])}")
    if answer["waiting"]:
        click.echo(f"waits for a restart: {', '.join(answer['waiting'])}")
    if not answer["changed"] and not answer["waiting"]:
        click.echo(f"nothing has changed: the node runs by {answer['source']}")
