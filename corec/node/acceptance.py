"""Takes in the readings of this process: numbers them, makes them durable, and counts those for which there is no room."""
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from corec._core.wire import FRAME_BYTES
from corec.common.clock import Clock
from corec.common.units import MB
from corec.config import Config
from corec.config.registered import FIRST_ID
from corec.errors import DiskFull
from corec.node.refused import FLOOD, Refused
from corec.pipeline.turns import Pipeline
from corec.streams.journal import Journal
from corec.streams.journal.group_commit import GROUP_BYTES, GroupCommitter
from corec.streams.reach import EnvelopePiece, cut_to_reach
from corec.streams.redis.keys import CRITICAL_CHANNELS
from corec.streams.sending.producer import Producer
from corec.streams.sending.unsent import future_of

if TYPE_CHECKING:
    from corec.publish import Publisher  # redis is loaded only where it is configured

#: Place of the channel in a frame.
CHANNEL = 4


class Acceptance:
    """Takes readings from any thread, once `begin` was called."""

    def __init__(self, config: Config, pipeline: Callable[[], Pipeline], clock: Clock) -> None:
        """pipeline: gives the one at work; a recovery replaces it."""
        self._config, self._pipeline, self._clock = config, pipeline, clock
        self._producer = Producer(f"{config.instance_id}/submit", clock)
        self._publisher: Publisher | None = None
        self.committer: GroupCommitter
        self.refused = Refused()

    def begin(self, journal: Journal, publisher: "Publisher | None", *, reads_redis: bool) -> None:
        """Take readings into *journal*, or where the node has a Redis hand them to its *publisher*."""
        self._publisher = publisher
        if reads_redis:
            self.committer = publisher.unsent.committer
        else:
            self.committer = GroupCommitter(journal, on_commit=lambda _: self._pipeline().accepted(), instance=self._config.instance_id,
                                            stamp=lambda: self._pipeline().arrival.stamp_now(), clock=self._clock,
                                            group_bytes=min(GROUP_BYTES, self._config.max_disk_mb * MB // 8))  # fmt: skip
        self.committer.interval_factor = lambda: self._pipeline().flash.interval_factor

    def submit(self, frames: bytes, time: int, offsets: Any = None, producer: Producer | None = None) -> "Future[int]":
        """Hand in frames (n * 10 bytes) of *time* ms; the future resolves once they are durable.

        Blocks while the journal is behind.  The future fails with DiskFull when there is no room: those readings
        count as shed.
        """
        if self._publisher and not self._is_own(frames):
            return self._publisher.submit(frames, time, offsets, refused=self.refused.add_frames)
        return future_of([self._keep(piece, producer or self._producer) for piece in cut_to_reach(frames, time, offsets)])

    def shed(self, frames: bytes) -> None:
        """Count frames of a plugin that sends more than it may; they do not reach the journal."""
        self.refused.add_frames(frames, FLOOD)

    def count_shed(self, counts: Mapping[int, int]) -> None:
        """Count readings that the process of an isolated plugin dropped: channel -> how many."""
        self.refused.add(counts, FLOOD)

    def report_refused(self) -> None:
        """Have a turn count what was refused since the last report."""
        if command := self.refused.take():
            self._pipeline().command(command).add_done_callback(partial(self.refused.settle, command))

    def stop(self) -> None:
        """Make durable what was handed in, and take nothing more."""
        self.committer.stop()

    def _keep(self, piece: EnvelopePiece, producer: Producer) -> "Future[int]":
        frames, readings = piece.frames, len(piece.frames) // FRAME_BYTES
        channels = bytes(frames[CHANNEL::FRAME_BYTES])
        urgent = any(channel in channels for channel in CRITICAL_CHANNELS)     # security, AI, alerts: committed at once
        ticket = producer.send(frames, piece.time, piece.offsets, lambda envelope: self.committer.submit(
            envelope, readings=readings, urgent=urgent))  # fmt: skip
        ticket.add_done_callback(lambda done: self._settled(done, frames, urgent))
        return ticket

    def _is_own(self, frames: bytes) -> bool:
        """Whether these are of blocks that programs registered here, while workers have all others."""
        return bool(self._config.celery_config and frames) and frames[0] >= FIRST_ID >> 24

    def _settled(self, ticket: "Future[int]", frames: bytes, urgent: bool) -> None:
        problem = ticket.exception()
        if urgent and not problem:
            self._pipeline().accepted(urgent=True)
        if isinstance(problem, DiskFull):
            self.refused.add_frames(frames)
