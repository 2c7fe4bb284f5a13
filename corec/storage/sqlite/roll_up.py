"""Merge windows into minutes: read them in slices, write the minutes at once, then delete the windows in slices.

Between the last two steps the windows still stand in their table although their minutes are written. The one row of
`rolled` says which they are, and every reader leaves them out.
"""

import logging
from typing import Any, NamedTuple

import numpy as np

from corec._core.dtypes import AGGREGATE
from corec.storage.moments import merge_windows
from corec.storage.rows import MINUTES, WINDOWS, sealed
from corec.storage.sqlite.read import MINUTE_MS
from corec.storage.sqlite.store import SqliteStore

log = logging.getLogger("corec.storage.roll_up")


#: Minutes that are rolled up together (ms) where they have few windows: each time costs three transactions.
TOGETHER_MS = 10 * MINUTE_MS


class _Reading(NamedTuple):
    """Minutes, some of whose windows are read."""

    since: int
    until: int
    turn: int  # rows of later turns come too late for this round and get one of their own
    cursor: tuple[Any, ...]  # (window, block, turn) of the last row read
    pruned: int  # newest turn among the rows read
    merged: np.ndarray


class _Deleting(NamedTuple):
    """Minutes that are written, and how far their windows are deleted."""

    since: int
    until: int
    turn: int
    cursor: int


class RollUp:
    """Rolls up the oldest minute first, and with it as many as have windows for one slice."""

    def __init__(self, store: SqliteStore, slice_rows: int) -> None:
        self._store = store
        self._db = store.db
        self._slice = slice_rows
        self._reading: _Reading | None = None
        row = self._db.execute("SELECT since, until, turn FROM rolled").fetchone()
        self._deleting = _Deleting(*row, row[0]) if row else None

    def oldest_minute(self) -> int | None:
        """Start (ms) of the oldest minute that has windows."""
        oldest = self._db.execute('SELECT min("window") FROM windows').fetchone()[0]
        return None if oldest is None else oldest // MINUTE_MS * MINUTE_MS

    def step(self, before: int, patience_ms: int) -> bool:
        """Do one slice of the current minutes, or begin the oldest if it ended *patience_ms* before *before* (ms)."""
        if self._deleting:
            self._delete_slice(self._deleting)
        elif self._reading or self._begin(before, patience_ms):
            self._read_slice(self._reading)
        else:
            return False
        return True

    def _begin(self, before: int, patience_ms: int) -> bool:
        since = self.oldest_minute()
        if since is None or since + MINUTE_MS + patience_ms > before:
            return False
        until = min(since + TOGETHER_MS, before // MINUTE_MS * MINUTE_MS, self._end_of_slice(since) // MINUTE_MS * MINUTE_MS)
        until = max(until, since + MINUTE_MS)
        self._reading = _Reading(since, until, self._store.state.turn, (since, -1, -1), 0, np.zeros(0, AGGREGATE))
        return True

    def _end_of_slice(self, since: int) -> int:
        """The window (ms) up to which a slice reaches that begins at *since*."""
        sql = 'SELECT "window" FROM windows WHERE "window" >= ? ORDER BY 1 LIMIT 1 OFFSET ?'
        row = self._db.execute(sql, (since, self._slice)).fetchone()
        return row[0] if row else since + TOGETHER_MS

    def _read_slice(self, reading: _Reading) -> None:
        sql = f'{WINDOWS.select} WHERE ("window", block, turn) > (?, ?, ?) AND "window" < ? ORDER BY 1, 2, 3 LIMIT ?'
        raw = self._db.execute(sql, (*reading.cursor, reading.until, self._slice)).fetchall()
        rows = self._sound_rows(WINDOWS, raw)
        rows = rows[rows["turn"] <= reading.turn]
        reading = reading._replace(
            cursor=raw[-1][:3] if raw else reading.cursor,
            pruned=max(reading.pruned, int(rows["turn"].max(initial=0))),
            merged=_merged(reading.merged, rows),
        )
        self._reading = reading
        if len(raw) < self._slice:
            self._write(reading)

    def _write(self, reading: _Reading) -> None:
        totals = dict(self._store.totals)
        with self._store.write() as db:
            earlier = self._earlier(reading)
            earlier_rows = self._sound_rows(MINUTES, earlier)
            merged = _merged(reading.merged, earlier_rows)
            newest = max(reading.pruned, int(earlier_rows["turn"].max(initial=0)))
            db.executemany('DELETE FROM minutes WHERE "window" = ? AND block = ?', [row[:2] for row in earlier])
            db.executemany(MINUTES.insert, MINUTES.pack(MINUTES.stored(merged, turn=newest)))
            db.execute("INSERT INTO rolled VALUES (?, ?, ?, ?, ?)", sealed(1, reading.since, reading.until, reading.turn))
            totals["minutes"] = totals.get("minutes", 0) + len(merged) - len(earlier)
            totals["windows_pruned"] = max(totals.get("windows_pruned", 0), reading.pruned)
            self._store.save_totals(totals)
        self._store.totals = totals
        self._reading, self._deleting = None, _Deleting(reading.since, reading.until, reading.turn, reading.since)

    def _earlier(self, reading: _Reading) -> list[tuple[Any, ...]]:
        """The rows of `minutes` to which windows came later."""
        span = 'WHERE "window" >= ? AND "window" < ?'
        if not self._db.execute(f"SELECT 1 FROM minutes {span} LIMIT 1", (reading.since, reading.until)).fetchone():
            return []
        keys = zip(reading.merged["window"].tolist(), reading.merged["block"].tolist(), strict=True)
        return [row for key in keys for row in self._db.execute(f'{MINUTES.select} WHERE "window" = ? AND block = ?', key)]

    def _delete_slice(self, deleting: _Deleting) -> None:
        end = self._slice_end(deleting)
        totals = dict(self._store.totals)
        with self._store.write() as db:
            gone = db.execute(
                'DELETE FROM windows WHERE "window" >= ? AND "window" < ? AND turn <= ?',
                (deleting.cursor, end, deleting.turn),
            ).rowcount
            totals["windows"] = totals.get("windows", 0) - gone
            if end >= deleting.until:
                db.execute("DELETE FROM rolled")
            self._store.save_totals(totals)
        self._store.totals = totals
        self._deleting = deleting._replace(cursor=end) if end < deleting.until else None

    def _slice_end(self, deleting: _Deleting) -> int:
        """End of a slice of whole windows: about *slice* rows, at least one window."""
        row = self._db.execute(
            'SELECT "window" FROM windows WHERE "window" >= ? AND "window" < ? ORDER BY 1 LIMIT 1 OFFSET ?',
            (deleting.cursor, deleting.until, self._slice),
        ).fetchone()
        return deleting.until if row is None else max(row[0], deleting.cursor + 1)

    def _sound_rows(self, form: Any, raw: list[tuple[Any, ...]]) -> np.ndarray:
        rows, sound = form.unpack(raw)
        if not sound.all():
            log.error("[Store] %d damaged rows of %s left out of their minute", int((~sound).sum()), form.table)
        return rows[sound]


def _merged(merged: np.ndarray, rows: np.ndarray) -> np.ndarray:
    if not len(rows):
        return merged
    more = np.empty(len(rows), AGGREGATE)
    for name in AGGREGATE.names:
        more[name] = rows[name]
    return merge_windows(np.concatenate([merged, more]), MINUTE_MS)
