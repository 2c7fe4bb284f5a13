"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives the path to write to. The file gets its name when all is written; an error leaves what was there before.

    A device, a pipe or `-` is written to as it is.
    """
    if str(path) == "-" or (path.exists() and not path.is_file()):
        yield path
        return
    final = path.resolve()      # a link stays, and what it names is written
    unfinished = final.with_name(f".{final.name}.{os.getpid()}.part")
    try:
        yield unfinished
        os.replace(unfinished, final)
    finally:
        unfinished.unlink(missing_ok=True)
