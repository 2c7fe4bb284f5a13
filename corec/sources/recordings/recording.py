"""The interface of a recording."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from corec.sources.base import Batch


class RecordingPiece(NamedTuple):
    """Successive readings of a recording."""

    content: Batch | bytes  # bytes: an envelope
    start: int  # ms, of the oldest
    time: int  # ms, of the newest
    readings: int
    position: int  # bytes of the file read so far


class Recording(Protocol):
    """A file of readings, of any format."""

    about: tuple[str, ...]  # how the file is interpreted, for the user
    size: int  # bytes
    unit: str  # "row", "batch" or "frame"
    rows: int  # units read so far
    names: Mapping[int, str]  # wire id -> name, where it has some
    damaged: bool  # rows, columns or bytes were left out so far
    reading: str  # how the file is interpreted; the same text gives the same readings of the same bytes
    newest_first: bool  # rows are read from the last to the first
    replaced: str  # why a file that was followed ended and is to be opened again; "" where it did not
    first_line: int  # line of the first row; 0 where there are no lines

    def pieces(self, span: int | None = None) -> Iterator[RecordingPiece]:
        """All readings in order. No piece covers more than *span* ms."""

    def notes(self) -> list[str]:
        """What was not read as a value so far, and why."""
