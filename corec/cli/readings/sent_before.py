"""What a sender has sent of files, so that a longer version of a file counts only what is new."""

import json
from collections.abc import Iterator
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from corec.sources.recordings.opened_text import OpenedText
from corec.sources.recordings.recording import Recording
from corec.storage import disk

#: In the folder of the sender's unsent batches.
FILE = "sent.json"
#: Files that are remembered; the one that was sent first is forgotten first.
MOST = 100
#: Bytes at the end of a file in which its last row is looked for.
LAST_BYTES = 1 << 16


class SentFile(NamedTuple):
    """The beginning of a file that was sent; the end of one whose newest row is first."""

    path: str
    size: int  # bytes, unpacked; without the lines before the first row where the newest row is first
    digest: str
    reading: str  # how it was interpreted
    epoch: int  # under which its readings are numbered
    newest_first: bool = False


class Content(NamedTuple):
    """What a file held: it need not be read again while the file system says that it did not change."""

    found: tuple[int, int, int]  # as `_state_of` gave it
    size: int  # as in SentFile
    digest: str


class Digests(NamedTuple):
    """What a file is compared by."""

    parts: dict[int, str]  # of its first bytes, or of its last ones where the newest row is first, by their number
    size: int  # as in SentFile
    whole: str
    oldest: str  # of all up to its first row; where the newest row is first, of its last one


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

    def epoch(self, file: Path, recording: Recording) -> tuple[int, str]:
        """(the number under which the readings of a file are sent, what there is to say about it).

        A file that begins with one that was sent (or ends with it, where the newest row is first), and is interpreted in the same way,
        has the number of that one. Any other has the hash of its oldest row and the lines before it, so that it is found again where
        nothing is known of what was sent.
        """
        found, reading, newest_first = _state_of(file), recording.reading, recording.newest_first
        alike = [one for one in self._files if one.newest_first == newest_first]
        digests = _digests(file, recording, {one.size for one in alike})
        self._read = Content(found, digests.size, digests.whole)
        known = [one for one in alike if digests.parts.get(one.size) == one.digest]
        same = [one for one in known if one.reading == reading]
        if same:
            return max(same, key=lambda one: one.size).epoch, ""
        said = ""
        if known:
            said = f"{file} was sent before, and read in another way: it counts as a new file"
        elif any(one.path == str(file) for one in self._files):
            way = "end" if newest_first else "begin"
            said = f"{file} does not {way} with what was sent of it before: it counts as a new file"
        taken = {one.epoch for one in self._files}
        first, second = (_number(f"{part} {reading}") for part in (digests.oldest, digests.whole))
        return (second if first in taken else first), said

    def note(self, file: Path, recording: Recording, epoch: int) -> None:
        """Note that a file was sent as far as it goes now."""
        found = _state_of(file)
        if self._read is None or self._read.found != found:
            digests = _digests(file, recording, set())
            self._read = Content(found, digests.size, digests.whole)
        entry = SentFile(str(file), self._read.size, self._read.digest, recording.reading, epoch, recording.newest_first)
        self._files = [one for one in self._files if one.epoch != epoch][-MOST + 1 :] + [entry]
        disk.replace_text(self._path, json.dumps(self._files))


def _state_of(file: Path) -> tuple[int, int, int]:
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _digests(file: Path, recording: Recording, sizes: set[int]) -> Digests:
    """sizes: of the parts to compare."""
    if recording.newest_first:
        return _from_the_end(file, sizes, recording.first_line - 1)
    return _from_the_beginning(file, sorted(sizes), recording.first_line)


def _from_the_beginning(file: Path, sizes: list[int], first_row: int) -> Digests:
    """first_row: line of the first row; 0 where there are no lines."""
    parts: dict[int, str] = {}
    digest, beginning = blake2b(digest_size=16), blake2b(digest_size=16)
    position, lines = 0, first_row
    for block in _blocks(file):
        if lines:
            cut = block.split(b"\n", lines)
            beginning.update(block[: len(block) - len(cut[-1])] if len(cut) > lines else block)
            lines -= len(cut) - 1
        while sizes and sizes[0] <= position + len(block):
            end = sizes.pop(0)
            upto = digest.copy()
            upto.update(block[: end - position])
            parts[end] = upto.hexdigest()
        digest.update(block)
        position += len(block)
    return Digests(parts, position, digest.hexdigest(), beginning.hexdigest() if first_row else digest.hexdigest())


def _from_the_end(file: Path, sizes: set[int], lines: int) -> Digests:
    """lines: before the first row."""
    head = total = 0
    for block in _blocks(file):
        if lines:
            cut = block.split(b"\n", lines)
            head += len(block) - len(cut[-1]) if len(cut) > lines else len(block)
            lines -= len(cut) - 1
        total += len(block)
    digests = {size: blake2b(digest_size=16) for size in sizes | {total - head} if size <= total - head}
    position, last = 0, b""
    for block in _blocks(file):
        for size, digest in digests.items():
            digest.update(block[max(0, total - size - position) :])
        position += len(block)
        last = (last + block)[-LAST_BYTES:]
    row = last.rstrip(b"\r\n").rpartition(b"\n")[2]
    parts = {size: digest.hexdigest() for size, digest in digests.items()}
    return Digests(parts, total - head, parts[total - head], blake2b(row, digest_size=16).hexdigest())


def _blocks(file: Path) -> Iterator[bytes]:
    with closing(OpenedText(file)) as text:
        yield from text.blocks()


def _number(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) or 1
