"""The embedded store: one SQLite file, one transaction for each turn."""

import json
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from corec.common.units import MB
from corec.errors import DamagedFile, FenceLost, InternalError
from corec.storage import historia, outbox
from corec.storage.base import EMPTY_BASE, LATE_BYTES, SNAPSHOTS_KEPT, LateBatch, StoreBase, StoredBlock, StoreState, TurnRecord
from corec.storage.rows import ALERTS, WINDOWS, RowFormat, sealed
from corec.storage.sqlite import schema, wal
from corec.storage.sqlite.read import SqliteReader, format_node

log = logging.getLogger("corec.storage.sqlite")


_INSERT_TURN = f"INSERT INTO turns VALUES ({', '.join('?' * 15)})"


class SqliteStore(SqliteReader):
    """The `Store` in one file, for one thread. Opening it takes the fence from any earlier owner."""

    def __init__(
        self,
        path: Path,
        *,
        instance: str = "corec1",
        base: StoreBase = EMPTY_BASE,
        messages_bytes: int = 64 * MB,
        late_bytes: int = LATE_BYTES,
        page_bytes: int = schema.PAGE_BYTES,
        node: int = 0,
    ) -> None:
        """base: where a new store begins; an existing one keeps its own.
        node: the id of the node, noted in a store that has none.
        """
        path = Path(path)
        with schema.translated(path):
            if not path.exists():
                schema.create(path, instance, base.document(), page_bytes)
            super().__init__(path, db=schema.connect(path))
        self._instance, self._node = instance, node
        self._bounds = {"outbox": messages_bytes, "late": late_bytes}
        self.salvaged: list[TurnRecord] = []  # see store_recovery
        self.lost_commits = 0
        try:
            self._find_lost_commits()
            with schema.translated(path):
                schema.migrate(self.db, path)
            self._require_recoverable()
            self._epoch = self._take_fence()
            self._state = self._read_state()
            self.totals = self._load_totals()
            self.named = len(self.blocks())
        except BaseException:
            self.db.close()
            raise

    @property
    def state(self) -> StoreState:
        return self._state

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
        totals = dict(self.totals)
        ledger = dict(ledger or {})
        out = [(record.turn, *entry) for entry in sent]
        out += outbox.entries(record.turn, messages, alerts) if self._bounds["outbox"] else []
        set_aside = [(record.turn, *batch[:2], batch.cause, batch.frames) for batch in late]
        with self.write():
            self._require_next(record)
            counts = (
                self._insert(WINDOWS, record.turn, aggregates, totals),
                self._insert(ALERTS, record.turn, alerts, totals),
                outbox.append(self.db, "late", set_aside, self._bounds["late"], totals),
                outbox.append(self.db, "outbox", out, self._bounds["outbox"], totals),
            )
            historia.append(self.db, record.turn, events, totals)
            self._write_names(blocks)
            documents = (schema.compact(ledger), schema.compact(totals))
            fields = (*record[:5], schema.compact(record.commands), *record[6:], *counts, *documents)
            self.db.execute(_INSERT_TURN, sealed(*fields))
        self.totals = totals
        self._state = StoreState(record.turn, record.to_offset, ledger)
        self.named += len(blocks)

    def set_blocks(self, blocks: Sequence[StoredBlock]) -> None:
        known = {block.index: block for block in self.blocks()}
        changed = [block for block in blocks if known.get(block.index) != block]
        if changed:
            with self.write():
                self._write_names(changed)
        self.named = len(blocks)

    def _write_names(self, blocks: Sequence[StoredBlock]) -> None:
        self.db.executemany("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?, ?)", [sealed(*block) for block in blocks])

    def note_snapshot(self, turn: int, offset: int, generation: int, created: int = 0) -> bool:
        """Note the newest snapshot. True when all turns up to it are in the main file as well.

        Only then may the journal be trimmed: one bad byte can lose what is only in the WAL.
        """
        with self.write() as db:
            row = sealed(turn, offset, generation, created)
            db.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?)", row)
            kept = "SELECT turn FROM snapshots ORDER BY turn DESC LIMIT ?"
            db.execute(f"DELETE FROM snapshots WHERE turn NOT IN ({kept})", (SNAPSHOTS_KEPT,))
        return self.checkpoint()

    def history(self, *given: Any, **how: Any) -> np.ndarray:
        """As `SqliteReader.history`, by a connection of its own: callable from any thread, also in the middle of a commit."""
        with self.reader() as reader:
            return reader.history(*given, **how)

    def reader(self) -> AbstractContextManager[SqliteReader]:
        return closing(SqliteReader(self.path))

    def checkpoint(self) -> bool:
        """Copy the WAL into the main file; False when a reader in the middle of a query prevents it."""
        with self.guard():
            busy, frames, copied = self.db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return not busy and frames == copied

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction beside the turns, for retention; FenceLost once another owner took over."""
        with self.guard(), schema.transaction(self.db, self.path):
            self._require_fence()
            yield self.db

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Raise SQLite's errors as CoreC's. Damage is marked beside the file, so that the next start replaces the store."""
        try:
            with schema.translated(self.path):
                yield
        except DamagedFile:
            distrust_mark(self.path).touch()
            raise

    def save_totals(self, totals: dict[str, int]) -> None:
        """Store the row counts after retention, inside `write`. They are newer than those of the last turn."""
        schema.put_meta(self.db, "totals", schema.compact({**totals, "turn": self._state.turn}))

    # -- the steps of a commit, inside its transaction

    def _require_fence(self) -> None:
        epoch = int(schema.get_meta(self.db, "epoch", self.path) or 0)
        if epoch != self._epoch:
            raise FenceLost(
                f"expected to own epoch {self._epoch} of {self.path}, got {epoch}: another node took over",
                hint="run one node for each data folder; this one stops, and must not be restarted by itself",
            )

    def _require_next(self, record: TurnRecord) -> None:
        state = self._state
        if (record.turn, record.from_offset) != (state.turn + 1, state.offset) or record.to_offset < state.offset:
            raise InternalError(
                f"expected turn {state.turn + 1} from offset {state.offset}, "
                f"got turn {record.turn} from offset {record.from_offset} to {record.to_offset}"
            )

    def _insert(self, form: RowFormat, turn: int, content: np.ndarray | None, totals: dict[str, int]) -> int:
        if content is None or not len(content):
            return 0
        key = {"turn": turn, "row": np.arange(len(content))} if form is ALERTS else {"turn": turn}
        self.db.executemany(form.insert, form.pack(form.stored(content, **key)))
        totals[form.table] = totals.get(form.table, 0) + len(content)
        return len(content)

    # -- opening

    def _find_lost_commits(self) -> None:
        """Log commits in the WAL that damage has cut off. The journal gives their readings again."""
        with schema.translated(self.path):
            (page_bytes,) = self.db.execute("PRAGMA page_size").fetchone()
            _, frames, _ = self.db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self.lost_commits = wal.passed_over(self.path.with_name(self.path.name + "-wal"), max(frames, 0), page_bytes)
        if self.lost_commits > 1:
            log.error("[Store-%s] damage in the WAL cut off the last %d commits: their readings are folded again",
                      self._instance, self.lost_commits)  # fmt: skip

    def _require_recoverable(self) -> None:
        """Check what a start relies on: definitions, meta, blocks, snapshots and recent turns."""
        with schema.translated(self.path):
            problem = schema.schema_problem(self.db)
            if problem:
                raise DamagedFile(f"{self.path} is damaged: {problem}")
            for table in ("meta", "blocks", "rolled", "snapshots", "turns"):
                self._require_structure(table)
            for table in ("meta", "blocks", "rolled", "snapshots"):
                for row in self.db.execute(f"SELECT * FROM {table}"):
                    self._require_sound(row, table)
        self._require_row_of_turns()

    def _require_structure(self, table: str) -> None:
        (answer,) = self.db.execute(f"PRAGMA quick_check('{table}')").fetchone()
        if answer != "ok":
            raise DamagedFile(f"{self.path} is damaged: {answer}")

    def _require_row_of_turns(self) -> None:
        snapshots = self.snapshots()
        if snapshots and self._read_state().turn < snapshots[0][0]:
            raise DamagedFile(f"{self.path} is damaged: it ends before turn {snapshots[0][0]}, of which a snapshot is")
        previous: TurnRecord | None = None
        for record in self.turns(snapshots[-1][0] - 1 if snapshots else 0):
            if previous and (record.turn, record.from_offset) != (previous.turn + 1, previous.to_offset):
                raise DamagedFile(f"{self.path} is damaged: turn {previous.turn} is followed by turn {record.turn}")
            previous = record

    def _take_fence(self) -> int:
        with schema.transaction(self.db, self.path):
            epoch = int(schema.get_meta(self.db, "epoch", self.path) or 0) + 1
            schema.put_meta(self.db, "epoch", str(epoch))
            self._note_owner()
        return epoch

    def _note_owner(self) -> None:
        """Note the instance and the node, inside a transaction."""
        wanted = {"instance": self._instance, "node": format_node(self._node) if self._node else ""}
        for key, value in wanted.items():
            if value and schema.get_meta(self.db, key, self.path) != value:
                schema.put_meta(self.db, key, value)

    def _load_totals(self) -> dict[str, int]:
        """The row counts written last, by a turn or by retention."""
        kept = json.loads(schema.get_meta(self.db, "totals", self.path) or "{}")
        row = self._last_turn()
        if row is not None and row[0] > kept.get("turn", -1):
            return json.loads(row[13])
        return {key: value for key, value in kept.items() if key != "turn"}


def distrust_mark(path: Path) -> Path:
    """The file that marks a store in which damage was found while it was in use."""
    return path.with_name(path.name + ".distrusted")
