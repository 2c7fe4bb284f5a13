"""`corec history`: repairs, restarts and fusions of a block."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from corec.cli.common.base import EXIT_CODES, config_option, data_option, embedded_option
from corec.cli.common.moments import FORMS, Moment

if TYPE_CHECKING:
    from corec.storage.historia import Happening

LAST = 50
#: Columns that are aligned to the right.
NUMBERS = ("turn", "fitness", "failing", "entities", "inherited")


@click.command(short_help="What happened to a block.", epilog=EXIT_CODES)
@click.argument("block")
@data_option
@config_option
@embedded_option
@click.option("--since", type=Moment(), help=f"From this time on: {FORMS}.")
@click.option("--last", metavar="N", type=click.IntRange(min=0), default=LAST, show_default=True,
              help="Only the newest N; 0 for all.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def history(block: str, data: Path, config: Path | None, embedded: bool, since: int | None, last: int, as_json: bool) -> None:
    """Show what happened to BLOCK, whether the node runs or not: repairs, restarts of its entities, fusions, undos, and when
    the clock was set, which concerns all blocks.

    BLOCK may be a pattern such as 'enjambre_sensor/*'. What it did as a host is shown too.

    \b
    corec history enjambre_sensor/17 --since 1h
    """
    import json

    from corec.cli.stored.history import opened

    with opened(data, config, embedded) as reader:
        ids = {each.index: each.id for each in reader.blocks()}
        if not reader.blocks(block):
            from corec.errors import UsageError

            raise UsageError(f"there is no block {block!r} in {data}", hint="`corec check` prints the blocks")
        found = [_named(each, ids) for each in reader.happenings(block, since or 0)]
    found = found[-last:] if last else found
    if as_json:
        for each in found:
            click.echo(json.dumps(each))
        return
    click.echo(_as_table(found) if found else f"nothing happened to {block}" + (" since then" if since else ""))


def _named(happening: "Happening", ids: dict[int, str]) -> dict[str, Any]:
    from corec.engine.outcome import EVERY_BLOCK

    named = happening._asdict()
    named["block"] = "all" if happening.block == EVERY_BLOCK else ids.get(happening.block, "?")
    named["host"] = ids.get(happening.host, "") if happening.host >= 0 else ""
    return named


def _as_table(found: list[dict[str, Any]]) -> str:
    from corec.cli.output.table import Table, columns, terminal_width
    from corec.common.times import iso

    header = ["time (UTC)", "turn", "block", "what", "host", "fitness", "failing", "entities", "inherited", "reason"]
    rows = [
        [iso(each["time"])[:-4], f"{each['turn']:,}", each["block"], each["what"], each["host"] or "-", f"{each['fitness']:.2f}",
         f"{each['failing']:,}", f"{each['entities']:,}", f"{each['inherited']:,}", each["reason"] or "-"]
        for each in found
    ]  # fmt: skip
    table = Table(header, rows, [name for name in header if name not in NUMBERS], ["block", "host", "reason"])
    return "\n".join(columns(table, width=terminal_width()))
