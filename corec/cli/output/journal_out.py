"""Reads batches from a journal, whether its node runs or not."""

from collections.abc import Iterator
from pathlib import Path

from corec._core.wire import envelope_head
from corec.common.units import MB
from corec.errors import DamagedBatch, StorageError
from corec.streams.journal import list_files
from corec.streams.journal.files import scan_file
from corec.streams.journal.read import Reader, View


def envelopes(data: Path, since: int | None, until: int | None) -> Iterator[bytes]:
    """Yields the undamaged batches with a time in [since, until) ms, oldest first; StorageError without a journal."""
    folder = data / "journal"
    files = list_files(folder) if folder.is_dir() else []
    if not files:
        raise StorageError(f"expected a journal, got nothing - at {folder}", hint="run the node once: corec run")
    newest = scan_file(files[-1].path, files[-1].first, None)
    view, reader, after = View(tuple(files), newest.last, newest.end), Reader(lambda gap: None), files[0].first - 1
    try:
        while entries := reader.read(after, view=view, max_bytes=MB):
            after = entries[-1].offset
            yield from (entry.payload for entry in entries if _is_of(entry.payload, since, until))
    finally:
        reader.close()


def _is_of(envelope: bytes, since: int | None, until: int | None) -> bool:
    try:
        time = envelope_head(envelope)[5]
    except DamagedBatch:  # accepted as it came, and counted as malformed then
        return False
    return (since is None or time >= since) and (until is None or time < until)
