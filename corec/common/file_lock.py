"""The kernel's lock on a file (flock): it goes with the process that took it, and no child that a plugin forks keeps it."""

import fcntl
import os
from typing import ClassVar


class FileLock:
    """Holds *fd*, on which the lock was taken, until `close`; -1 from then on, and in every child that is forked meanwhile.

    A lock belongs to the open file, which a fork shares: a process pool would hold a data folder after the node is gone.
    """

    _held: ClassVar["set[FileLock]"] = set()

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._held.add(self)

    def close(self) -> None:
        """Let go of the file, also where a child has it that was made without Python knowing."""
        if self.fd < 0:
            return
        fd, self.fd = self.fd, -1
        self._held.discard(self)
        fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)

    @classmethod
    def forget_all(cls) -> None:
        """In a child: its copies are closed, which leaves the locks with its parent."""
        for lock in cls._held:
            os.close(lock.fd)
            lock.fd = -1
        cls._held.clear()


os.register_at_fork(after_in_child=FileLock.forget_all)
