"""The unsent batches of a sender: numbered, in a journal of their own, kept until a node has committed them.

A batch keeps its number for ever, so it may be sent as often as necessary.
"""

import fcntl
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from corec._core.wire import FRAME_BYTES, pack_envelope
from corec.common.clock import MACHINE, Clock
from corec.common.file_lock import FileLock
from corec.common.trouble import Trouble
from corec.errors import FolderInUse, StorageError
from corec.storage import disk
from corec.storage.numbered import MOST_NUMBER
from corec.storage.private import make_private, open_private
from corec.streams.age import aged
from corec.streams.base import Entry
from corec.streams.journal import Journal
from corec.streams.journal.clock import JournalClock
from corec.streams.journal.group_commit import GroupCommitter
from corec.streams.sending.receipt import ProducerPart
from corec.streams.sending.routing import StreamPart

log = logging.getLogger("corec.streams.tail")

#: File with the offset up to which batches need not be sent again.
POSITION = "done"
#: Share of the bound above which `crowded` is true.
CROWDED = 0.7
#: File of the clock by which batches wait; it counts on over restarts, and from the wall clock after a start of the machine.
CLOCK = "clock"


class UnsentBatch(NamedTuple):
    """One batch and the stream that it goes to."""

    offset: int
    stream: str
    envelope: bytes


class SenderStats(NamedTuple):
    sent: int  # readings since the start, repeats included
    waiting: int  # batches that the server does not have
    kept: int  # batches that it has and no node has committed
    problem: str


class BatchNumbers:
    """The numbers of the batches for one stream.

    Each stream has its own: two streams are read in no fixed order, and with shared numbers a later batch would make an earlier
    one look like a repeat.
    """

    def __init__(self, name: str, stream: str, epoch: int) -> None:
        self.producer = int.from_bytes(blake2b(f"{name}|{stream}".encode(), digest_size=8).digest()) or 1
        self.epoch, self.sequence = epoch, 0
        self.refused = 0  # readings that got a number and no room

    def pack(self, part: StreamPart, time_ms: int) -> bytes:
        """The envelope of the next batch, with its number."""
        envelope = pack_envelope(part.frames, producer=self.producer, epoch=self.epoch, sequence=self.sequence, time=time_ms,
                                 offsets=part.offsets)  # fmt: skip
        self.sequence += len(part.frames) // FRAME_BYTES
        return envelope

    def count_refused(self, readings: int) -> None:
        self.refused += readings


class Unsent:
    """The folder of one sender, locked while it is open."""

    def __init__(self, folder: Path, name: str, *, max_bytes: int, on_commit: Callable[[int], None],
                 epoch: int | None = None, instance: str = "corec1", clock: Clock = MACHINE) -> None:
        """epoch: distinguishes one run of the sender from the next; taken from the clock by default.

        FolderInUse when another process has the folder open.
        """
        self._folder, self._name, self._max_bytes = Path(folder), name, max_bytes
        with disk.explained("open", self._folder):
            make_private(self._folder)
        self._folder_lock = self._take_lock()
        self._lock = threading.Lock()  # a batch gets its number and its offset together
        self._epoch = clock.wall_us() if epoch is None else epoch
        self._numbers: dict[str, BatchNumbers] = {}
        self.done = self._read_position()
        self.journal = Journal(self._folder, floor=self.done, max_bytes=max_bytes, instance=instance)
        self._clock = JournalClock(self._folder / CLOCK, clock)
        self.committer = GroupCommitter(self.journal, on_commit=on_commit, instance=instance, stamp=self._clock.now, clock=clock)
        self.done = max(self.done, self.journal.first - 1)
        self.trouble = Trouble(log, f"Tail-{instance}", clock=clock)

    def put(self, part: StreamPart, time_ms: int) -> "Future[int]":
        """Number a batch and write it; the future resolves to its offset once it is durable."""
        with self._lock:
            numbers = self._numbers.get(part.stream)
            if numbers is None:
                numbers = self._numbers[part.stream] = BatchNumbers(self._name, part.stream, self._epoch)
            record, readings = _record(part.stream, numbers.pack(part, time_ms)), len(part.frames) // FRAME_BYTES
            ticket = self.committer.submit(record, readings=readings, urgent=part.critical)
        ticket.add_done_callback(lambda done: numbers.count_refused(readings) if done.exception() else None)
        return ticket

    def read(self, after: int, max_bytes: int) -> list[UnsentBatch]:
        """Batches behind offset *after*, about *max_bytes*, with the age that they have now. Only one thread may read."""
        now = self._clock.now()
        return [_waiting(entry, now) for entry in self.journal.read(after, max_bytes)]

    def parts(self) -> list[ProducerPart]:
        """What was numbered since this was opened, by stream."""
        with self._lock:
            return [ProducerPart(stream, numbers.producer, numbers.epoch, numbers.sequence, numbers.sequence - numbers.refused)
                    for stream, numbers in self._numbers.items()]  # fmt: skip

    def part_of(self, stream: str) -> ProducerPart:
        """The producer that this is on a stream, before it has sent anything there."""
        return ProducerPart(stream, BatchNumbers(self._name, stream, self._epoch).producer, self._epoch, 0, 0)

    @property
    def last(self) -> int:
        return self.journal.last

    @property
    def crowded(self) -> bool:
        """Whether it takes more than CROWDED of its bound."""
        return self.journal.size_bytes > CROWDED * self._max_bytes

    def drop(self, upto: int) -> None:
        """Drop batches up to offset *upto*. A disk error here is logged and does not stop the sending."""
        if upto <= self.done:
            return
        self.done = upto
        try:
            self.journal.trim(upto)
            self._write_position()
            self.trouble.recovered()
        except StorageError as error:  # the next start sends these batches again, and the node drops the repeats
            self.trouble.failed(f"the tail of {self._name!r} does not note what is done", error)

    def close(self) -> None:
        """Make everything durable and unlock the folder."""
        self.committer.stop()
        self.journal.close()
        self._folder_lock.close()

    def _take_lock(self) -> FileLock:
        fd = open_private(self._folder / "lock", os.O_RDWR)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(fd)
            raise FolderInUse(f"expected a folder of its own for the tail of {self._name!r}, got one in use - at {self._folder}",
                              hint="give each sender that runs at the same time a name of its own") from error  # fmt: skip
        return FileLock(fd)

    def _read_position(self) -> int:
        try:
            position = int((self._folder / POSITION).read_text())
            return position if 0 <= position <= MOST_NUMBER else 0
        except (OSError, ValueError):
            return 0  # everything is sent again, and the node drops the repeats

    def _write_position(self) -> None:
        disk.replace_text(self._folder / POSITION, str(self.done))


def _record(stream: str, envelope: bytes) -> bytes:
    name = stream.encode()
    return bytes((len(name),)) + name + envelope


def _waiting(entry: Entry, now: int) -> UnsentBatch:
    end = 1 + entry.payload[0]
    return UnsentBatch(entry.offset, entry.payload[1:end].decode(), aged(entry.payload[end:], now - entry.arrival))


def readings_in(envelope: bytes) -> int:
    """Number of readings in an envelope, from its header."""
    return int.from_bytes(envelope[4:8])


def number_in(envelope: bytes) -> bytes:
    """Producer, epoch and sequence of an envelope, from its header: no other has the same."""
    return envelope[8:32]


def future_of(parts: "list[Future[int]]") -> "Future[int]":
    """One future for several. It resolves to the last result when all are done (0 for none); it fails as the first failure."""
    if len(parts) == 1:
        return parts[0]
    whole: Future[int] = Future()
    if not parts:
        whole.set_result(0)
    left = [len(parts)]
    lock = threading.Lock()

    def settled(_: Any) -> None:
        with lock:
            left[0] -= 1
            if left[0]:
                return
        problems = [problem for part in parts if (problem := part.exception())]
        whole.set_exception(problems[0]) if problems else whole.set_result(parts[-1].result())

    for part in parts:
        part.add_done_callback(settled)
    return whole
