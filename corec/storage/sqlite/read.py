"""Queries to `store.db`, by the node and by other processes while it runs."""

import json
import logging
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from corec._core.dtypes import AGGREGATE, ALERT
from corec.errors import DamagedFile, StorageError
from corec.storage import historia, restored
from corec.storage.base import LateBatch, StoredBlock, StoreState, TurnRecord
from corec.storage.moments import merge_windows, with_amendments
from corec.storage.rows import ALERTS, MINUTES, WINDOWS, RowFormat, is_sound
from corec.storage.sqlite import schema

log = logging.getLogger("corec.storage.sqlite_read")

FOREVER = 1 << 62
MINUTE_MS = 60_000
#: A row of `history`: an aggregate and the time it spans, 0 for a window as it was closed.
HISTORY = np.dtype([*((name, AGGREGATE[name].str) for name in AGGREGATE.names), ("span", "<i4")])

#: Seeks from window to window instead of reading every block's rows; pays off for a few blocks.
_FEW_BLOCKS = 32
_SEEK = """WITH RECURSIVE moments(w) AS (
 SELECT min("window") FROM {table} WHERE "window" >= :since
 UNION ALL SELECT (SELECT min("window") FROM {table} WHERE "window" > w) FROM moments WHERE w < :until)
{select} JOIN moments ON "window" = w WHERE w < :until AND block IN (SELECT value FROM json_each(:blocks))"""
_SCAN = '{select} WHERE "window" >= :since AND "window" < :until'

TURN_COLUMNS = (
    "turn, from_offset, to_offset, load_q, tick, commands, config_hash, created,"
    " windows, alerts, late, outbox, ledger, totals, crc"
)


class SqliteReader:
    """Reads one store. Each method reads one consistent state."""

    def __init__(self, path: Path, *, db: sqlite3.Connection | None = None) -> None:
        self.path = Path(path)
        if db is None and not self.path.exists():
            raise StorageError(f"expected a store, got nothing - at {self.path}", hint="run the node once: corec run")
        with schema.translated(self.path):
            self.db = db or schema.connect(self.path, read_only=True)
        try:
            schema.require_known_format(self.db, self.path)
        except BaseException:
            self.db.close()
            raise

    def close(self) -> None:
        self.db.close()

    @property
    def state(self) -> StoreState:
        return self._read_state()

    def _read_state(self) -> StoreState:
        with schema.translated(self.path):
            row = self._last_turn()
            if row is not None:
                return StoreState(row[0], row[2], json.loads(row[12]))
            base = json.loads(schema.get_meta(self.db, "base", self.path) or "{}")
        return StoreState(base.get("turn", 0), base.get("offset", 0), base.get("ledger", {}))

    @property
    def instance(self) -> str:
        with schema.translated(self.path):
            return schema.get_meta(self.db, "instance", self.path) or ""

    @property
    def node(self) -> int:
        """Id of the node that the store belongs to; 0 where it has none."""
        with schema.translated(self.path):
            return int(schema.get_meta(self.db, "node", self.path) or "0", 16)

    def turns(self, after: int = 0) -> Iterator[TurnRecord]:
        for row in self._query(f"SELECT {TURN_COLUMNS} FROM turns WHERE turn > ? ORDER BY turn", (after,)):
            self._require_sound(row, "turns")
            yield turn_record(row)

    def blocks(self, pattern: str = "*") -> list[StoredBlock]:
        rows = self._query("SELECT block, id, canal, entities, crc FROM blocks WHERE id GLOB ? ORDER BY block", (pattern,))
        for row in rows:
            self._require_sound(row, "blocks")
        return [StoredBlock(*row[:-1]) for row in rows]

    def history(
        self, pattern: str = "*", since: int = 0, until: int = FOREVER, resolution: str = "finest"
    ) -> np.ndarray:
        """Aggregates by window and block. resolution: "finest" (as stored) or "minute"."""
        with schema.translated(self.path):
            self.db.execute("SAVEPOINT history")
            try:
                rows = np.concatenate([self._windows(pattern, since, until), self._minutes(pattern, since, until)])
            finally:
                self.db.execute("RELEASE history")
        if resolution == "minute":
            rows = _as_history(merge_windows(rows, MINUTE_MS), MINUTE_MS)
        rows = with_amendments(rows)
        return rows[np.lexsort((rows["block"], rows["window"]))]

    def alerts(self, since: int = 0, until: int = FOREVER) -> np.ndarray:
        return self.numbered_alerts(since, until)[list(ALERT.names)].astype(ALERT)

    def numbered_alerts(self, since: int = 0, until: int = FOREVER) -> np.ndarray:
        """Alerts with the turn, and the row in the turn, that identify them."""
        rows = self._query(f"{ALERTS.select} WHERE time >= ? AND time < ?", (since, until))
        return self._sound_rows(ALERTS, rows)

    def blocks_of_alerts(self, names: Sequence[str]) -> dict[str, int]:
        """Alert (TURN.ROW) -> index of its block, for the alerts that exist."""
        found = {}
        for name in names:
            turn, _, row = name.partition(".")
            if turn.isdecimal() and row.isdecimal():
                for (block,) in self._query("SELECT block FROM alerts WHERE turn = ? AND row = ?", (int(turn), int(row))):
                    found[name] = block
        return found

    def happenings(self, pattern: str = "*", since: int = 0, until: int = FOREVER) -> list[historia.Happening]:
        """Events of the blocks whose id matches *pattern*, as block or as host, and of all blocks, by time."""
        with schema.translated(self.path):
            found, damaged = historia.read(self.db, since, until)
        if damaged:
            log.error("[Store] %d damaged rows of historia left out", damaged)
        return historia.of_blocks(found, pattern, {block.index for block in self.blocks(pattern)})

    def late(self, after: int = 0) -> Iterator[LateBatch]:
        for row in self._query("SELECT seq, turn, time, arrival, cause, frames, crc FROM late WHERE seq > ?", (after,)):
            self._require_sound(row, "late")
            yield LateBatch(row[2], row[3], row[5], row[4])

    def outbox(self, stream: str, after: int = 0, limit: int = 1_000) -> list[tuple[int, int, bytes]]:
        """Entries of an output stream behind sequence number *after*: (sequence, time, frames)."""
        rows = self._query(
            "SELECT seq, turn, stream, time, frames, crc FROM outbox WHERE seq > ? AND stream = ? ORDER BY seq LIMIT ?",
            (after, stream, limit),
        )
        for row in rows:
            self._require_sound(row, "outbox")
        return [(seq, time, frames) for seq, _, _, time, frames, _ in rows]

    def outbox_behind(self, number: int, limit: int = 1_000) -> list[tuple[int, str, int, bytes]]:
        """Entries of all output streams behind sequence *number*, in order: (sequence, stream, time, frames)."""
        rows = self._query("SELECT seq, turn, stream, time, frames, crc FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?", (number, limit))
        for row in rows:
            self._require_sound(row, "outbox")
        return [(seq, stream, time, frames) for seq, _, stream, time, frames, _ in rows]

    def snapshots(self) -> list[tuple[int, int, int]]:
        """(turn, offset, generation) of the noted snapshots, newest first."""
        rows = self._query("SELECT * FROM snapshots ORDER BY turn DESC", ())
        for row in rows:
            self._require_sound(row, "snapshots")
        return [row[:3] for row in rows]

    def _query(self, sql: str, values: Any) -> list[tuple[Any, ...]]:
        with schema.translated(self.path):
            return self.db.execute(sql, values).fetchall()

    def _last_turn(self) -> tuple[Any, ...] | None:
        row = self.db.execute(f"SELECT {TURN_COLUMNS} FROM turns ORDER BY turn DESC LIMIT 1").fetchone()
        if row is not None:
            self._require_sound(row, "turns")
        return row

    def _require_sound(self, row: tuple[Any, ...], table: str) -> None:
        if not is_sound(row):
            raise DamagedFile(
                f"{self.path} is damaged: row {row[0]} of {table} does not match its checksum",
                hint=schema.REPAIR,
            )

    def _sound_rows(self, form: RowFormat, rows: list[tuple[Any, ...]]) -> np.ndarray:
        array, sound = form.unpack(rows)
        if not sound.all():
            log.error("[Store] %d damaged rows of %s left out; %s", int((~sound).sum()), form.table, schema.REPAIR)
        return array[sound]

    def _windows(self, pattern: str, since: int, until: int) -> np.ndarray:
        rows = self._select(WINDOWS, pattern, since, until)
        for row in self.db.execute("SELECT since, until, turn FROM rolled"):
            done = (rows["window"] >= row[0]) & (rows["window"] < row[1]) & (rows["turn"] <= row[2])
            rows = rows[~done]
        return _as_history(rows, 0)

    def _minutes(self, pattern: str, since: int, until: int) -> np.ndarray:
        return _as_history(self._select(MINUTES, pattern, since, until), MINUTE_MS)

    def _select(self, form: RowFormat, pattern: str, since: int, until: int) -> np.ndarray:
        named = None if pattern == "*" else [block.index for block in self.blocks(pattern)]
        sql = _SCAN if named is None or len(named) > _FEW_BLOCKS else _SEEK
        values = {"since": since, "until": until, "blocks": json.dumps(named)}
        statement = sql.format(table=form.table, select=form.select)
        rows = self._sound_rows(form, self.db.execute(statement, values).fetchall())
        return rows if named is None else rows[np.isin(rows["block"], named)]


def format_node(node: int) -> str:
    """A node's id as the store keeps it and commands show it."""
    return f"{node:016x}"


def turn_record(row: tuple[Any, ...]) -> TurnRecord:
    return restored.turn_record(row[:8], "the store")


def _as_history(rows: np.ndarray, span: int) -> np.ndarray:
    out = np.zeros(len(rows), HISTORY)
    for name in AGGREGATE.names:
        out[name] = rows[name]
    out["span"] = span
    return out
