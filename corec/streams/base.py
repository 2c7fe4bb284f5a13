"""The interface of a log of batches."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from corec._core.wire import FRAME_BYTES, HEADER, MAGIC, MAX_FRAMES, OFFSETS
from corec.common.units import MB

#: Bytes that a reading's own time adds in an envelope.
OFFSET_BYTES = 4


class Entry(NamedTuple):
    """One accepted batch, as a log of readings holds it."""

    offset: int  # 1, 2, 3 ... over the whole life of the log
    arrival: int  # ms since 1970
    payload: bytes  # an envelope; the log does not look inside


def unpacked_bytes(payload: bytes) -> int:
    """Bytes that a log's entry takes once its readings are unpacked, by its header: what a reader has to hold."""
    if len(payload) < HEADER.size or payload[:2] != MAGIC:
        return len(payload)
    flags, count = payload[3], int.from_bytes(payload[4:8], "big")
    return max(len(payload), min(count, MAX_FRAMES) * (FRAME_BYTES + (OFFSET_BYTES if flags & OFFSETS else 0)))


class Log(Protocol):
    """An append-only log with one writer and one reader, each in its own thread.

    An exception from `append` or `sync` takes back everything appended since the last `sync`.
    """

    @property
    def first(self) -> int:
        """Offset of the oldest entry kept; `last + 1` when the log is empty."""

    @property
    def last(self) -> int:
        """Offset of the newest durable entry; 0 before the first."""

    @property
    def size_bytes(self) -> int:
        """Disk space taken, including space that is allocated in advance."""

    def append(self, payloads: Sequence[bytes], arrival: int | Sequence[int]) -> int:
        """Buffer *payloads* and return the offset of the last. They are accepted only after `sync`.

        arrival: ms since 1970, for all of them or for each.
        """

    def sync(self) -> int:
        """Make all appended entries durable; return `last`."""

    def read(self, after: int, max_bytes: int = MB) -> list[Entry]:
        """Durable entries behind offset *after*: about *max_bytes*, and at least one if there is any."""

    def trim(self, upto: int) -> None:
        """Free the space of entries up to offset *upto*, as far as whole files allow it."""

    def close(self) -> None:
        """Make everything durable and close the files."""
