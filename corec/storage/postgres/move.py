"""Move an embedded store to PostgreSQL, once: all its rows and its state, in one transaction.

A kill before the transaction ends leaves PostgreSQL as it was, and the next start moves everything. A kill after it finds
the mark of the move, and only renames the file.
"""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from corec.config.servers import DbServer
from corec.errors import StorageError
from corec.storage import disk
from corec.storage.postgres import queue as postgres_queue
from corec.storage.postgres.copy import MOVED_ALERTS, MOVED_WINDOWS, CopyForm
from corec.storage.postgres.keep import PostgresRetention
from corec.storage.postgres.session import Session, where
from corec.storage.rows import ALERTS, MINUTES, WINDOWS, RowFormat
from corec.storage.sqlite.read import MINUTE_MS, format_node
from corec.storage.sqlite.store import SqliteStore

log = logging.getLogger("corec.storage.postgres_move")

MOVED = ".moved"
#: Rows read and copied at a time.
SLICE = 50_000
BLOBS = 500
LONGEST_S = 6 * 3600.0
_MARK = "SELECT turn, moved FROM shards WHERE instance_id = %s AND shard = %s FOR UPDATE"
_STAND = """INSERT INTO shards (instance_id, shard, epoch, owner, turn, to_offset, ledger, totals, log, moved)
 VALUES (%s, %s, 0, 'moved from an embedded store', %s, %s, %s, %s, %s, %s) ON CONFLICT (instance_id, shard) DO UPDATE
 SET turn = excluded.turn, to_offset = excluded.to_offset, ledger = excluded.ledger, totals = excluded.totals, log = excluded.log,
 moved = excluded.moved"""
_BLOCKS = "INSERT INTO blocks (instance_id, shard, block, id, canal, entities) VALUES %s"
_TURNS = """INSERT INTO turns (instance_id, shard, turn, from_offset, to_offset, load_q, tick, commands, config_hash, created,
 windows, alerts, late, outbox, aside) VALUES %s"""
_SNAPSHOTS = "INSERT INTO snapshots (instance_id, shard, turn, to_offset, generation) VALUES %s"


class Move:
    """The move of one embedded store."""

    def __init__(self, store: SqliteStore, server: DbServer, instance: str, days: float, *, slice_rows: int = SLICE) -> None:
        self._store, self._server, self._slice = store, server, slice_rows
        self._key = (instance, 0)
        self._session = Session(server, name=f"{instance} move", longest_s=LONGEST_S)
        self._keeper = PostgresRetention(self._session, self._key, server.particion_canales, days)
        self._blocks = store.blocks()
        self._done = 0
        self._all = sum(store.totals.get(name, 0) for name in ("windows", "minutes", "alerts"))
        self.mark = {"store": format_node(store.node), "turn": store.state.turn}

    def run(self) -> None:
        """Move everything, unless it was moved already."""
        instance = self._key[0]
        self._keeper.make_ahead()
        try:
            with self._session.transaction() as cursor:
                if self._is_done(cursor):
                    return
                log.info("[Store-%s] moving the embedded store to %s: %d rows", instance, where(self._server), self._all)
                self._move_rows(cursor)
                self._move_rest(cursor)
                self._stand(cursor)
        finally:
            self._session.close()
        log.info("[Store-%s] moved: the store goes on at turn %d", instance, self._store.state.turn)

    def _is_done(self, cursor: Any) -> bool:
        cursor.execute(_MARK, self._key)
        row = cursor.fetchone()
        if row is None or (row[0] == 0 and row[1] is None):
            return False
        if row[1] is not None and json.loads(row[1])["store"] == self.mark["store"] and self.mark["turn"] <= row[0]:
            return True
        raise StorageError(
            f"expected no results of {self._key[0]} in {where(self._server)}, got {row[0]} turns,"
            f" and an embedded store of {self.mark['turn']} turns as well - at {self._store.path}",
            hint="give this node another instance_id and start it with --adopt, or move that file away if its rows are not wanted",
        )

    def _move_rows(self, cursor: Any) -> None:
        rolled = self._store.db.execute("SELECT since, until, turn FROM rolled").fetchall()
        for rows in self._slices(WINDOWS):
            for since, until, turn in rolled:
                rows = rows[~((rows["window"] >= since) & (rows["window"] < until) & (rows["turn"] <= turn))]
            self._copy(cursor, MOVED_WINDOWS, rows, 0)
        for rows in self._slices(MINUTES):
            self._copy(cursor, MOVED_WINDOWS, rows, MINUTE_MS)
        for rows in self._slices(ALERTS):
            self._copy(cursor, MOVED_ALERTS, rows, 0)

    def _slices(self, form: RowFormat) -> Iterator[np.ndarray]:
        cursor = self._store.db.execute(form.select)
        while raw := cursor.fetchmany(self._slice):
            rows, sound = form.unpack(raw)
            if not sound.all():
                log.error("[Store-%s] %d damaged rows of %s are not moved", self._key[0], int((~sound).sum()), form.table)
            self._done += len(raw)
            yield rows[sound]
            log.info("[Store-%s] moved %d of %d rows", self._key[0], self._done, self._all)

    def _copy(self, cursor: Any, form: CopyForm, rows: np.ndarray, span: int) -> None:
        shared = form.shared(*self._key, span=span)
        for part, is_aside in zip(self._keeper.split(form, rows), (False, True), strict=True):
            if len(part):
                names = form.names(self._blocks, int(part["block"].max()))
                form.copy(cursor, form.pack(part, names, shared, aside=is_aside), aside=is_aside)

    def _move_rest(self, cursor: Any) -> None:
        from psycopg2.extras import execute_values

        execute_values(cursor, _BLOCKS, [(*self._key, *block) for block in self._blocks], page_size=1000)
        counts = (0, 0, 0, 0, 0)    # what they committed may have been rolled up or dropped since
        turns = [(*self._key, *turn[:5], json.dumps(turn.commands), *turn[6:], *counts) for turn in self._store.turns()]
        execute_values(cursor, _TURNS, turns, page_size=1000)
        execute_values(cursor, _SNAPSHOTS, [(*self._key, *snapshot) for snapshot in self._store.snapshots()])
        postgres_queue.keep(cursor, self._key, self._store.happenings())
        for table in ("late", "outbox"):
            blobs = self._store.db.execute(f"SELECT * FROM {table} ORDER BY seq")
            while rows := blobs.fetchmany(BLOBS):
                postgres_queue.insert(cursor, table, self._key, [row[:-1] for row in rows])

    def _stand(self, cursor: Any) -> None:
        state, totals = self._store.state, self._store.totals
        cursor.execute(_STAND, (*self._key, state.turn, state.offset, json.dumps(dict(state.ledger)), json.dumps(totals),
                                self.mark["store"], json.dumps(self.mark)))  # fmt: skip


def set_aside(path: Path) -> None:
    """Rename the file of the moved store; its content stays."""
    path.rename(path.with_name(path.name + MOVED))
    disk.sync_folder(path.parent)


