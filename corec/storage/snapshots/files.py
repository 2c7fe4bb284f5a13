"""The bytes of a snapshot file: header, meta, blobs, index, footer, each with a checksum (docs/formats.md)."""

import os
import struct
from pathlib import Path
from typing import NamedTuple

from corec._core.wire import crc32c
from corec.errors import DamagedFile
from corec.storage import disk
from corec.storage.formats import newer

_HEADER = struct.Struct("<4sIQqQQQI")  # magic, version, generation, turn, offset, node, meta length, meta crc
_ENTRY = struct.Struct("<IIQQQI")  # segment, length, version, file, position, crc
_FOOTER = struct.Struct("<4sIQI")  # magic, index crc, index position, entries
_CHECKSUM = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + _CHECKSUM.size
FOOTER_BYTES = _FOOTER.size + _CHECKSUM.size
_MAGIC = b"CCSN"
_END_MAGIC = b"CCSE"
_VERSION = 2


class Extent(NamedTuple):
    """Where the blob of a segment is stored."""

    length: int
    version: int  # the generation in which the segment last changed
    file: int  # the generation whose file holds the blob
    position: int
    crc: int


class Head(NamedTuple):
    generation: int
    turn: int
    offset: int
    node: int  # id of its node; 0 where it has none


class Generation(NamedTuple):
    """One snapshot as its file describes it."""

    head: Head
    meta: bytes
    index: dict[int, Extent]


def file_name(generation: int) -> str:
    return f"{generation:020d}.snap"


def pack_header(head: Head, meta: bytes) -> bytes:
    header = _HEADER.pack(_MAGIC, _VERSION, *head, len(meta), crc32c(meta))
    return header + _CHECKSUM.pack(crc32c(header))


def pack_end(index: dict[int, Extent], position: int) -> bytes:
    """Index and footer of a file whose blobs end at *position*."""
    entries = b"".join(_pack_entry(segment, extent) for segment, extent in sorted(index.items()))
    footer = _FOOTER.pack(_END_MAGIC, crc32c(entries), position, len(index))
    return entries + footer + _CHECKSUM.pack(crc32c(footer))


def _pack_entry(segment: int, extent: Extent) -> bytes:
    return _ENTRY.pack(segment, *extent)


def read(path: Path) -> Generation:
    """Header, meta and index, checked; DamagedFile otherwise. `read_blob` checks the blobs."""
    try:
        data_fd = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise _damaged(path, error.strerror or "cannot be opened") from error
    try:
        return _read(path, data_fd, os.fstat(data_fd).st_size)
    finally:
        os.close(data_fd)


def _read(path: Path, fd: int, size: int) -> Generation:
    if size < HEADER_BYTES + FOOTER_BYTES:
        raise _damaged(path, f"{size} bytes are too few")
    header = _checked(path, disk.read_at(fd, 0, HEADER_BYTES), "header")
    magic, version, *head, meta_length, meta_crc = _HEADER.unpack(header)
    if magic != _MAGIC or not 0 < version <= _VERSION:
        raise _damaged(path, f"expected {_MAGIC!r} version {_VERSION}, got {magic!r} version {version}")
    head[3] *= version == _VERSION  # before version 2 the field was the time of creation
    footer = _checked(path, disk.read_at(fd, size - FOOTER_BYTES, FOOTER_BYTES), "footer")
    _, index_crc, position, count = _FOOTER.unpack(footer)
    if position + count * _ENTRY.size + FOOTER_BYTES != size:
        raise _damaged(path, f"its length, {size}, is not the one written")
    meta = disk.read_at(fd, HEADER_BYTES, meta_length)
    entries = disk.read_at(fd, position, count * _ENTRY.size)
    if crc32c(meta) != meta_crc or crc32c(entries) != index_crc:
        raise _damaged(path, "meta or index does not match its checksum")
    index = {segment: Extent(*extent) for segment, *extent in _ENTRY.iter_unpack(entries)}
    return Generation(Head(*head), meta, index)


def read_node(path: Path) -> int:
    """Id of the node that the snapshot belongs to; 0 where it has none, or is damaged."""
    with path.open("rb") as stream:
        header = stream.read(HEADER_BYTES)
    body = header[: _HEADER.size]
    if len(header) < HEADER_BYTES or header[_HEADER.size :] != _CHECKSUM.pack(crc32c(body)):
        return 0
    magic, version, _, _, _, node, _, _ = _HEADER.unpack(body)
    if magic == _MAGIC and version > _VERSION:
        raise newer(path, _VERSION, version)
    return node if (magic, version) == (_MAGIC, _VERSION) else 0


def _checked(path: Path, data: bytes, part: str) -> bytes:
    body, checksum = data[: -_CHECKSUM.size], data[-_CHECKSUM.size :]
    if _CHECKSUM.pack(crc32c(body)) != checksum:
        raise _damaged(path, f"the {part} does not match its checksum")
    return body


def read_blob(folder: Path, fds: dict[int, int], segment: int, extent: Extent) -> bytes:
    """The blob of a segment, checked. *fds* keeps the files open between calls."""
    path = folder / file_name(extent.file)
    try:
        if extent.file not in fds:
            fds[extent.file] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        blob = disk.read_at(fds[extent.file], extent.position, extent.length)
    except OSError as error:
        raise _damaged(path, error.strerror or "cannot be read") from error
    if crc32c(blob) != extent.crc:
        raise _damaged(path, f"segment {segment} at byte {extent.position} does not match its checksum")
    return blob


def _damaged(path: Path, what: str) -> DamagedFile:
    return DamagedFile(f"{path} is damaged: {what}", hint="the node falls back to the snapshot before it")
