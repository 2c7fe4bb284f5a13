"""Queries to the store on PostgreSQL, by the node and by other readers."""

import logging
import math
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from corec._core.dtypes import AGGREGATE, ALERT
from corec.config.servers import DbServer
from corec.errors import StorageError
from corec.storage.base import LateBatch, StoredBlock, StoreState, TurnRecord
from corec.storage.historia import Happening, of_blocks
from corec.storage.moments import merge_windows, with_amendments
from corec.storage.postgres.session import Session, where
from corec.storage.restored import counts_of, turn_record
from corec.storage.rows import ALERTS
from corec.storage.sqlite.read import FOREVER, HISTORY, MINUTE_MS

log = logging.getLogger(__name__)

#: Largest index of a block: 32 bits, as the engine has it.
MOST_INDEX = (1 << 32) - 1
_MS = '(extract(epoch FROM "timestamp") * 1000)::bigint'
_HISTORY_COLUMNS = {"window": _MS, **{name: f'"{name}"' for name in HISTORY.names if name != "window"}}
_ALERT_COLUMNS = {"time": _MS, **{name: f'"{name}"' for name in ALERTS.dtype.names if name != "time"}}
#: Until November 2026 the kind of a muted alert (128 and more) was written as a signed byte.
_ALERT_COLUMNS["kind"] = "kind & 255"
_OWN = "instance_id = %s AND shard = %s"
_BETWEEN = f'{_OWN} AND "timestamp" >= to_timestamp(%s / 1000.0) AND "timestamp" < to_timestamp(%s / 1000.0)'
#: An export of a month may take so long.
LONGEST_S = 900.0
#: The end of 9999: to_timestamp takes no later years than PostgreSQL's own calendar.
_LAST_MS = 253_402_300_799_999


class PostgresReader:
    """Reads the rows of one shard. Each method reads one consistent state."""

    def __init__(self, server: DbServer, *, instance: str, shard: int = 0, session: Session | None = None) -> None:
        self.server, self.key = server, (instance, shard)
        self.instance = instance
        self.session = session or Session(server, name=f"{instance} reader", read_only=True, longest_s=LONGEST_S)

    def close(self) -> None:
        self.session.close()

    @property
    def state(self) -> StoreState:
        rows = self._query(f"SELECT turn, to_offset, ledger FROM shards WHERE {_OWN}")
        if not rows:
            raise StorageError(f"expected results of {self.instance}, got none - in {where(self.server)}",
                               hint="run the node once: corec run")  # fmt: skip
        turn, offset, ledger = rows[0]
        return StoreState(turn, offset, counts_of(ledger, f"the ledger in {where(self.server)}"))

    def turns(self, after: int = 0) -> Iterator[TurnRecord]:
        """Read in slices, because a replay folds them one by one."""
        while rows := self._query(
            "SELECT turn, from_offset, to_offset, load_q, tick, commands, config_hash, created FROM turns"
            f" WHERE {_OWN} AND turn > %s ORDER BY turn LIMIT 1000", after,
        ):  # fmt: skip
            for row in rows:
                yield turn_record(row, f"turns in {where(self.server)}")
            after = rows[-1][0]

    def blocks(self, pattern: str = "*") -> list[StoredBlock]:
        rows = self._query(f"SELECT block, id, canal, entities FROM blocks WHERE {_OWN} ORDER BY block")
        return [StoredBlock(*row) for row in rows if 0 <= row[0] <= MOST_INDEX and fnmatchcase(row[1], pattern)]

    def history(
        self, pattern: str = "*", since: int = 0, until: int = FOREVER, resolution: str = "finest"
    ) -> np.ndarray:
        """Aggregates by window and block. resolution: "finest" (as stored) or "minute"."""
        named, values = "", [since, min(until, _LAST_MS)]
        if pattern != "*":
            named, values = " AND block = ANY(%s)", [*values, [block.index for block in self.blocks(pattern)]]
        columns = ", ".join(_HISTORY_COLUMNS.values())
        found = self._query(f"SELECT {columns} FROM bloques WHERE {_BETWEEN}{named}", *values)
        rows = _array(found, _HISTORY_COLUMNS, HISTORY)
        if resolution == "minute":
            merged = merge_windows(rows, MINUTE_MS)
            rows = np.zeros(len(merged), HISTORY)
            for name in AGGREGATE.names:
                rows[name] = merged[name]
            rows["span"] = MINUTE_MS
        rows = with_amendments(rows)
        return rows[np.lexsort((rows["block"], rows["window"]))]

    def alerts(self, since: int = 0, until: int = FOREVER) -> np.ndarray:
        return self.numbered_alerts(since, until)[list(ALERT.names)].astype(ALERT)

    def numbered_alerts(self, since: int = 0, until: int = FOREVER) -> np.ndarray:
        """Alerts with the turn, and the row in the turn, that identify them."""
        columns = ", ".join(_ALERT_COLUMNS.values())
        found = self._query(f'SELECT {columns} FROM alerts WHERE {_BETWEEN} ORDER BY "timestamp", turn, row', since, min(until, _LAST_MS))
        return _array(found, _ALERT_COLUMNS, ALERTS.dtype)

    def blocks_of_alerts(self, names: Sequence[str]) -> dict[str, int]:
        """Alert (TURN.ROW) -> index of its block, for the alerts that exist."""
        found = {}
        for name in names:
            turn, _, row = name.partition(".")
            if turn.isdecimal() and row.isdecimal():
                for (block,) in self._query(f"SELECT block FROM alerts WHERE {_OWN} AND turn = %s AND row = %s", int(turn), int(row)):
                    found[name] = block
        return found

    def happenings(self, pattern: str = "*", since: int = 0, until: int = FOREVER) -> list[Happening]:
        """Events of the blocks whose id matches *pattern*, as block or as host, and of all blocks, by time."""
        columns = ", ".join(f'"{name}"' for name in Happening._fields)
        found = self._query(f'SELECT {columns} FROM historia WHERE {_OWN} AND "time" >= %s AND "time" < %s ORDER BY "time", turn, row',
                            since, until)  # fmt: skip
        rows = [Happening(*(math.nan if value is None else value for value in row)) for row in found]
        return of_blocks(rows, pattern, {block.index for block in self.blocks(pattern)})

    def late(self, after: int = 0) -> Iterator[LateBatch]:
        for row in self._query(f'SELECT "time", arrival, frames, cause FROM late WHERE {_OWN} AND seq > %s ORDER BY seq', after):
            yield LateBatch(row[0], row[1], bytes(row[2]), row[3])

    def outbox(self, stream: str, after: int = 0, limit: int = 1_000) -> list[tuple[int, int, bytes]]:
        """Entries of an output stream behind sequence number *after*: (sequence, time, frames)."""
        rows = self._query(f'SELECT seq, "time", frames FROM outbox WHERE {_OWN} AND seq > %s AND stream = %s ORDER BY seq LIMIT %s',
                           after, stream, limit)  # fmt: skip
        return [(seq, time, bytes(frames)) for seq, time, frames in rows]

    def outbox_behind(self, number: int, limit: int = 1_000) -> list[tuple[int, str, int, bytes]]:
        """Entries of all output streams behind sequence *number*, in order: (sequence, stream, time, frames)."""
        rows = self._query(f'SELECT seq, stream, "time", frames FROM outbox WHERE {_OWN} AND seq > %s ORDER BY seq LIMIT %s', number, limit)
        return [(seq, stream, time, bytes(frames)) for seq, stream, time, frames in rows]

    def snapshots(self) -> list[tuple[int, int, int]]:
        """(turn, offset, generation) of the noted snapshots, newest first."""
        return self._query(f"SELECT turn, to_offset, generation FROM snapshots WHERE {_OWN} ORDER BY turn DESC")

    def _query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.session.query(sql, (*self.key, *values))


def _array(found: list[tuple[Any, ...]], columns: dict[str, str], dtype: np.dtype) -> np.ndarray:
    """Rows as a structured array; NULL becomes NaN.  A row with a number that its field cannot hold is left out, and said."""
    try:
        return _filled(found, columns, dtype)
    except (OverflowError, TypeError, ValueError):
        fit = [row for row in found if _fits(row, columns, dtype)]
        log.error("[Store] %d rows hold numbers that no node writes there, and are left out", len(found) - len(fit))
        return _filled(fit, columns, dtype)


def _fits(row: tuple[Any, ...], columns: dict[str, str], dtype: np.dtype) -> bool:
    try:
        _filled([row], columns, dtype)
    except (OverflowError, TypeError, ValueError):
        return False
    return True


def _filled(found: list[tuple[Any, ...]], columns: dict[str, str], dtype: np.dtype) -> np.ndarray:
    out = np.zeros(len(found), dtype)
    for name, values in zip(columns, zip(*found)):
        missing = [np.nan if value is None else value for value in values] if dtype[name].kind == "f" else values
        out[name] = missing
    return out
