"""Writes to Redis after each commit: output streams, the committed position, and the latest row of each block.

The server keeps a position beside each stream.  It moves in the transaction that adds the entries, so a crash of the node sends no
entry twice.  Where the server has lost it, the node's own file says what was sent, and some entries may come twice.
"""

import logging
import threading
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from redis.exceptions import ResponseError, WatchError

from corec._core.dtypes import AGGREGATE
from corec.common.clock import MACHINE, Clock
from corec.common.retrying_thread import RetryingThread
from corec.common.units import MB
from corec.config.servers import RedisServer
from corec.engine.outcome import Outcome
from corec.errors import CoreCError, ServerError, StorageError
from corec.pipeline.plugin_entries import OWN_PREFIX, unpack_entry
from corec.storage import disk
from corec.streams.redis.accounts import write_accounts
from corec.streams.redis.keys import FIELD, committed_key
from corec.streams.redis.link import Connect, RedisLink

log = logging.getLogger("corec.node.outputs")

#: Rows of the outbox that are read at once.
ROWS = 500
#: Approximate size of an output stream in bytes, and the least and largest MAXLEN that may follow from it.
STREAM_BYTES = 16 * MB
LENGTHS = (100, 100_000)
MARK_S = 0.1
CACHE_S = 1.0
#: Accounts of producers written each MARK_S, at most.
MOST_ACCOUNTS = 200
#: Blocks written to the cache at once, 1 ms of work, and the pause in s between two writes, so that alerts go first.  A block that
#: changes more often than that is written with its latest row only.
CACHE_BLOCKS, CACHE_PAUSE_S = 24, 0.004
#: Key of a cursor for the position of a shard's outputs, beside those of streams.
SENT = "sent"
COLUMNS = ("canal", "window", "count", "mean", "min", "max", "std", "errors", "messages", "fitness", "score")
COLUMN_INDEXES = [(name, AGGREGATE.names.index(name)) for name in COLUMNS]


class Outputs(RetryingThread):
    """A thread that is woken by each commit.  When it stops, it sends what is left, if the server is there."""

    def __init__(self, server: RedisServer, store: Any, block_ids: Any, *, folder: Path | None, instance: str, shard: int = 0,
                 position: int = 0, clock: Clock = MACHINE, connect: Connect | None = None) -> None:  # fmt: skip
        """store: returns the store.  block_ids: returns the ids of the blocks.  folder: for the file with the position; without a
        folder, *position* is the last known one."""
        super().__init__("redis-outputs", f"Outputs-{instance}", log, meanwhile="output streams wait in the store", clock=clock)
        self._link = RedisLink(server, connect=connect)
        self._store, self._block_ids, self._instance = store, block_ids, instance
        self._file = folder and folder / "sent"
        self._shard, self._mark_key = shard, committed_key(shard)
        self._position = position or self._saved_position()
        self._sizes: dict[str, float] = {}
        self._refused: set[str] = set()
        self._lock = threading.Lock()
        self._marks: dict[str, str] = {}
        self._accounts: dict[tuple[int, int], list[int]] = {}   # of producers, not written yet
        self._fresh: list[np.ndarray] = []      # rows of turns, for the thread to sort
        self._latest: dict[int, tuple[Any, ...]] = {}   # block -> its newest row that is not in the cache
        self._due: list[int] = []   # blocks to be written in this second
        self._behind = True     # whether the outbox may hold what was not sent
        self._marked_at = self._cached_at = self._saved_at = 0.0
        self.sent = 0
        self._took = False  # whether the server took something in this pass

    def committed(self, outcome: Outcome, cursor: dict[str, str], run: str, accounts: list[list[int]]) -> None:
        """Send the results of a durable turn.

        cursor: stream -> newest entry.  run: the id of the server's run, "" without intake.  accounts: of producers, those that changed.
        """
        marks = {stream: place.partition(" ")[0] for stream, place in cursor.items() if stream != SENT}
        with self._lock:
            self._marks = {**marks, "run": run} if marks and run else self._marks
            self._fresh.append(outcome.aggregates)
        self.take_accounts(accounts)
        self._wake.set()

    def take_accounts(self, rows: list[list[int]]) -> None:
        """Write accounts of producers, as `Marks.to_list` gives them."""
        with self._lock:
            self._accounts |= {(row[0], row[1]): row for row in rows}

    @property
    def position(self) -> int:
        """The number of the last outbox entry that the server has; from any thread."""
        return self._position

    # -- the thread

    def _pass(self) -> float:
        self._sort()
        self._hand_over()
        return CACHE_PAUSE_S if self._due else MARK_S if self._marks or self._accounts or self._latest else CACHE_S

    def _end(self) -> None:
        self._marked_at = self._cached_at = 0.0
        self._sort()
        try:
            self._hand_over()
            while self._due or self._accounts:
                self._marked_at = 0.0
                self._hand_over()
        except CoreCError as error:
            self._failed(error)
        self._save_position()
        self._link.close()

    def _sort(self) -> None:
        """Keep the newest row of each block."""
        with self._lock:
            fresh, self._fresh = self._fresh, []
        self._behind = self._behind or bool(fresh)
        for rows in fresh:
            self._latest.update(zip(rows["block"].tolist(), rows.tolist(), strict=True))

    def _hand_over(self) -> None:
        with self._link.errors("take what was committed"):
            if self._behind or not self._due:   # else only the cache has work left, and the store need not be read
                while self._send_some() == ROWS:
                    pass
                self._behind = False
            self._mark()
            self._cache()
        if self._took:  # a pass that had nothing to write cannot tell whether the server takes it
            self._recovered()
        self._took = False

    def _failed(self, error: CoreCError) -> None:
        if isinstance(error, ServerError):
            super()._failed(error)
        else:  # the store is being replaced or is away: try again later
            log.debug("[Outputs-%s] %s", self._instance, error)

    def _send_some(self) -> int:
        with self._store().reader() as reader:
            rows = reader.outbox_behind(self._position, ROWS)
        for stream, group in groupby(sorted(rows, key=itemgetter(1)), key=itemgetter(1)):
            self._send(stream, list(group))
        if rows:
            self._position = rows[-1][0]
            if self._clock.steady_s() - self._saved_at > CACHE_S:
                self._save_position()
        return len(rows)

    def _send(self, stream: str, rows: list[tuple[int, str, int, bytes]]) -> None:
        """Send in a transaction that watches the position, since an earlier owner of the shard may still send."""
        client, key = self._link.client(stream), position_key(stream, self._instance)
        with client.pipeline(transaction=True) as pipe:
            pipe.watch(key)
            position = int(pipe.get(key) or 0)
            rows = [row for row in rows if row[0] > position]
            if not rows:
                self._took = True
                return
            pipe.multi()
            for _, _, _, entry in rows:
                pipe.xadd(stream, fields_of(stream, entry), maxlen=self._length(stream, len(entry)), approximate=True)
            pipe.set(key, rows[-1][0])
            try:
                pipe.execute()
            except ResponseError as error:
                self._refuse(stream, error)
            except WatchError:  # another process was first, or the answer was lost: read the position again
                self._send(stream, rows)
                return
        self.sent += len(rows)
        self._took = True

    def _refuse(self, stream: str, error: ResponseError) -> None:
        """Drop the entries of a stream whose key holds another type; the other streams go on."""
        if "WRONGTYPE" not in str(error):
            raise error
        if stream not in self._refused:
            log.error("[Outputs-%s] %s holds something else than a stream: what is meant for it is not sent", self._instance, stream)
        self._refused.add(stream)

    def _length(self, stream: str, size: int) -> int:
        mean = self._sizes[stream] = 0.9 * self._sizes.get(stream, size) + 0.1 * size
        return min(max(int(STREAM_BYTES / (mean + 32)), LENGTHS[0]), LENGTHS[1])

    def _mark(self) -> None:
        """Write the committed positions, up to which senders need not keep their batches, and accounts of producers."""
        if self._clock.steady_s() - self._marked_at < MARK_S:
            return
        self._marked_at = self._clock.steady_s()
        self._write_accounts()
        with self._lock:
            marks = self._marks
        if not marks:
            return
        self._link.client(self._mark_key).hset(self._mark_key, mapping=marks)
        self._took = True
        with self._lock:
            if self._marks is marks:
                self._marks = {}

    def _write_accounts(self) -> None:
        with self._lock:
            chosen = list(islice(self._accounts.values(), MOST_ACCOUNTS))
        if not chosen:
            return
        write_accounts(self._link, self._shard, chosen)
        self._took = True
        with self._lock:
            for row in chosen:
                if self._accounts[key := (row[0], row[1])] is row:
                    del self._accounts[key]

    def _cache(self) -> None:
        """Write the latest rows of changed blocks to hashes, once a second, CACHE_BLOCKS at a time."""
        if not self._due and self._clock.steady_s() - self._cached_at >= CACHE_S:
            self._cached_at, self._due = self._clock.steady_s(), list(self._latest)
        if not self._due:
            return
        chosen = self._due[:CACHE_BLOCKS]
        names = self._block_ids()
        by_server: dict[str, list[tuple[str, tuple[Any, ...]]]] = {}
        for block in chosen:
            key = cache_key(names[block])
            by_server.setdefault(self._link.address_of(key), []).append((key, self._latest[block]))
        for rows in by_server.values():
            with self._link.client(rows[0][0]).pipeline(transaction=False) as pipe:
                for key, row in rows:
                    pipe.hset(key, mapping={**{name: row[index] for name, index in COLUMN_INDEXES}, "instance_id": self._instance})
                pipe.execute()
        self._took, self._due = True, self._due[CACHE_BLOCKS:]
        for block in chosen:
            del self._latest[block]

    def _saved_position(self) -> int:
        if self._file is None:
            return 0
        try:
            return int(self._file.read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def _save_position(self) -> None:
        self._saved_at = self._clock.steady_s()
        if self._file is None:
            return
        try:
            disk.replace_text(self._file, str(self._position))
        except StorageError as error:
            log.debug("[Outputs-%s] %s", self._instance, error)


def cache_key(block: str) -> str:
    """The key of the hash with a block's latest row."""
    return f"corec:bloque:{block}"


def position_key(stream: str, instance: str) -> str:
    """The key of the number of the last entry sent, in the cluster slot of the stream."""
    return f"{stream}:sent:{instance}" if "{" in stream else f"{{{stream}}}:sent:{instance}"


def fields_of(stream: str, entry: bytes) -> dict[Any, Any]:
    """The fields of an outbox entry: {"m": frames} for the node's own streams, else the plugin's fields."""
    return {FIELD: entry} if stream.startswith(OWN_PREFIX) else unpack_entry(entry)[1]
