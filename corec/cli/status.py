"""`corec status`: the status of the node on a data folder, or what its store last held."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from corec.cli.common.base import EXIT_CODES, config_of_store, config_option, data_option, embedded_option

if TYPE_CHECKING:
    from corec.config import Config


@click.command(short_help="What the node is doing.", epilog=EXIT_CODES)
@data_option
@config_option
@embedded_option
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
@click.option("--plugins", is_flag=True, help="Show what each plugin costs, beside the targets for one.")
def status(data: Path, config: Path | None, embedded: bool, as_json: bool, plugins: bool) -> None:
    """Show what the node on --data is doing.

    Readings and messages are counted since the data folder was new ("in all") and since this start.  Where no node
    runs, show what its store last held, and exit with code 2, USAGE.

    \b
    corec status
    corec status --plugins
    corec status --json | jq .commit.p99_ms
    """
    import json

    from corec.control.client import NodeNotRunning, ask
    from corec.storage.folder import Layout, holder

    try:
        found = ask(data, {"op": "status"})
    except NodeNotRunning as error:
        if at_work := holder(Layout(data)):
            found = {"state": at_work.state, "pid": at_work.pid, "data": str(data)}
            click.echo(json.dumps(found) if as_json else _busy(found))
            return
        found = {"state": "stopped", "data": str(data), "store": last_state(data, config_of_store(config, embedded, data))}
        click.echo(json.dumps(found) if as_json else _stopped(found))
        click.get_current_context().exit(int(error.exit_code))
    shown = found["plugins"] if plugins else found
    click.echo(json.dumps(shown) if as_json else _plugins(shown) if plugins else _running(shown))


def _plugins(found: list[dict[str, Any]]) -> str:
    from corec.cli.output.status_plugins import plugins_text

    return plugins_text(found)


def _running(found: dict[str, Any]) -> str:
    from corec.cli.output.status_text import as_text
    from corec.cli.output.table import terminal_width

    return as_text(found, terminal_width())


def _busy(found: dict[str, Any]) -> str:
    """The text for a node that holds the folder and does not answer yet, or no longer."""
    name = f"process {found['pid']}" if found["pid"] else "another process"
    doing = {"recovering": "recovering: it folds again what was committed since the last snapshot"}
    return f"{name} holds {found['data']} and is {doing.get(found['state'], found['state'])}\nHINT: ask again in a moment"


def last_state(data: Path, config: "Config | None") -> dict[str, Any] | None:
    """The newest turn and the ledger of a store whose node does not run; None without a store."""
    from corec.storage.open_store import open_reader

    if (config is None or config.db_config is None) and not (data / "store.db").is_file():
        return None
    with open_reader(config, data) as reader:
        state = reader.state
        newest = next(reader.turns(state.turn - 1), None)
        created = newest.created if newest else None
        return {"instance_id": reader.instance, "turn": state.turn, "committed": created, "ledger": dict(state.ledger)}


def _stopped(found: dict[str, Any]) -> str:
    from corec.common.times import iso

    store = found["store"]
    if store is None:
        return f"no node runs on {found['data']}, and nothing is stored there\nHINT: corec run --data {found['data']}"
    when = f", committed {iso(store['committed'])[:-4]} UTC" if store["committed"] else ""
    lines = [
        f"no node runs on {found['data']}",
        f"the store of {store['instance_id']} ends at turn {store['turn']:,}{when}",
    ]
    if store["ledger"]:
        from corec.cli.output.status_text import ledger_line

        lines.append(ledger_line(store["ledger"]))
    return "\n".join(lines)
