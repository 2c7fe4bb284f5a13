"""Queues stream entries of plugins for a commit, in portions that keep a commit short that a caller waits for."""
import threading
from collections import deque

import msgspec

from corec.common.clock import MACHINE, Clock

#: Bytes of entries that one commit takes, approximately; they cost half a millisecond on an SSD.
CHUNK_BYTES = 64 << 10
#: Up to this many bytes go with any commit.
FEW_BYTES = 4 << 10
#: Seconds after which entries cause a commit; after twice that they go with any commit.
PATIENCE_S = 0.4

Sent = tuple[str, int, bytes]  # stream, time in ms, entry

#: Prefix of the node's own streams, whose entries hold frames; those of plugins hold fields.
OWN_PREFIX = "corec:"


def pack_entry(number: bytes, fields: dict[bytes, bytes]) -> bytes:
    """An entry of a plugin as the outbox keeps it."""
    return msgspec.msgpack.encode([number, fields])


def unpack_entry(blob: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    number, fields = msgspec.msgpack.decode(blob)
    return number, fields


class Outgoing:
    """A queue that any thread fills and the pipeline empties, in order."""

    def __init__(self, clock: Clock = MACHINE) -> None:
        self._clock = clock
        self._entries: deque[tuple[Sent, bool]] = deque()
        self._lock = threading.Lock()
        self._bytes = self._urgent = 0
        self._since = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, entry: Sent, urgent: bool) -> bool:
        """Add an entry; returns whether it is the only one."""
        with self._lock:
            if not self._entries:
                self._since = self._clock.steady_s()
            self._entries.append((entry, urgent))
            self._bytes += len(entry[2])
            self._urgent += urgent
            return len(self._entries) == 1

    @property
    def due(self) -> bool:
        """Whether a commit should begin: CHUNK_BYTES wait, or the oldest entry has waited for PATIENCE_S."""
        return bool(self._entries) and (self._bytes >= CHUNK_BYTES or self._age() >= PATIENCE_S)

    def take(self, waited_for: bool) -> list[Sent]:
        """Remove and return the entries for a commit.  waited_for: a caller waits for it, so many entries stay unless urgent or old."""
        with self._lock:
            if waited_for and not self._urgent and self._bytes > FEW_BYTES and self._age() < 2 * PATIENCE_S:
                return []
            taken, before = [], self._bytes
            while self._entries and (self._urgent or before - self._bytes < CHUNK_BYTES):
                entry, urgent = self._entries.popleft()
                taken.append(entry)
                self._bytes -= len(entry[2])
                self._urgent -= urgent
            self._since = self._clock.steady_s()
            return taken

    def _age(self) -> float:
        return self._clock.steady_s() - self._since
