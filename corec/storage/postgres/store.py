"""The store on PostgreSQL: rows, turn record, outbox and offset in one fenced transaction."""

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from corec.common.clock import MACHINE, Clock
from corec.common.units import MB
from corec.config.servers import DbServer
from corec.errors import CoreCError, FenceLost, InternalError, StorageError
from corec.storage import outbox
from corec.storage.base import EMPTY_BASE, LATE_BYTES, SNAPSHOTS_KEPT, LateBatch, StoreBase, StoredBlock, StoreState, TurnRecord
from corec.storage.postgres import queue as postgres_queue
from corec.storage.postgres import schema as postgres_schema
from corec.storage.postgres.copy import ALERTS, BLOQUES, CopyForm
from corec.storage.postgres.keep import EVERY_S, PostgresRetention
from corec.storage.postgres.read import PostgresReader
from corec.storage.postgres.session import Session, where
from corec.storage.restored import counts_of

_WHOSE = "SELECT log, owner, taken FROM shards WHERE instance_id = %s AND shard = %s FOR UPDATE"
_TAKE = """INSERT INTO shards AS s (instance_id, shard, epoch, owner, turn, to_offset, ledger, totals, log)
 VALUES (%s, %s, 1, %s, %s, %s, %s, '{}', %s) ON CONFLICT (instance_id, shard) DO UPDATE SET epoch = s.epoch + 1,
 owner = excluded.owner, taken = now(), log = excluded.log RETURNING epoch, turn, to_offset, ledger, totals"""
_LOCK = "SELECT epoch, turn, to_offset, owner, taken, totals FROM shards WHERE instance_id = %s AND shard = %s FOR UPDATE"
_TURN = """INSERT INTO turns (instance_id, shard, turn, from_offset, to_offset, load_q, tick, commands, config_hash, created,
 windows, alerts, late, outbox, aside) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s);
UPDATE shards SET turn = %s, to_offset = %s, ledger = %s, totals = %s WHERE instance_id = %s AND shard = %s"""


class PostgresStore(PostgresReader):
    """The `Store` of one shard. Opening it takes the fence from any earlier owner.

    session: may be shared by several shards of a thread; their commits inside `session.transaction()` are one.
    """

    def __init__(
        self,
        server: DbServer,
        *,
        instance: str,
        shard: int = 0,
        base: StoreBase = EMPTY_BASE,
        days: float = 30,
        messages_bytes: int = 64 * MB,
        late_bytes: int = LATE_BYTES,
        session: Session | None = None,
        log: str = "",
        fresh: bool = True,
        keep_every_s: float = EVERY_S,
        clock: Clock = MACHINE,
    ) -> None:
        """log: the id of the log that the offsets count in, where each node has a log of its own.
        fresh: nothing was accepted into that log yet.
        """
        super().__init__(server, instance=instance, shard=shard, session=session or Session(server, name=instance, clock=clock))
        self._bounds = {"outbox": messages_bytes, "late": late_bytes}
        self.salvaged: list[TurnRecord] = []  # PostgreSQL keeps what it committed
        self._readers: list[PostgresReader] = []
        self._names: dict[str, tuple[np.ndarray, bytes]] = {}
        self.retention = PostgresRetention(self.session, self.key, server.particion_canales, days, keep_every_s, clock=clock)
        self._open(base, log, fresh)

    def _open(self, base: StoreBase, log: str, fresh: bool) -> None:
        with self.session.transaction() as cursor:
            postgres_schema.require(cursor, self.server)
            cursor.execute(_WHOSE, self.key)
            row = cursor.fetchone()
            if row and log and not fresh and row[0] not in ("", log):
                raise self._other_log(log, row)
            cursor.execute(_TAKE, (*self.key, _owner(), base.turn, base.offset, _compact(base.ledger), log))
            self.epoch, turn, offset, ledger, totals = cursor.fetchone()
        self._state = StoreState(turn, offset, counts_of(ledger, f"the ledger in {where(self.server)}"))
        self.totals = counts_of(totals, f"the totals in {where(self.server)}")
        # Blocks are numbered without gaps: an index beyond them is nobody's, and no table of names is made up to it
        self._blocks = {block.index: block for place, block in enumerate(self.blocks()) if block.index == place}
        self.named = len(self._blocks)
        self.retention.make_ahead()

    def _other_log(self, log: str, row: tuple[Any, ...]) -> StorageError:
        return StorageError(
            f"expected the data folder that {self.instance} last wrote from, {row[0]}, got {log}: {row[1]} took over"
            f" at {row[2]:%Y-%m-%d %H:%M:%S} UTC, and what this folder accepted since would be taken for stored",
            hint="give this node another instance_id and start it with --adopt: its readings are stored under that name",
        )

    @property
    def state(self) -> StoreState:
        return self._state

    @property
    def away_since(self) -> int | None:
        """ms since 1970 of the moment when PostgreSQL became unreachable; None while it answers."""
        return self.session.away_since

    def commit(
        self,
        record: TurnRecord,
        *,
        aggregates: np.ndarray | None = None,
        alerts: np.ndarray | None = None,
        late: Sequence[LateBatch] = (),
        messages: np.ndarray | None = None,
        ledger: Mapping[str, int] | None = None,
        sent: Sequence[tuple[str, int, bytes]] = (),
        events: Sequence[tuple[Any, ...]] = (),
        blocks: Sequence[StoredBlock] = (),
    ) -> None:
        try:
            self._commit(record, aggregates, alerts, late, messages, dict(ledger or {}), sent, events, blocks)
        except CoreCError:
            self.retention.look_again()
            raise

    def _commit(self, record: TurnRecord, aggregates: np.ndarray | None, alerts: np.ndarray | None, late: Sequence[LateBatch],
                messages: np.ndarray | None, ledger: dict[str, int], sent: Sequence[tuple[str, int, bytes]],
                events: Sequence[tuple[Any, ...]], blocks: Sequence[StoredBlock]) -> None:  # fmt: skip
        self.retention.look()
        totals = dict(self.totals)
        split = {form: self.retention.split(form, rows) for form, rows in ((BLOQUES, aggregates), (ALERTS, alerts)) if _any(rows)}
        out = [(record.turn, *entry) for entry in sent]
        out += outbox.entries(record.turn, messages, alerts) if self._bounds["outbox"] else []
        set_aside = [(record.turn, batch.time, batch.arrival, batch.cause, batch.frames) for batch in late]
        with self.session.transaction() as cursor:
            written = self._written_totals(cursor, record)
            if written is not None:
                totals = written
            else:
                aside = sum(self._copy(cursor, form, record.turn, *parts, totals) for form, parts in split.items())
                counts = (_rows(aggregates), _rows(alerts),
                          postgres_queue.append(cursor, "late", self.key, set_aside, self._bounds["late"], totals),
                          postgres_queue.append(cursor, "outbox", self.key, out, self._bounds["outbox"], totals), aside)  # fmt: skip
                postgres_queue.note(cursor, self.key, record.turn, events, totals)
                self._write_names(cursor, blocks)
                self._write_turn(cursor, record, counts, ledger, totals)
            self.session.after_commit(lambda: self._committed(StoreState(record.turn, record.to_offset, ledger), totals, blocks))

    def set_blocks(self, blocks: Sequence[StoredBlock]) -> None:
        changed = [block for block in blocks if self._blocks.get(block.index) != block]
        if changed:
            with self.write() as cursor:
                self._write_names(cursor, changed)
            self._keep_names(changed)
        self.named = len(blocks)

    def _write_names(self, cursor: Any, blocks: Sequence[StoredBlock]) -> None:
        if not blocks:
            return
        from psycopg2.extras import execute_values

        execute_values(cursor, "INSERT INTO blocks (instance_id, shard, block, id, canal, entities) VALUES %s"
                       " ON CONFLICT (instance_id, shard, block) DO UPDATE SET id = excluded.id, canal = excluded.canal,"
                       " entities = excluded.entities", [(*self.key, *block) for block in blocks], page_size=1000)  # fmt: skip

    def _keep_names(self, blocks: Sequence[StoredBlock]) -> None:
        self._blocks.update({block.index: block for block in blocks})
        self._names = {}

    def note_snapshot(self, turn: int, offset: int, generation: int) -> bool:
        """Always True: what PostgreSQL committed is durable, so the journal may be trimmed."""
        with self.write() as cursor:
            cursor.execute("INSERT INTO snapshots (instance_id, shard, turn, to_offset, generation) VALUES (%s, %s, %s, %s, %s)"
                           " ON CONFLICT (instance_id, shard, turn) DO UPDATE SET generation = excluded.generation, noted = now()",
                           (*self.key, turn, offset, generation))  # fmt: skip
            cursor.execute("DELETE FROM snapshots WHERE instance_id = %s AND shard = %s AND turn NOT IN (SELECT turn FROM snapshots"
                           " WHERE instance_id = %s AND shard = %s ORDER BY turn DESC LIMIT %s)",
                           (*self.key, *self.key, SNAPSHOTS_KEPT))  # fmt: skip
        return True

    @contextmanager
    def write(self) -> Iterator[Any]:
        """A transaction beside the turns; FenceLost once another owner took over."""
        with self.session.transaction() as cursor:
            self._locked(cursor)
            yield cursor

    @contextmanager
    def reader(self) -> Iterator[PostgresReader]:
        """A reader with its own connection, for other threads. The connection is kept for the next call."""
        reader = self._readers.pop() if self._readers else PostgresReader(self.server, instance=self.instance, shard=self.key[1])
        try:
            yield reader
        finally:
            self._readers.append(reader)

    def close(self) -> None:
        for reader in self._readers:
            reader.close()
        self.session.close()

    # -- the steps of a commit, inside its transaction

    def _locked(self, cursor: Any) -> tuple[int, int, str]:
        """(turn, offset, totals) of our row, which is locked; FenceLost when another owner took it."""
        cursor.execute(_LOCK, self.key)
        row = cursor.fetchone()
        if row is None or row[0] != self.epoch:
            raise self._fence_lost(row)
        return row[1], row[2], row[5]

    def _fence_lost(self, row: tuple[Any, ...] | None) -> FenceLost:
        name = f"{self.instance}, shard {self.key[1]}, in {where(self.server)}"
        got = f"epoch {row[0]}: {row[3]} took over at {row[4]:%Y-%m-%d %H:%M:%S} UTC" if row else "none: its row is gone"
        return FenceLost(f"expected to own epoch {self.epoch} of {name}, got {got}",
                         hint="give each node an instance_id of its own; this one stops, and must not be restarted by itself")  # fmt: skip

    def _written_totals(self, cursor: Any, record: TurnRecord) -> dict[str, int] | None:
        """The totals if this turn is committed already: the answer to an earlier try may have been lost. Otherwise None."""
        turn, offset, totals = self._locked(cursor)
        if (turn, offset) == (record.turn, record.to_offset) and self._state.turn == turn - 1:
            return counts_of(totals, f"the totals in {where(self.server)}")
        if (record.turn, record.from_offset) != (turn + 1, offset) or record.to_offset < offset:
            raise InternalError(f"expected turn {turn + 1} from offset {offset}, "
                                f"got turn {record.turn} from offset {record.from_offset} to {record.to_offset}")  # fmt: skip
        return None

    def _copy(self, cursor: Any, form: CopyForm, turn: int, fit: np.ndarray, aside: np.ndarray, totals: dict[str, int]) -> int:
        """Copy rows with a partition into the table, the others into its `_aside` table; return the number of the latter."""
        shared = form.shared(*self.key, turn)
        for rows, is_aside in ((fit, False), (aside, True)):
            if len(rows):
                content = form.pack(rows, self._names_for(form, rows), shared, aside=is_aside)
                form.copy(cursor, content, aside=is_aside)
        outbox.count(totals, "windows" if form is BLOQUES else "alerts", len(fit))
        outbox.count(totals, "aside", len(aside))
        return len(aside)

    def _names_for(self, form: CopyForm, rows: np.ndarray) -> tuple[np.ndarray, bytes]:
        newest = int(rows["block"].max())
        names = self._names.get(form.table)
        if names is None or len(names[0]) <= newest + 1:
            names = self._names[form.table] = form.names(list(self._blocks.values()), newest)
        return names

    def _write_turn(self, cursor: Any, record: TurnRecord, counts: tuple[int, ...], ledger: dict, totals: dict) -> None:
        fields = (*record[:5], _compact(record.commands), *record[6:], *counts)
        state = (record.turn, record.to_offset, _compact(ledger), _compact(totals))
        cursor.execute(_TURN, (*self.key, *fields, *state, *self.key))

    def _committed(self, state: StoreState, totals: dict[str, int], blocks: Sequence[StoredBlock]) -> None:
        self._state, self.totals = state, totals
        if blocks:
            self._keep_names(blocks)
            self.named += len(blocks)


def _any(rows: np.ndarray | None) -> bool:
    return rows is not None and len(rows) > 0


def _rows(rows: np.ndarray | None) -> int:
    return 0 if rows is None else len(rows)


def _compact(value: Any) -> str:
    return json.dumps(value if isinstance(value, list) else dict(value), separators=(",", ":"))


def _owner() -> str:
    return f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} UTC"
