"""Stream entries of plugins on their way to a commit: many of them do not hold up one that somebody waits for."""
import threading
import time
from collections import deque
from collections.abc import Callable

import msgspec

#: Bytes of entries that one commit takes, about: half a millisecond more on an SSD.
CHUNK_BYTES = 64 << 10
#: So few come along with any commit.
FEW_BYTES = 4 << 10
#: Seconds after which entries want a commit, and from twice that on they come along with any.
PATIENCE_S = 0.4

Sent = tuple[str, int, bytes]  # stream, time in ms, entry

#: Streams of the node itself hold frames; those of plugins hold fields.
OWN_PREFIX = "corec:"


def pack_entry(number: bytes, fields: dict[bytes, bytes]) -> bytes:
    """An entry of a plugin as the outbox keeps it."""
    return msgspec.msgpack.encode([number, fields])


def unpack_entry(blob: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    number, fields = msgspec.msgpack.decode(blob)
    return number, fields


class Outgoing:
    """A queue: filled from any thread, emptied by the pipeline, in order."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._entries: deque[tuple[Sent, bool]] = deque()
        self._lock = threading.Lock()
        self._bytes = self._urgent = 0
        self._since = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, entry: Sent, urgent: bool) -> bool:
        """Add one at the end; whether it is the only one."""
        with self._lock:
            if not self._entries:
                self._since = self._now()
            self._entries.append((entry, urgent))
            self._bytes += len(entry[2])
            self._urgent += urgent
            return len(self._entries) == 1

    @property
    def due(self) -> bool:
        """Whether there is enough for a commit, or it waited long enough."""
        return bool(self._entries) and (self._bytes >= CHUNK_BYTES or self._age() >= PATIENCE_S)

    def take(self, waited_for: bool) -> list[Sent]:
        """What goes with a commit; *waited_for*: somebody waits for that, so what is not urgent stays unless it is little or old."""
        with self._lock:
            if waited_for and not self._urgent and self._bytes > FEW_BYTES and self._age() < 2 * PATIENCE_S:
                return []
            taken, before = [], self._bytes
            while self._entries and (self._urgent or before - self._bytes < CHUNK_BYTES):
                entry, urgent = self._entries.popleft()
                taken.append(entry)
                self._bytes -= len(entry[2])
                self._urgent -= urgent
            self._since = self._now()
            return taken

    def _age(self) -> float:
        return self._now() - self._since
