"""Count commits in the write-ahead log that SQLite skips silently.

Its recovery stops at the first frame with a wrong checksum and takes that for the end. Each commit is synced before the
next begins, so two commits behind that frame prove that it was damaged later.

Format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

import struct
from collections.abc import Iterator
from pathlib import Path

_HEADER = struct.Struct(">8I")  # magic, version, page size, sequence, salt 1, salt 2, checksum 1, checksum 2
_FRAME = struct.Struct(">4I")  # page, pages of the database after a commit or 0, salt 1, salt 2
_FRAME_HEADER_BYTES = 24
_MAGICS = {0x377F0682: "<", 0x377F0683: ">"}  # to the byte order of the checksums


def passed_over(path: Path, frames: int, page_bytes: int) -> int:
    """Number of commits in the log *path* behind the *frames* that SQLite could use."""
    data = path.read_bytes() if path.exists() else b""
    if len(data) < _HEADER.size:
        return 0
    header = _HEADER.unpack_from(data)
    if _is_sound(data, header):
        return sum(salts == header[4:6] for salts in _commits(data, frames, page_bytes))
    return 1 + sum(1 for _ in _commits(data, 0, page_bytes))


def _commits(data: bytes, first: int, page_bytes: int) -> Iterator[tuple[int, ...]]:
    """The salts of each frame, from frame *first* on, that ends a commit."""
    step = _FRAME_HEADER_BYTES + page_bytes
    for position in range(_HEADER.size + first * step, len(data) - step + 1, step):
        _, commit, *salts = _FRAME.unpack_from(data, position)
        if commit:
            yield tuple(salts)


def _is_sound(data: bytes, header: tuple[int, ...]) -> bool:
    order = _MAGICS.get(header[0])
    if order is None:
        return False
    a = b = 0
    words = struct.unpack_from(order + "6I", data)
    for first, second in zip(words[::2], words[1::2], strict=True):
        a = (a + first + b) & 0xFFFFFFFF
        b = (b + second + a) & 0xFFFFFFFF
    return (a, b) == header[6:8]
