"""Snapshots taken apart and put together again under true checksums, as somebody forges them."""
from typing import Any

import msgspec
import numpy as np

from corec._core.dtypes import TILE
from corec._core.wire import crc32c
from corec.common.zstandard import declared_size, pack, unpack
from corec.engine.snapshot import MAGIC


def taken_apart(blob: bytes) -> tuple[dict[str, Any], dict[int, bytes]]:
    """(state, segment -> compressed tiles) of what `Engine.snapshot` gave."""
    meta, segments = msgspec.msgpack.decode(blob[12:])
    return msgspec.msgpack.decode(meta), dict(segments)


def put_together(state: dict[str, Any], segments: Any) -> bytes:
    """A blob for `Engine.restore`; segments: a mapping, or any list of pairs."""
    pairs = sorted(segments.items()) if isinstance(segments, dict) else segments
    body = msgspec.msgpack.encode([msgspec.msgpack.encode(state), pairs])
    return MAGIC + crc32c(body, crc32c(MAGIC)).to_bytes(4, "little") + body


def with_elements(data: bytes, dtype: np.dtype, index: int, **fields: Any) -> bytes:
    """*data*, elements of *dtype*, with other *fields* in one of them; a field in another is named outer__inner."""
    rows = np.frombuffer(data, dtype).copy()
    for name, value in fields.items():
        target, path = rows, name.split("__")
        for part in path[:-1]:
            target = target[part]
        target[path[-1]][index] = value
    return rows.tobytes()


def with_entity(piece: bytes, slot: int, **fields: Any) -> bytes:
    """Compressed tiles with other *fields* of one entity."""
    raw = unpack(piece, declared_size(piece))
    tiles = np.frombuffer(raw, TILE, len(raw) // TILE.itemsize).copy()
    for name, value in fields.items():
        tiles[name][slot // 8, slot % 8] = value
    return pack(tiles.tobytes() + raw[tiles.nbytes:])
