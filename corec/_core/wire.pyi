import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

FRAME_BYTES: int
FRAME: np.dtype[np.void]
FRAME_HINT: str
HEADER: struct.Struct
MAGIC: bytes
VERSION: int
ZSTD: int
OFFSETS: int
AGE: int
OLDEST: int
COMPRESS_FROM: int
MAX_FRAMES: int

class Envelope(NamedTuple):
    producer: int
    epoch: int
    sequence: int
    time: int
    count: int
    frames: bytes
    offsets: NDArray[np.int32] | None
    age: int = 0

def crc32c(data: Any, value: int = 0) -> int: ...
def crc32c_rows(rows: NDArray[Any]) -> NDArray[np.uint32]: ...
def use_hardware_checksum(yes: bool) -> None: ...
def whole_frames(length: int) -> int: ...
def channels_of(frames: Any) -> NDArray[np.int8]: ...
def channel_counts(frames: Any) -> dict[int, int]: ...
def decode_frames(
    frames: Any,
) -> tuple[NDArray[np.uint32], NDArray[np.int8], NDArray[np.float32], NDArray[np.uint8]]: ...
def decode_into(
    frames: Any,
    ids: NDArray[np.uint32],
    canales: NDArray[np.int8],
    valores: NDArray[np.uint32],
    estados: NDArray[np.uint8],
) -> int: ...
def column(values: ArrayLike, dtype: Any) -> NDArray[Any]: ...
def encode_frames(ids: ArrayLike, canales: ArrayLike, valores: ArrayLike, estados: ArrayLike) -> bytes: ...
def encode_into(
    frames: Any,
    ids: NDArray[np.uint32],
    canales: NDArray[np.int8],
    valores: NDArray[np.uint32],
    estados: NDArray[np.uint8],
) -> int: ...
def pack_envelope(
    frames: Any, *, producer: int, epoch: int, sequence: int, time: int, offsets: ArrayLike | None = None, age: int = 0
) -> bytes: ...
def with_age(data: Any, more: int) -> bytes: ...
def envelope_head(data: Any) -> tuple[int, int, int, int, int, int]: ...
def unpack_envelope(data: Any) -> Envelope: ...
