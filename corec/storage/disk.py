"""Durable writes on Linux: the few steps, in the order that makes them durable."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from corec.errors import CoreCError, DiskFull, StorageError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def write_all(fd: int, buffers: list[bytes], position: int) -> int:
    """Write *buffers* one after the other at *position*; return the position behind them."""
    while buffers:
        written = os.pwritev(fd, buffers, position)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        position += written
        buffers = _unwritten(buffers, written)
    return position


def _unwritten(buffers: list[bytes], written: int) -> list[bytes]:
    for index, buffer in enumerate(buffers):
        if written < len(buffer):
            return [buffer[written:], *buffers[index + 1 :]]
        written -= len(buffer)
    return []


def read_at(fd: int, position: int, length: int) -> bytes:
    """*length* bytes at *position*, fewer at the end of the file. Short reads are continued."""
    pieces = []
    end = min(position + length, os.fstat(fd).st_size)  # a damaged length must not allocate memory
    while position < end and (piece := os.pread(fd, end - position, position)):
        pieces.append(piece)
        position += len(piece)
    return b"".join(pieces)


def make_room(fd: int, size: int) -> None:
    """Allocate *size* bytes, so that later writes cannot fail for lack of room. A file system without support is ignored."""
    with suppress(OSError):
        os.posix_fallocate(fd, 0, size)


def _set_aside(fd: int, size: int) -> None:
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno in _NO_ROOM:  # other errors: this file system has no support, and the writes will fail if there is no room
            raise


def sync_folder(folder: Path) -> None:
    """Make names that were created, renamed or removed in *folder* durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def prepare(path: Path, content: bytes, size: int) -> int:
    """Make a durable file of *size* bytes that begins with *content*; return its descriptor. `publish` gives it its final name.

    An old file at *path* is reused with its blocks.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _set_aside(fd, size)
        write_all(fd, [content], 0)
        os.fsync(fd)
    except OSError:
        os.close(fd)
        path.unlink(missing_ok=True)
        raise
    return fd


def publish(unfinished: Path, path: Path) -> None:
    """Give a synced file its final name, durably."""
    os.rename(unfinished, path)
    sync_folder(path.parent)


def replace_text(path: Path, text: str) -> None:
    """Put *text* into a small file in one step, so that a killed process leaves the old or the new one.  Not synced."""
    unfinished = path.with_name(path.name + ".part")
    with explained("write", path):
        unfinished.write_text(text)
        os.replace(unfinished, path)


def require_free(folder: Path, wanted: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise DiskFull(
            f"expected at least {wanted:,} bytes free, got {free:,} - at {folder}",
            hint="free some space, or put the data folder on another disk with --data",
        )


@contextmanager
def explained(verb: str, path: Path) -> Iterator[None]:
    """Raise errors of the operating system as StorageError; DiskFull when there is no room."""
    try:
        yield
    except OSError as error:
        raise explain(error, verb, path) from error


def explain(error: Exception, verb: str, path: Path) -> CoreCError:
    """*error* as StorageError; DiskFull when there is no room."""
    if isinstance(error, CoreCError):
        return error
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        hint = "free some space on this disk; nothing that was accepted is lost, and the node goes on by itself"
        return DiskFull(f"no room left to {verb} {path}", detail=str(error), hint=hint)
    return StorageError(
        f"could not {verb} {path}", detail=str(error), hint="see the system log: the disk may be failing"
    )
