"""What a sender has sent of files, so that a longer version of a file counts only what is new."""

import json
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from corec.sources.recordings.opened_text import OpenedText
from corec.storage import disk

#: In the folder of the sender's unsent batches.
FILE = "sent.json"
#: Files that are remembered; the one that was sent first is forgotten first.
MOST = 100


class SentFile(NamedTuple):
    """The beginning of a file that was sent."""

    path: str
    size: int  # bytes, unpacked
    digest: str
    reading: str  # how it was interpreted
    epoch: int  # under which its readings are numbered


class Content(NamedTuple):
    """What a file held: it need not be read again while the file system says that it did not change."""

    found: tuple[int, int, int]  # as `_state_of` gave it
    size: int  # bytes, unpacked
    digest: str


class SentBefore:
    """The files of one sender."""

    def __init__(self, folder: Path) -> None:
        """folder: of the sender's unsent batches."""
        self._path = folder / FILE
        self._read: Content | None = None  # of the file as it was read last
        try:
            self._files = [SentFile(*row) for row in json.loads(self._path.read_bytes())]
        except (OSError, ValueError, TypeError):
            self._files = []

    def epoch(self, file: Path, reading: str, first_row: int) -> tuple[int, str]:
        """(the number under which the readings of a file are sent, what there is to say about it).

        reading: how it is interpreted.  first_row: line of its first row; 0 where it has no lines.
        A file that begins with one that was sent, and is interpreted in the same way, has the number of that one. Any other has the hash
        of its beginning, so that it is found again where nothing is known of what was sent.
        """
        found = _state_of(file)
        digests, size, whole, beginning = _digests(file, sorted({one.size for one in self._files}), first_row)
        self._read = Content(found, size, whole)
        known = [one for one in self._files if digests.get(one.size) == one.digest]
        same = [one for one in known if one.reading == reading]
        if same:
            return max(same, key=lambda one: one.size).epoch, ""
        said = ""
        if known:
            said = f"{file} was sent before, and read in another way: it counts as a new file"
        elif any(one.path == str(file) for one in self._files):
            said = f"{file} does not begin with what was sent of it before: it counts as a new file"
        taken = {one.epoch for one in self._files}
        first, second = (_number(f"{part} {reading}") for part in (beginning, whole))
        return (second if first in taken else first), said

    def note(self, file: Path, reading: str, epoch: int) -> None:
        """Note that a file was sent as far as it goes now."""
        found = _state_of(file)
        if self._read is None or self._read.found != found:
            self._read = Content(found, *_whole(file))
        entry = SentFile(str(file), self._read.size, self._read.digest, reading, epoch)
        self._files = [one for one in self._files if one.epoch != epoch][-MOST + 1 :] + [entry]
        disk.replace_text(self._path, json.dumps(self._files))


def _state_of(file: Path) -> tuple[int, int, int]:
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _whole(file: Path) -> tuple[int, str]:
    size, digest = 0, blake2b(digest_size=16)
    text = OpenedText(file)
    for part in text.blocks():
        size += len(part)
        digest.update(part)
    text.close()
    return size, digest.hexdigest()


def _digests(file: Path, ends: list[int], first_row: int) -> tuple[dict[int, str], int, str, str]:
    """(size -> digest of the beginning of that size, bytes of the whole file, a digest of it, one of it up to its first row)."""
    digests: dict[int, str] = {}
    digest, beginning = blake2b(digest_size=16), blake2b(digest_size=16)
    position, lines = 0, first_row
    text = OpenedText(file)
    for part in text.blocks():
        if lines:
            cut = part.split(b"\n", lines)
            beginning.update(part[: len(part) - len(cut[-1])] if len(cut) > lines else part)
            lines -= len(cut) - 1
        while ends and ends[0] <= position + len(part):
            end = ends.pop(0)
            upto = digest.copy()
            upto.update(part[: end - position])
            digests[end] = upto.hexdigest()
        digest.update(part)
        position += len(part)
    text.close()
    return digests, position, digest.hexdigest(), beginning.hexdigest() if first_row else digest.hexdigest()


def _number(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) or 1
