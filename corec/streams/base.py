"""The interface of a log of batches."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from corec.common.units import MB


class Entry(NamedTuple):
    """One accepted batch, as a log of readings holds it."""

    offset: int  # 1, 2, 3 ... over the whole life of the log
    arrival: int  # ms since 1970
    payload: bytes  # an envelope; the log does not look inside


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
