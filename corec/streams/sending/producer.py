"""A numbered producer. The node drops batches whose numbers repeat."""
import threading
from collections.abc import Callable
from typing import Any, TypeVar
from zlib import crc32

from corec._core.wire import FRAME_BYTES, pack_envelope
from corec.common.clock import MACHINE, Clock

Taken = TypeVar("Taken")


class Producer:
    """Numbers what one device, source or program sends. Several threads may use it.

    name: any text, the same at every start.  The epoch, taken from the clock, distinguishes one start from the next.
    """

    def __init__(self, name: str, clock: Clock = MACHINE) -> None:
        self.id = crc32(name.encode())
        self.epoch = clock.wall_us()
        self.sequence = 0
        self._lock = threading.Lock()

    def send(self, frames: bytes, time_ms: int, offsets: Any, take: Callable[[bytes], Taken]) -> Taken:
        """Number a batch and pass its envelope to *take*; return what *take* returns.

        frames: n * 10 bytes of *time_ms*.  offsets: int32[n], ms to it, or None.
        Both steps are under one lock: if a later number arrived first, the earlier batch would look like a repeat.
        """
        with self._lock:
            envelope = pack_envelope(frames, producer=self.id, epoch=self.epoch, sequence=self.sequence, time=time_ms, offsets=offsets)
            self.sequence += len(frames) // FRAME_BYTES
            return take(envelope)
