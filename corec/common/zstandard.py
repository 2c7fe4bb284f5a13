"""Zstandard, as Python has it since 3.14 and by its backport before: compressed bytes of a size known beforehand."""
import sys

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["PackingError", "declared_size", "declared_window", "pack", "unpack"]

PackingError = zstd.ZstdError

#: Thread-safe, and a frame begins and ends within one call.
_compressor = zstd.ZstdCompressor(level=1)
#: Bits of the byte behind a frame's magic: whether the window is as large as the content, and says so by not being there.
_SINGLE_SEGMENT = 0x20


def pack(data) -> bytes:
    """One frame that declares its size."""
    return _compressor.compress(data, _compressor.FLUSH_FRAME)


def unpack(data, size: int) -> bytes:
    """The *size* bytes that a frame holds, never more: what comes behind them, or behind the frame, is not looked at."""
    decompressor = zstd.ZstdDecompressor()
    unpacked = decompressor.decompress(data, size + 1)    # one more, so that the end of the frame is reached
    if not decompressor.eof or len(unpacked) != size:
        raise PackingError(f"a frame of {size} bytes ends at {len(unpacked)}")
    return unpacked


def declared_size(data) -> int | None:
    """How much a frame says that it holds; None where it does not say."""
    return zstd.get_frame_info(data).decompressed_size


def declared_window(data) -> int:
    """How much of what it unpacked a frame asks to be kept (RFC 8878, 3.1.1.1): bytes that a reader must have."""
    size = declared_size(data)
    if data[4] & _SINGLE_SEGMENT:
        return size or 0
    base = 1 << 10 + (data[5] >> 3)
    return base + base // 8 * (data[5] & 7)
