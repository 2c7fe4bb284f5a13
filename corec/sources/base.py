"""The interface of a source, and the batches that it gives."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from corec._core.wire import encode_frames


class Batch(NamedTuple):
    """Readings of one moment or with offsets to it, as columns. A scalar stands for a whole column."""

    ids: np.ndarray  # uint32[n], on the wire
    canal: Any  # int, or int8[n]
    valores: np.ndarray  # float32[n]; NaN is a failure
    estados: Any  # bool, or bool[n]; False where the sensor says that it failed
    time: int  # ms since 1970
    offsets: np.ndarray | None = None  # int32[n], ms to `time`

    @property
    def readings(self) -> int:
        return len(self.ids)

    def frames(self) -> bytes:
        """The readings as n * 10 bytes."""
        return encode_frames(self.ids, self.canal, self.valores, self.estados)


class Source(Protocol):
    """Gives readings when the node asks. Only one thread uses it."""

    name: str
    interval: float  # seconds between two reads
    entities: int  # sensors it reads
    names: Mapping[int, tuple[str, str]]  # wire id -> (name, unit), where known

    @property
    def detail(self) -> str:
        """What it reads, in a few words, for `corec status`."""

    def read(self, now_ms: int) -> list[Batch]:
        """The batches that are due at *now_ms*. It takes less than 50 ms and does not wait."""

    def close(self) -> None:
        """Release what it has open."""
