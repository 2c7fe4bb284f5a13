"""The stream for each reading: by shard, and critical channels apart from the others."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from corec._core.wire import FRAME, FRAME_BYTES, channels_of
from corec.config import Config
from corec.streams.redis.keys import CRITICAL_CHANNELS, fast_stream, normal_stream

_CRITICAL = np.zeros(256, bool)
_CRITICAL[list(CRITICAL_CHANNELS)] = True


class StreamPart(NamedTuple):
    """The frames of a batch that go to one stream."""

    stream: str
    frames: bytes
    offsets: np.ndarray | None
    critical: bool
    first: int  # index of its first frame in the whole batch


class Routing:
    """Splits frames by stream. *config* is needed only for more than one shard: a block's index gives its shard."""

    def __init__(self, shards: int = 1, config: Config | None = None) -> None:
        self.shards = shards
        self._starts, self._blocks, self._sizes = _ranges(config) if config and shards > 1 else (np.empty(0),) * 3
        self._tables = _device_tables(config) if config and shards > 1 else []

    @property
    def streams(self) -> list[str]:
        """All streams that readings may go to."""
        return [stream(shard) for shard in range(self.shards) for stream in (fast_stream, normal_stream)]

    def split(self, frames: bytes, offsets: Any = None) -> Iterator[StreamPart]:
        """The parts of a batch. Frames keep their order within a part.

        offsets: int32[n], ms, or None.
        """
        rows = np.frombuffer(frames, np.uint8).reshape(-1, FRAME_BYTES)    # rows of bytes: twice as fast to select as FRAME
        offsets = None if offsets is None else np.asarray(offsets, np.int32)
        lanes = _CRITICAL[channels_of(frames)]    # a negative channel indexes from the end
        if self.shards > 1:
            lanes = lanes + 2 * self._shards_of(np.frombuffer(frames, FRAME)["id"].astype(np.int64))
        found = np.flatnonzero(np.bincount(lanes, minlength=1)).tolist()
        for lane in found:
            shard, critical = divmod(lane, 2)
            stream = fast_stream(shard) if critical else normal_stream(shard)
            if len(found) == 1:
                yield StreamPart(stream, bytes(frames), offsets, bool(critical), 0)
                return
            chosen = np.flatnonzero(lanes == lane)
            yield StreamPart(stream, rows[chosen].tobytes(), None if offsets is None else offsets[chosen], bool(critical), int(chosen[0]))

    def _shards_of(self, ids: np.ndarray) -> np.ndarray:
        """The shard of each wire id. Unknown ids go to shard 0, which counts them as unknown."""
        blocks = np.zeros(len(ids), np.int64)
        if len(self._starts):
            row = np.searchsorted(self._starts, ids, side="right") - 1
            slot = ids - self._starts[row]
            known = (row >= 0) & (slot < self._sizes[row, 0])
            blocks[known] = (self._blocks[row] + slot // self._sizes[row, 1])[known]
        for devices, slots, first, per_block in self._tables:
            row = np.minimum(np.searchsorted(devices, ids), len(devices) - 1)
            known = devices[row] == ids
            blocks[known] = first + slots[row[known]] // per_block
        return blocks % self.shards


def _first_blocks(config: Config) -> list[int]:
    """The index of each entry's first block."""
    return [sum(entry.blocks for entry in config.bloques[:index]) for index in range(len(config.bloques))]


def _ranges(config: Config) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = sorted((entry.first_id, first, entry.entidades, entry.entidades_por_bloque)
                  for entry, first in zip(config.bloques, _first_blocks(config), strict=True) if entry.first_id is not None)  # fmt: skip
    table = np.array(rows, np.int64).reshape(-1, 4)
    return table[:, 0], table[:, 1], table[:, 2:]


def _device_tables(config: Config) -> list[tuple[np.ndarray, np.ndarray, int, int]]:
    tables = []
    for entry, first in zip(config.bloques, _first_blocks(config), strict=True):
        if entry.table is not None and len(entry.table):
            slots = np.argsort(entry.table.device)
            tables.append((entry.table.device[slots].astype(np.int64), slots, first, entry.entidades_por_bloque))
    return tables
