"""Folders in memory, where there is some to write to: what these tests say does not depend on the disk's speed."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SHARED_MEMORY = "/dev/shm"


@contextmanager
def memory_folder() -> Iterator[Path]:
    place = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="corec-", dir=place) as name:
        yield Path(name).resolve()
