"""A numbered producer: batches in envelopes whose repeats the node drops."""
import threading
import time
from typing import Any
from zlib import crc32

from corec._core.wire import pack_envelope


class Producer:
    """Numbers what one device, source or program sends; safe for use by several threads.

    name: any text, the same at every start.  The boot epoch, taken from the clock, tells starts apart.
    """

    def __init__(self, name: str) -> None:
        self.id = crc32(name.encode())
        self.epoch = time.time_ns() // 1000
        self.sequence = 0
        self._lock = threading.Lock()

    def pack(self, frames: bytes, time_ms: int, offsets: Any = None) -> bytes:
        """The next batch: frames (n * 10 bytes) of *time_ms*, offsets int32[n] ms to it or None."""
        with self._lock:
            envelope = pack_envelope(frames, producer=self.id, epoch=self.epoch, sequence=self.sequence, time=time_ms, offsets=offsets)
            self.sequence += len(frames) // 10
        return envelope
