"""`corec query`: windows and alerts as a table."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from corec.cli.common.base import EXIT_CODES
from corec.cli.common.row_options import row_options

if TYPE_CHECKING:
    import numpy as np

    from corec.cli.output.table import Table
    from corec.sources.names import Names

LAST = 20
#: Short column headers for a narrow terminal.
SHORT_HEADS = {"errors": "err", "messages": "msgs", "fitness": "fit", "acknowledged": "ack"}
#: Kinds of alerts that have a value and a limit.
WITH_LIMIT = ("high", "low", "anomaly")


@click.command(short_help="Stored windows and alerts as a table.", epilog=EXIT_CODES)
@row_options
@click.option("--last", metavar="N", type=click.IntRange(min=0), default=LAST, show_default=True,
              help="Only the newest N rows; 0 for all.")  # fmt: skip
def query(
    data: Path, config: Path | None, embedded: bool, blocks: str, since: int | None, until: int | None, alerts: bool, last: int
) -> None:
    """Show what a node has stored, whether it runs or not: a row for each block and closed window, or the alerts.

    \b
    corec query --blocks 'enjambre_sensor/*' --since 10m
    corec query --alerts --last 5
    """
    from corec.cli.output.table import columns, terminal_width
    from corec.cli.stored.history import entity_names, opened, read_rows

    with opened(data, config, embedded) as reader:
        rows = read_rows(reader, blocks, since, until, alerts, last)
        ids = {block.index: block.id for block in reader.blocks()}
        seen_to = {each.subject: each.reason for each in reader.happenings() if each.what == "ack"} if alerts else {}
    if not len(rows):
        click.echo("no alerts" if alerts else "no windows" + (f" of blocks {blocks}" if blocks != "*" else ""))
        return
    table, short = _alert_table(rows, ids, entity_names(data, config), seen_to) if alerts else _window_table(rows, ids), None
    if terminal_width():
        short = _narrow(table if alerts else _window_table(rows, ids, digits=4))
    click.echo("\n".join(columns(table, short, width=terminal_width())))


def _window_table(rows: "np.ndarray", ids: dict[int, str], digits: int = 6) -> "Table":
    from corec.cli.output.table import Table

    times = _times(rows["window"].tolist())
    measures = ("mean", "min", "max", "std")
    header = ["window (UTC)", "block", "count", *measures, "errors", "messages", "fitness"]
    table = [
        [moment, ids.get(int(row["block"]), "?"), f"{row['count']:,}", *(f"{row[name]:.{digits}g}" for name in measures),
         f"{row['errors']:,}", f"{row['messages']:,}", "-" if math.isnan(row["fitness"]) else f"{row['fitness']:.2f}"]
        for moment, row in zip(times, rows, strict=True)
    ]  # fmt: skip
    return Table(header, table, header[:2], ["block"])


def _narrow(table: "Table") -> "Table":
    """The same table with short headers, and a common date in the first header only."""
    from corec.cli.output.table import Table

    dates = {row[0][:10] for row in table.rows}
    common = 11 if len(dates) == 1 else 5
    rows = [[row[0][common:], *row[1:]] for row in table.rows]
    heads = SHORT_HEADS | ({table.header[0]: f"{dates.pop()}, UTC"} if len(dates) == 1 else {})
    header, left, names = ([heads.get(name, name) for name in heads_of] for heads_of in (table.header, table.left, table.names))
    return Table(header, rows, left, names)


def _alert_table(rows: "np.ndarray", ids: dict[int, str], names: "Names", seen_to: dict[str, str]) -> "Table":
    from corec.cli.output.table import Table
    from corec.engine.outcome import kind_name

    header = ["time (UTC)", "number", "alert", "entity", "value", "limit", "unit", "block", "acknowledged"]
    table = []
    for moment, row in zip(_times(rows["time"].tolist()), rows, strict=True):
        block, kind = ids.get(int(row["block"]), "?"), kind_name(int(row["kind"]))
        name, unit = ("-", "") if kind.startswith("anomaly") else names.get(int(row["id"]), ("", ""))
        numbers = [f"{row['valor']:.6g}", f"{row['limit']:.6g}"] if kind.split()[0] in WITH_LIMIT else ["-", "-"]
        number = f"{row['turn']}.{row['row']}"
        table.append([moment, number, kind, name or f"#{row['id']}", *numbers, unit or "-", block, seen_to.get(number, "")])
    return Table(header, table, ["time (UTC)", "alert", "entity", "unit", "block", "acknowledged"], ["entity", "block", "acknowledged"])


def _times(moments: list[int]) -> list[str]:
    """Times as text, without milliseconds where all of them are whole seconds."""
    from corec.common.times import iso

    whole = all(moment % 1000 == 0 for moment in moments)
    return [iso(moment)[: -4 if whole else None] for moment in moments]
