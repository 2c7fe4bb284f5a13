"""The data folder of one node: what lies where, and the lock that keeps a second node out."""

import fcntl
import os
from pathlib import Path
from types import TracebackType

from corec.errors import FolderInUse, StorageError
from corec.storage import disk

#: A node does not start with less room than this: two journal files and a store that can grow a little.
LEAST_FREE_BYTES = 64 << 20


class DataFolder:
    """A data folder, locked for as long as this object is open.

    The lock is the kernel's (flock): it goes with the process, however that ends, and needs no cleaning up.
    """

    def __init__(self, path: Path, *, least_free: int = LEAST_FREE_BYTES) -> None:
        self.path = Path(path)
        self.journal = self.path / "journal"
        self.snapshots = self.path / "snapshots"
        self.store = self.path / "store.db"
        self._make()
        self._lock = self._take_lock()
        try:
            disk.require_free(self.path, least_free)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    def __enter__(self) -> "DataFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _make(self) -> None:
        try:
            for folder in (self.path, self.journal, self.snapshots):
                if not folder.is_dir():
                    folder.mkdir(parents=True)
                    disk.sync_folder(folder.parent)
        except OSError as error:
            raise StorageError(
                f"expected a folder that can be written to, got {error.strerror} - at {error.filename}",
                hint="name another folder with --data, or give this user the right to write here",
            ) from error

    def _take_lock(self) -> int:
        path = self.path / "lock"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise FolderInUse(
                f"expected a data folder of its own, got one that process {owner} is using - at {self.path}",
                hint="stop that process, or give this node another folder with --data",
            ) from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return fd
