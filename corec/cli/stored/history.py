"""Reads the rows of a store in a span of time, and their names, for `query` and `export`."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click
import numpy as np

from corec.cli.common.base import config_of_store, config_path
from corec.errors import ConfigError
from corec.sources.names import Names, NameTable, kept_names
from corec.storage.open_store import open_reader
from corec.storage.sqlite.read import FOREVER

#: Without --since, the newest rows are searched in a span of FIRST_SPAN_MS, then in spans LONGER times as long.
FIRST_SPAN_MS, LONGER = 60_000, 8


def opened(data: Path, config: Path | None, embedded: bool) -> AbstractContextManager[Any]:
    """The stored rows of a node: those of its data folder, or of the server that its configuration names."""
    return open_reader(config_of_store(config, embedded, data), data)


def read_rows(
    reader: Any, blocks: str, since: int | None, until: int | None, alerts: bool, last: int = 0
) -> np.ndarray:
    """Windows or alerts in order of time.  last: return only so many of the newest; 0 for all."""
    until = FOREVER if until is None else until

    def read(start: int) -> np.ndarray:
        return _alerts(reader, blocks, start, until) if alerts else reader.history(blocks, start, until)

    if since is not None or not last:
        rows = read(since or 0)
    else:
        rows = _newest(read, min(until, _newest_commit(reader)), last)
    return rows[len(rows) - last :] if 0 < last < len(rows) else rows


def entity_names(data: Path, config: Path | None) -> Names:
    """Names by wire id: those kept in the data folder, and those of device tables where the configuration can be read."""
    from corec.config import load

    names = kept_names(data)
    try:
        return NameTable(None, load(config_path(config), embedded=True)).names() | names
    except ConfigError as error:
        if config is not None:
            click.echo(f"{error}\nnames of devices are left out", err=True)
        return names


def _alerts(reader: Any, blocks: str, since: int, until: int) -> np.ndarray:
    rows = reader.numbered_alerts(since, until)
    if blocks != "*":
        rows = rows[np.isin(rows["block"], [block.index for block in reader.blocks(blocks)])]
    return rows


def _newest(read: Callable[[int], np.ndarray], end: int, last: int) -> np.ndarray:
    span = FIRST_SPAN_MS
    while len(rows := read(max(0, end - span))) < last and span < end:
        span *= LONGER
    return rows


def _newest_commit(reader: Any) -> int:
    """The time of the last turn in ms, 0 without one; the newest row is about as old."""
    turn = next(reader.turns(reader.state.turn - 1), None)
    return turn.created if turn else 0
