"""A model of what a fleet has in PostgreSQL: stores with a fence, whose commit is one transaction, and snapshots behind the same fence.

    database = ModelPostgres(world, folder)
    shard = open_shard(config, 0, woken, clock=process, connect=..., snapshots_of=database.snapshots_of(process),
                       store_of=database.store_of(process))

A turn is committed if its owner has the newest epoch, once however often it is tried.  Rows are in SQLite files.
"""
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from corec.config import Config
from corec.errors import FenceLost, ServerAway
from corec.simulation import Process, World
from corec.storage.base import StoreBase, TurnRecord
from corec.storage.postgres.snapshots import KEPT, PostgresSnapshots
from corec.storage.snapshots import Snapshot
from corec.storage.snapshots.files import Head
from corec.storage.sqlite.store import SqliteStore


class ModelPostgres:
    """The server.  lost_share: how many of the answers to commits get lost, 0 to 1."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self._folder = world, folder
        self.away_until = 0.0
        self.lost_share = 0.0
        self.epochs: dict[int, int] = {}  # shard -> of its newest owner
        self.generations: dict[int, list[tuple[Head, bytes, dict[int, bytes]]]] = {}  # shard -> newest first
        self._opened: list[ModelStore] = []

    def reach(self, process: Process) -> None:
        """ServerAway where it does not answer."""
        process.point()
        if self.world.now < self.away_until:
            raise ServerAway("PostgreSQL cannot be reached", hint="wait")

    def store_of(self, process: Process) -> Callable[..., Any]:
        def opened(config: Config, shard: int, base: StoreBase, clock: Any) -> Any:
            self.reach(process)
            self._opened.append(ModelStore(self, process, shard, self._folder / f"shard-{shard}.db", base))
            return self._opened[-1], NoRetention()

        return opened

    def snapshots_of(self, process: Process) -> Callable[..., Any]:
        return lambda config, shard: ModelSnapshots(self, process, shard)

    def close_of(self, process: Process) -> None:
        """Close what a killed process has open."""
        for store in [store for store in self._opened if store.process is process]:
            store.close()
            self._opened.remove(store)


class NoRetention:
    def run(self, *given: Any, **how: Any) -> None:
        """Old rows stay."""


class ModelStore(SqliteStore):
    """The store of one shard.  Opening it takes the fence."""

    def __init__(self, database: ModelPostgres, process: Process, shard: int, path: Path, base: StoreBase) -> None:
        super().__init__(path, instance="fleet", base=base)
        self._database, self.process = database, process
        self.epoch = database.epochs[shard] = database.epochs.get(shard, 0) + 1

    def commit(self, record: TurnRecord, **parts: Any) -> None:
        self._database.reach(self.process)
        if self._state.turn != record.turn:  # else the answer to an earlier try was lost
            super().commit(record, **parts)
        else:
            with self.write():
                pass
        self.process.point()
        if self._database.world.random.random() < self._database.lost_share:
            raise ServerAway("the answer of PostgreSQL was lost", hint="wait")

    def reader(self) -> Any:
        self._database.reach(self.process)
        return super().reader()


class ModelSnapshots(PostgresSnapshots):
    """The snapshots of one shard."""

    def __init__(self, database: ModelPostgres, process: Process, shard: int) -> None:
        super().__init__(None, instance="fleet", shard=shard)
        self._database, self._process, self._shard = database, process, shard

    def load(self, upto_turn: int | None = None) -> Snapshot | None:
        self._database.reach(self._process)
        kept = self._database.generations.setdefault(self._shard, [])
        found = [each for each in kept if upto_turn is None or each[0].turn <= upto_turn]
        self._heads = [head for head, _, _ in found[:KEPT]]
        if not found:
            return None
        head, meta, segments = found[0]
        self._segments = set(segments)
        return Snapshot(meta, dict(segments), head.turn, head.offset, head.generation)

    def keep_generation(self, head: Head, meta: bytes, blobs: Mapping[int, bytes], live: Collection[int]) -> None:
        self._database.reach(self._process)
        if self.epoch is not None and self._database.epochs[self._shard] != self.epoch:
            raise FenceLost(f"expected to own epoch {self.epoch}, got {self._database.epochs[self._shard]}")
        kept = self._database.generations.setdefault(self._shard, [])
        before = kept[0][2] if kept else {}
        segments = {number: blob for number, blob in before.items() if number in (set(live) if live else self._segments)} | dict(blobs)
        head = head._replace(generation=kept[0][0].generation + 1 if kept else 1)
        kept[:] = [(head, meta, segments), *kept[: KEPT - 1]]
        self._heads, self._segments, self.owed = [head, *self._heads[: KEPT - 1]], set(segments), frozenset()
