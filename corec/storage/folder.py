"""The data folder of one node: its layout, and the lock that keeps a second node out."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from corec.common.file_lock import FileLock
from corec.common.units import MB
from corec.errors import DiskFull, FolderInUse, StorageError
from corec.storage import disk
from corec.storage.numbered import is_plain, numbered, put_aside
from corec.storage.private import make_private, open_private

#: Least free space to start with: two journal files, and a store that can grow a little.
LEAST_FREE_BYTES = 64 * MB


#: What a node writes into its data folder, beside the folders in it.
FILES = ("clock", "clock.part", "control.sock", "sent", "sent.part", "store.db", "store.db-wal", "store.db-shm", "store.db-journal")


class Layout:
    """The paths in a data folder."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.journal = self.path / "journal"
        self.snapshots = self.path / "snapshots"
        self.store = self.path / "store.db"
        self.lock = self.path / "lock"
        self.clock = self.path / "clock"

    @property
    def exists(self) -> bool:
        """Whether a node has worked in this folder."""
        return self.store.is_file() or bool(numbered(self.journal, ".log") or numbered(self.snapshots, ".snap"))


class Holder(NamedTuple):
    """The process that has a data folder locked."""

    pid: int  # 0 where the lock does not say
    state: str


def holder(layout: Layout) -> Holder | None:
    """The process that works on a data folder now; None when there is none, or the lock cannot be read."""
    try:
        fd = os.open(layout.lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _noted(os.pread(fd, 64, 0))
    finally:
        os.close(fd)
    return None


def _noted(line: bytes) -> Holder:
    pid, _, state = line.decode("ascii", "replace").strip().partition(" ")
    alive = pid.isdigit() and Path(f"/proc/{pid}").exists()
    return Holder(int(pid), state or "running") if alive else Holder(0, "unknown")


def in_use(layout: Layout) -> FolderInUse:
    """The error for a folder that another process works on."""
    found = holder(layout)
    who = f"process {found.pid}" if found and found.pid else "another process"
    return FolderInUse(
        f"expected a data folder of its own, got one that {who} is using - at {layout.path}",
        hint="stop that process, or give this node another folder with --data",
    )


@contextmanager
def undisturbed(layout: Layout) -> Iterator[None]:
    """Keep nodes from starting on a folder while it is inspected. Nothing in it is changed."""
    if not layout.lock.is_file():
        yield
        return
    with layout.lock.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise in_use(layout) from error
        yield


@contextmanager
def _refused() -> Iterator[None]:
    """Raise an OSError as DiskFull, or as the StorageError for a folder that cannot be written to."""
    try:
        yield
    except OSError as error:
        path = Path(error.filename or ".")
        if isinstance(explained := disk.explain(error, "write to", path), DiskFull):
            raise explained from error
        raise StorageError(
            f"expected a folder that can be written to, got {error.strerror} - at {path}",
            hint="name another folder with --data, or give this user the right to write here",
        ) from error


class DataFolder(Layout):
    """A data folder, locked while this object is open.

    The lock (flock) belongs to the kernel: it ends with the process and leaves nothing to clean up.  Child processes do not keep it.
    """

    def __init__(self, path: Path, *, least_free: int = LEAST_FREE_BYTES) -> None:
        super().__init__(path)
        self._make()
        self._lock = self._take_lock()
        self.note("starting")
        try:
            self._put_aside_strangers()
            disk.require_free(self.path, least_free)
        except BaseException:
            self.close()
            raise

    def note(self, state: str) -> None:
        """Write the state of this process into the lock file, for `holder`."""
        line = f"{os.getpid()} {state}\n".encode()
        with suppress(OSError):  # also on a full disk: the lock itself is held by the kernel
            os.pwrite(self._lock.fd, line, 0)
            os.ftruncate(self._lock.fd, len(line))

    def close(self) -> None:
        with suppress(OSError):  # a later holder that writes nothing must not be taken for this process
            os.ftruncate(self._lock.fd, 0)
        self._lock.close()

    def __enter__(self) -> "DataFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _make(self) -> None:
        with _refused():
            for folder in (self.path, self.journal, self.snapshots):
                made = not folder.is_dir()
                make_private(folder)
                if made:
                    disk.sync_folder(folder.parent)

    def _put_aside_strangers(self) -> None:
        """Rename what has the name of a file of the node and is none: a folder, or something that waits when it is opened."""
        for name in FILES:
            path = self.path / name
            if os.path.lexists(path) and not is_plain(path) and not path.is_socket():
                put_aside(path, self.path.name, "is no file")

    def _take_lock(self) -> FileLock:
        with _refused():
            fd = open_private(self.lock, os.O_RDWR)
        for pause in (0.02, 0.05, 0.1, 0.0):  # `holder`, in another process, takes it for a moment
            with suppress(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return FileLock(fd)
            time.sleep(pause)
        os.close(fd)
        raise in_use(self)
