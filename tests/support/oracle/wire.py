"""Envelopes as the oracle reads them: with struct, a table of 256 and another Zstandard, and none of the engine's code."""
import struct
import sys
from typing import NamedTuple

import numpy as np

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class Opened(NamedTuple):
    """A batch out of its envelope."""

    producer: int
    epoch: int
    sequence: int
    time: int
    frames: bytes
    offsets: np.ndarray | None = None
    age: int = 0


HEADER = struct.Struct("!2sBBIQQQqII")
_TABLE = []
for _byte in range(256):
    for _ in range(8):
        _byte = _byte >> 1 ^ 0x82F63B78 * (_byte & 1)
    _TABLE.append(_byte)


def crc32c(data, crc=0):
    """CRC-32C (RFC 3720), a byte at a time."""
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def read_envelope(data):
    """The batch in an envelope; None when it is damaged."""
    if len(data) < 48:
        return None
    magic, version, flags, count, producer, epoch, sequence, time, length, crc = HEADER.unpack_from(data)
    sound = magic == b"CB" and version == 1 and flags < 8 and count <= 1_000_000 and len(data) == 48 + length
    if not sound or crc32c(data[:44] + data[48:]) != crc:
        return None
    payload, size, age = bytes(data[48:]), count * (14 if flags & 2 else 10), 0
    if flags & 4:
        age, payload = int.from_bytes(payload[:8], "big", signed=True) if len(payload) >= 8 else -1, payload[8:]
    if age < 0:
        return None
    if flags & 1:
        payload = _unpack(payload, size)
    if payload is None or len(payload) != size:
        return None
    offsets = np.frombuffer(payload[count * 10 :], ">i4") if flags & 2 else None
    return Opened(producer, epoch, sequence, time, payload[: count * 10], offsets, age)


def _unpack(payload, size):
    try:
        if zstd.get_frame_info(payload).decompressed_size != size:
            return None
        reader = zstd.ZstdDecompressor()
        content = reader.decompress(payload, size + 1)    # one more, so that the end of the frame is reached
        return content if reader.eof else None
    except zstd.ZstdError:
        return None
