"""Snapshots on their way: begun between two turns, handed on a few segments at a time, finished in a thread."""
import logging
import threading
import time
from typing import Any

from corec.common.trouble import Trouble
from corec.errors import CoreCError, DamagedFile, FenceLost
from corec.pipeline.flash import FlashBudget
from corec.pipeline.recovery import Opened
from corec.storage.snapshots import SnapshotWriter

log = logging.getLogger("corec.node.checkpoints")

#: Readings whose replay takes about a third of a second.
REPLAYED_READINGS = 3_000_000
#: Where a budget of flash makes writes rarer, a tail may take so many times longer to replay.
MOST_REPLAY_FACTOR = 10.0
#: A node that hears little still takes a snapshot this often, so that the journal can be trimmed.
LONGEST_S = 600.0
#: A stop leaves a tail of this many readings, a hundredth of a second of replay, without a snapshot.
FEW_READINGS = 100_000
#: A journal with a bound is trimmed behind a snapshot when it is this full ...
FULL_SHARE = 0.7
#: ... and this share of it is new since the last one.
NEW_SHARE = 0.1
#: Streams and a spool that are this full are trimmed behind snapshots that are this far apart.
ROOM_EVERY_S = 2.0
#: Segments handed on between two turns: about 3 ms of compression.
AT_ONCE = 24


class Checkpoints:
    """Takes a snapshot when the tail to replay has grown, and trims the journal behind it.

    Used by the pipeline's thread; only `finish`, which waits for the disk, runs in a thread of its own.
    """

    def __init__(self, opened: Opened, instance: str, flash: FlashBudget) -> None:
        self._opened, self._flash = opened, flash
        self._instance = instance
        self._writer: SnapshotWriter | None = None
        self._finishing: threading.Thread | None = None
        self._done: SnapshotWriter | None = None
        self._readings, self._bytes = opened.tail, 0
        self._began = time.monotonic()
        self._journal_at = self._written()
        self.trouble = Trouble(log, f"Checkpoints-{instance}")
        self.count = 0
        self.last_ms = 0.0
        self.last_bytes = 0

    @property
    def busy(self) -> bool:
        """Whether a snapshot is on its way."""
        return self._writer is not None or self._finishing is not None

    def status(self) -> dict[str, Any]:
        """Snapshots since the start, and the time and bytes of the last one."""
        return {"since_start": self.count, "last_ms": self.last_ms, "last_bytes": self.last_bytes}

    def committed(self, readings: int) -> None:
        """A turn was committed; the engine stands exactly where the store does."""
        self._readings += readings
        if not self.busy and self._readings and self._is_due():
            self.begin()

    def make_room(self) -> None:
        """Between two turns, also while nothing comes: senders may be waiting for what a snapshot lets go of."""
        intake, since = self._opened.intake, time.monotonic() - self._began
        if self.busy or since < ROOM_EVERY_S * self._flash.interval_factor or intake.fullness < FULL_SHARE:
            return
        if intake.first <= self._opened.store.state.offset:
            self.begin()

    def _is_due(self) -> bool:
        since = time.monotonic() - self._began
        most = REPLAYED_READINGS * min(self._flash.interval_factor, MOST_REPLAY_FACTOR)
        return self._readings >= most or since >= LONGEST_S or self._journal_needs_room()

    def _journal_needs_room(self) -> bool:
        journal, fresh = self._opened.journal, self._written() - self._journal_at
        return journal is not None and journal.fullness >= FULL_SHARE and fresh >= NEW_SHARE * journal.max_bytes

    def _written(self) -> int:
        return self._opened.journal.written_bytes if self._opened.journal else 0

    def begin(self) -> None:
        """Begin a snapshot of this moment."""
        engine, store, snapshots = self._opened.engine, self._opened.store, self._opened.snapshots
        self._began, self._readings, self._bytes = time.monotonic(), 0, 0
        self._journal_at = self._written()
        meta = engine.snapshot_begin(owed=snapshots.owed)
        try:
            self._writer = snapshots.begin(meta, store.state.turn, store.state.offset)
        except CoreCError as error:
            self._failed(error)

    def work(self) -> None:
        """Hand on a few segments; take note of a snapshot that became durable."""
        if self._writer:
            self._hand_on(self._writer)
        if self._finishing and not self._finishing.is_alive():
            self._settle()

    def end(self, by: float, *, whole: bool = False) -> None:
        """Leave a snapshot that the next start is quick with, if it is ready in time; else the log has the tail.

        whole: of a little tail too, where the log may be lost meanwhile.
        """
        little = 1 if whole else FEW_READINGS
        while (left := by - time.monotonic()) > 0 and (self.busy or self._readings >= little):
            if not self.busy:
                self.begin()
            if self._finishing:
                self._finishing.join(left)
            self.work()
        self._leave()

    def _leave(self) -> None:
        """Give up what did not get ready in time."""
        if self._writer:
            self._writer.abandon()
        elif self._finishing and self._finishing_writer.cancel():
            log.info("[Checkpoints-%s] the disk is slow: the stop leaves its snapshot to the next start", self._instance)
        elif self._finishing:
            self._finishing.join()
            self._settle()
        self._writer, self._finishing = None, None

    def _hand_on(self, writer: SnapshotWriter) -> None:
        engine = self._opened.engine
        try:
            for segment, piece in engine.snapshot_segments(AT_ONCE):
                writer.add(segment, piece)
                self._bytes += len(piece)
        except CoreCError as error:
            self._writer = None
            self._failed(error)
            return
        if not engine.snapshot_pending:
            self._writer, self._done = None, None
            self._finishing_writer = writer
            self._finishing = threading.Thread(target=self._finish, args=(writer,), name="snapshot", daemon=True)
            self._finishing.start()

    def _finish(self, writer: SnapshotWriter) -> None:
        try:
            with writer:
                writer.finish()
            self._done = writer
        except CoreCError as error:
            self._failed(error)

    def _settle(self) -> None:
        self._finishing = None
        if self._done is None:
            return
        head = self._done.head
        self.count += 1
        self.last_ms = 1000 * (time.monotonic() - self._began)
        self.last_bytes = self._bytes
        try:
            if self._opened.store.note_snapshot(head.turn, head.offset, head.generation):
                self._opened.intake.trim(self._opened.snapshots.safe_offset)
            self.trouble.over()
        except (DamagedFile, FenceLost):
            raise
        except CoreCError as error:
            self._failed(error)

    def _failed(self, error: CoreCError) -> None:
        self.trouble.met("no snapshot this time, the journal is kept", error)
