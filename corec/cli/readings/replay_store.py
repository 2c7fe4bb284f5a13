"""Stores the results of a replay in a data folder, which a node can then continue."""

from pathlib import Path
from types import TracebackType

import numpy as np

from corec.common.units import MB
from corec.engine import Engine
from corec.engine.outcome import Outcome
from corec.errors import StorageError
from corec.pipeline.recovery import commit
from corec.storage.base import StoredBlock, TurnRecord
from corec.storage.folder import DataFolder
from corec.storage.snapshots import Snapshots
from corec.storage.sqlite.store import SqliteStore

#: Rows of one transaction.
ROWS = 20_000


class ReplayStore:
    """Commits outcomes, ROWS rows at a time, and writes a snapshot at the end."""

    def __init__(self, into: Path, engine: Engine) -> None:
        self._engine = engine
        self._folder = DataFolder(into)
        config = engine.config
        try:
            self._store = SqliteStore(
                self._folder.store, instance=config.instance_id, messages_bytes=config.mensajes_mb * MB
            )
            if self._store.state.turn or any(self._folder.journal.iterdir()):
                hint = "name a new folder with --into, or remove this one"
                raise StorageError(
                    f"expected an empty folder for the results, got one with results - at {into}", hint=hint
                )
        except BaseException:
            self._folder.close()
            raise
        blocks = engine.blocks
        self._store.set_blocks(
            [
                StoredBlock(i, name, int(blocks[i]["canal"]), int(blocks[i]["entities"]))
                for i, name in enumerate(engine.block_ids)
            ]
        )
        self._gathered: list[Outcome] = []
        self._rows = 0

    def __enter__(self) -> "ReplayStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._commit()
                self._leave_snapshot()
        finally:
            self._store.close()
            self._folder.close()

    def add(self, outcome: Outcome) -> None:
        if outcome.empty:
            return
        self._gathered.append(outcome)
        self._rows += len(outcome.aggregates) + len(outcome.alerts) + len(outcome.messages)
        if self._rows >= ROWS:
            self._commit()

    def _commit(self) -> None:
        if not self._gathered:
            return
        turn, engine = self._store.state.turn + 1, self._engine
        record = TurnRecord(turn, 0, 0, 0, 0, [], engine.config.digest, engine.clock)
        commit(self._store, record, _joined(self._gathered), engine)
        self._gathered, self._rows = [], 0

    def _leave_snapshot(self) -> None:
        turn = self._store.state.turn
        snapshots, meta = Snapshots(self._folder.snapshots), self._engine.snapshot_begin(whole=True)
        snapshots.load()
        generation = snapshots.write(
            meta, self._engine.snapshot_segments(), turn=turn, offset=0, live=self._engine.heard_segments
        )
        self._store.note_snapshot(turn, 0, generation)


def _joined(outcomes: list[Outcome]) -> Outcome:
    arrays = {
        name: np.concatenate([getattr(one, name) for one in outcomes]) for name in ("aggregates", "messages", "alerts")
    }
    return Outcome(**arrays, aside=[batch for one in outcomes for batch in one.aside])
