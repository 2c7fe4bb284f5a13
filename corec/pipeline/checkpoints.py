"""Takes snapshots: begins them between two turns, writes a few segments at a time, and finishes them in a thread."""
import logging
from functools import partial
from typing import Any

from corec.common.clock import Clock, Driver
from corec.common.trouble import Trouble
from corec.errors import CoreCError, DamagedFile, FenceLost
from corec.pipeline.flash import FlashBudget
from corec.pipeline.recovery import Opened
from corec.storage.snapshots import SnapshotWriter

log = logging.getLogger("corec.node.checkpoints")

#: Readings since the last snapshot at which the next one is due; their replay takes about a third of a second.
REPLAYED_READINGS = 3_000_000
#: A flash budget may raise that number by at most this factor.
MOST_REPLAY_FACTOR = 10.0
#: Seconds after which a node with few readings takes a snapshot, so that the journal can be trimmed.
LONGEST_S = 600.0
#: A stop takes no snapshot for fewer readings than this, which replay in a hundredth of a second.
FEW_READINGS = 100_000
#: A journal with a bound is trimmed behind a snapshot when it is this full ...
FULL_SHARE = 0.7
#: ... and this share of it is new since the last one.
NEW_SHARE = 0.1
#: Least seconds between two snapshots that make room in full streams or a full spool.
ROOM_EVERY_S = 2.0
#: Segments written between two turns: about 3 ms of compression.
AT_ONCE = 24


class Checkpoints:
    """Takes a snapshot when enough readings would have to be replayed, and trims the journal behind it.

    Used by the pipeline's thread; only `finish`, which waits for the disk, runs in a thread of its own.
    """

    def __init__(self, opened: Opened, instance: str, flash: FlashBudget, clock: Clock) -> None:
        self._opened, self._flash, self._clock = opened, flash, clock
        self._instance = instance
        self._writer: SnapshotWriter | None = None
        self._finishing: Driver | None = None
        self._done: SnapshotWriter | None = None
        self._readings, self._bytes = opened.replayed_readings, 0
        self._began = self._clock.steady_s()
        self._journal_at = self._written()
        self.trouble = Trouble(log, f"Checkpoints-{instance}", clock=clock)
        self.count = 0
        self.last_ms = 0.0
        self.last_bytes = 0

    @property
    def busy(self) -> bool:
        """Whether a snapshot is under way."""
        return self._writer is not None or self._finishing is not None

    def status(self) -> dict[str, Any]:
        """Snapshots since the start, and the time and bytes of the last one."""
        return {"since_start": self.count, "last_ms": self.last_ms, "last_bytes": self.last_bytes}

    def committed(self, readings: int) -> None:
        """Count the readings of a committed turn, and begin a snapshot when one is due.  Engine and store are at the same turn."""
        self._readings += readings
        if not self.busy and self._readings and self._is_due():
            self.begin()

    def make_room(self) -> None:
        """Begin a snapshot where streams or spool are full, since senders may wait for room.  Call it also while no readings come."""
        intake, since = self._opened.intake, self._clock.steady_s() - self._began
        if self.busy or since < ROOM_EVERY_S * self._flash.interval_factor or intake.fullness < FULL_SHARE:
            return
        if intake.first <= self._opened.store.state.offset:
            self.begin()

    def _is_due(self) -> bool:
        since = self._clock.steady_s() - self._began
        most = REPLAYED_READINGS * min(self._flash.interval_factor, MOST_REPLAY_FACTOR)
        return self._readings >= most or since >= LONGEST_S or self._journal_needs_room()

    def _journal_needs_room(self) -> bool:
        journal, fresh = self._opened.journal, self._written() - self._journal_at
        return journal is not None and journal.fullness >= FULL_SHARE and fresh >= NEW_SHARE * journal.max_bytes

    def _written(self) -> int:
        return self._opened.journal.written_bytes if self._opened.journal else 0

    def begin(self) -> None:
        """Begin a snapshot of the engine as it is now."""
        engine, store, snapshots = self._opened.engine, self._opened.store, self._opened.snapshots
        self._began, self._readings, self._bytes = self._clock.steady_s(), 0, 0
        self._journal_at = self._written()
        meta = engine.snapshot_begin(owed=snapshots.owed)
        try:
            self._writer = snapshots.begin(meta, store.state.turn, store.state.offset)
        except CoreCError as error:
            self._failed(error)

    def work(self) -> None:
        """Write the next segments; record a snapshot that became durable, and trim behind it."""
        if self._writer:
            self._hand_on(self._writer)
        if self._finishing and not self._finishing.alive:
            self._settle()

    def end(self, by: float, *, whole: bool = False) -> None:
        """Take a last snapshot, so that the next start is quick, if it can be durable *by* this moment (s, monotonic).

        whole: also where only few readings would have to be replayed, because the journal may be lost meanwhile.
        """
        little = 1 if whole else FEW_READINGS
        while (left := by - self._clock.steady_s()) > 0 and (self.busy or self._readings >= little):
            if not self.busy:
                self.begin()
            if self._finishing:
                self._finishing.join(left)
            self.work()
        self._leave()

    def _leave(self) -> None:
        """Give up a snapshot that is not ready in time."""
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
            self._finishing = self._clock.drive(partial(self._finish, writer), name="snapshot")
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
        self.last_ms = 1000 * (self._clock.steady_s() - self._began)
        self.last_bytes = self._bytes
        try:
            if self._opened.store.note_snapshot(head.turn, head.offset, head.generation):
                self._opened.intake.trim(self._opened.snapshots.safe_offset)
            self.trouble.recovered()
        except (DamagedFile, FenceLost):
            raise
        except CoreCError as error:
            self._failed(error)

    def _failed(self, error: CoreCError) -> None:
        self.trouble.failed("no snapshot this time, the journal is kept", error)
