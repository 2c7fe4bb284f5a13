"""Refuse files in a format that a later CoreC wrote. They stay as they are."""

from pathlib import Path

from corec.errors import StorageError
from corec.version import VERSION


def newer(path: Path, known: int, found: int) -> StorageError:
    """The error for a file of format *found*; *known* is the newest that this CoreC reads."""
    return StorageError(
        f"expected format {known} or an older one, got {found}: a newer CoreC wrote it - at {path}",
        hint=f"this is CoreC {VERSION}: use the version that wrote it, or a newer one; nothing was changed",
    )
