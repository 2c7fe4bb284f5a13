"""What `corec replay` and `corec send` say about a file."""

from pathlib import Path

from corec.errors import FrameError
from corec.sources.recordings.recording import Recording


def no_readings(file: Path, recording: Recording) -> FrameError:
    """The error for a file without readings.  Names and reasons of columns were said before."""
    notes = [note.rstrip(":") for note in recording.notes() if not note.startswith(" ")]
    return FrameError(f"{file}: expected readings, got none", detail="; ".join(notes) or None)
