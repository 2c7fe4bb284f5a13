"""The lines of a text file: plain, gzip or zstd; UTF-8, UTF-16 or Latin-1; a file, also one that grows, or a pipe."""

import os
import sys
import tempfile
import time
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from corec.common.text import counted
from corec.sources.recordings.converted import DAMAGE, as_utf8, unpacked

#: Bytes of the longest line that is read. A longer one costs its row.
LONGEST = 1 << 20
#: Seconds between two looks at a file that grows.
LOOK_S = 0.2
#: Why a file that is followed is opened again.
RENAMED = "another file has its name now: the old one was read to its end, and the new one is read from its beginning"
CUT_SHORT = "it was cut short: it is read from its beginning again"
_PART = 1 << 16


class Line(NamedTuple):
    """One line without its end, or the reason why it has no text."""

    number: int
    text: str
    problem: str = ""
    ended: bool = True  # False for a last line without a line end


class OpenedText:
    """A file or, for `-`, standard input. It can be read once; `again` opens a regular file once more."""

    def __init__(self, path: Path, follow: Callable[[], bool] | None = None) -> None:
        """follow: asked at the end of the file; while it says True, more is waited for."""
        self.path = path
        self._raw: IO[bytes] = sys.stdin.buffer if str(path) == "-" else path.open("rb", buffering=_PART)
        self._follow = follow
        self.regular = self._raw.seekable()
        while follow and self.regular and not os.fstat(self._raw.fileno()).st_size and follow():
            time.sleep(LOOK_S)
        self.size = os.fstat(self._raw.fileno()).st_size if self.regular else 0
        self.begin = self._raw.peek(8)[:8]
        self.not_utf8 = 0  # lines
        self.replaced = ""  # why a file that was followed is to be opened again: RENAMED or CUT_SHORT
        self._suspected = ""
        self._stream, self.packed = unpacked(self._raw, self.begin)
        marked = not self.packed and self.begin.startswith(BOM_UTF8)
        self._stream, self.encoding = as_utf8(self._stream)
        self._as_it_is = self._stream is self._raw and not marked

    @property
    def name(self) -> str:
        """What it is called for the user."""
        return "standard input" if str(self.path) == "-" else str(self.path)

    @property
    def position(self) -> int:
        """Bytes of the file that were read; 0 for a pipe."""
        return self._raw.tell() if self.regular else 0

    @property
    def follows(self) -> bool:
        return self._follow is not None

    @property
    def closed(self) -> bool:
        return self._raw.closed

    def again(self) -> "OpenedText":
        return OpenedText(self.path)

    def close(self) -> None:
        if str(self.path) != "-":
            self._raw.close()

    def blocks(self) -> Iterator[bytes]:
        """The unpacked content, as UTF-8 where it was UTF-16, in parts; up to where it is damaged."""
        try:
            while part := self._stream.read1(_PART):
                yield part
        except DAMAGE:
            return

    def lines(self) -> Iterator[Line | None]:
        """All lines from here on. None is given where a file that grows has no more at the moment."""
        number, held = 0, b""
        while True:
            try:
                part = self._stream.readline(LONGEST + 1 - len(held))
            except DAMAGE:
                yield Line(number + 1, "", self._damage())
                return
            if not part and self._goes_on():
                yield None
                time.sleep(LOOK_S)
                continue
            line, held = held + part, b""
            if not line:
                return
            if part and self._follow and not line.endswith(b"\n") and len(line) <= LONGEST:
                held = line
                continue
            number += 1
            yield self._line(number, line)

    def _goes_on(self) -> bool:
        """Whether more may come at the end of the file. One that was replaced is looked at twice: its writer may still have written."""
        if self._follow is None or not self._follow():
            return False
        found = self._replacement() if self.regular else ""
        self.replaced, self._suspected = found if found == self._suspected else "", found
        return not self.replaced

    def _replacement(self) -> str:
        try:
            now, mine = os.stat(self.path), os.fstat(self._raw.fileno())
        except OSError:  # it was renamed, and there is no new one yet
            return ""
        if (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino):
            return RENAMED if now.st_size else ""
        return CUT_SHORT if now.st_size < self._raw.tell() else ""

    def backward(self, before: Iterable[str] = ()) -> Iterator[Line]:
        """All lines from the last to the first. What is packed or a pipe is unpacked into a temporary file first.

        before: lines of a pipe that were read already.
        """
        with tempfile.TemporaryFile() as spool:
            source, problem = self._raw, ""
            if not self.regular or not self._as_it_is:
                source = spool
                spool.writelines(f"{line}\n".encode() for line in before)
                try:
                    while part := self._stream.read1(_PART):
                        spool.write(part)
                except DAMAGE:
                    problem = self._damage()
            source.seek(0)
            number = sum(part.count(b"\n") for part in iter(lambda: source.read(_PART), b""))
            if problem:
                yield Line(number + 1, "", problem)
            lines = _backward(source)
            if last := next(lines, b""):
                yield self._line(number + 1, last)
            for line in lines:
                yield self._line(number, line + b"\n")
                number -= 1

    def _damage(self) -> str:
        return f"expected whole {self.packed} data, got data that ends early or is damaged"

    def _line(self, number: int, line: bytes) -> Line:
        ended = line.endswith(b"\n")
        if len(line) > LONGEST:
            while not ended and (rest := self._stream.readline(LONGEST)):
                ended = rest.endswith(b"\n")
            return Line(number, "", f"expected lines of at most {LONGEST:,} bytes, got a line of more", ended)
        if b"\0" in line:
            return Line(number, "", f"expected text, got {counted(line.count(0), 'NUL byte')}", ended)
        try:
            text = line.decode()
        except UnicodeDecodeError:
            self.not_utf8 += 1
            text = line.decode("latin-1")
        return Line(number, text.rstrip("\r\n").lstrip("\ufeff"), "", ended)


def _backward(stream: IO[bytes]) -> Iterator[bytes]:
    """Lines without their ends, the last first; what stands behind the last line end is the first, mostly nothing."""
    position, rest = stream.seek(0, os.SEEK_END), b""
    while position:
        size = min(_PART, position)
        position -= size
        stream.seek(position)
        rest, *lines = (stream.read(size) + rest).split(b"\n")
        yield from reversed(lines)
        rest = rest if len(rest) <= LONGEST else rest[-LONGEST - 1 :]
    yield rest
