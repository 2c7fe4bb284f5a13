"""The lines of a text file: plain, gzip or zstd; UTF-8, UTF-16 or Latin-1; a file or a pipe."""

import gzip
import io
import os
import sys
import tempfile
import time
import zlib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import zstandard

#: Bytes of the longest line that is read. A longer one costs its row.
LONGEST = 1 << 20
#: Seconds between two looks at a file that grows.
LOOK_S = 0.2
_PART = 1 << 16
_DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError)


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
        self._raw: IO[bytes] = sys.stdin.buffer if str(path) == "-" else path.open("rb")
        self._follow = follow
        self.regular = self._raw.seekable()
        self.size = os.fstat(self._raw.fileno()).st_size if self.regular else 0
        self.begin = self._raw.peek(8)[:8]
        self.not_utf8 = 0  # lines
        self._stream, self.packed = _unpacked(self._raw, self.begin)
        self._stream, self.encoding = _as_utf8(self._stream)

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
            while part := self._stream.read(_PART):
                yield part
        except _DAMAGE:
            return

    def lines(self) -> Iterator[Line | None]:
        """All lines from here on. None is given where a file that grows has no more at the moment."""
        number, held = 0, b""
        while True:
            try:
                part = self._stream.readline(LONGEST + 1 - len(held))
            except _DAMAGE as error:
                yield Line(number + 1, "", self._damage(error))
                return
            if not part and self.regular and self.follows and os.fstat(self._raw.fileno()).st_size < self._raw.tell():
                yield Line(number + 1, "", "expected a file that grows, got one that became shorter: what follows is not read")
                return
            if not part and self._follow and self._follow():
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

    def backward(self, before: Iterable[str] = ()) -> Iterator[Line]:
        """All lines from the last to the first. What is packed or a pipe is unpacked into a temporary file first.

        before: lines of a pipe that were read already.
        """
        with tempfile.TemporaryFile() as spool:
            source, problem = self._raw, ""
            if self.packed or not self.regular or self.encoding != "UTF-8":
                source = spool
                spool.writelines(f"{line}\n".encode() for line in before)
                try:
                    while part := self._stream.read(_PART):
                        spool.write(part)
                except _DAMAGE as error:
                    problem = self._damage(error)
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

    def _damage(self, error: Exception) -> str:
        return f"expected whole {self.packed} data, got data that ends early or is damaged ({type(error).__name__})"

    def _line(self, number: int, line: bytes) -> Line:
        ended = line.endswith(b"\n")
        if len(line) > LONGEST:
            while not ended and (rest := self._stream.readline(LONGEST)):
                ended = rest.endswith(b"\n")
            return Line(number, "", f"expected at most {LONGEST:,} bytes in a line, got more", ended)
        if b"\0" in line:
            return Line(number, "", f"expected text, got {line.count(0):,} NUL bytes", ended)
        try:
            text = line.decode()
        except UnicodeDecodeError:
            self.not_utf8 += 1
            text = line.decode("latin-1")
        return Line(number, text.rstrip("\r\n"), "", ended)


def _unpacked(raw: IO[bytes], begin: bytes) -> tuple[IO[bytes], str]:
    """(the content, the name of the packing)."""
    if begin.startswith(b"\x1f\x8b"):
        return io.BufferedReader(gzip.GzipFile(fileobj=raw)), "gzip"
    if begin.startswith(b"\x28\xb5\x2f\xfd"):
        return io.BufferedReader(_FromZstd(raw)), "zstd"
    return raw, ""


def _as_utf8(stream: IO[bytes]) -> tuple[IO[bytes], str]:
    """(the text as UTF-8 without a byte-order mark, the name of its encoding)."""
    try:
        head = stream.peek(64)[:64]
    except _DAMAGE:
        return stream, "UTF-8"  # the first line says what is wrong
    if head.startswith(BOM_UTF8):
        stream.read(len(BOM_UTF8))
        return stream, "UTF-8 with a byte-order mark"
    even, odd = head[: len(head) // 2 * 2 : 2], head[1::2]
    if head.startswith(BOM_UTF16_LE) or _is_ascii(even) and not any(odd):
        return io.BufferedReader(_FromUtf16(stream, "utf-16-le")), "UTF-16"
    if head.startswith(BOM_UTF16_BE) or _is_ascii(odd) and not any(even):
        return io.BufferedReader(_FromUtf16(stream, "utf-16-be")), "UTF-16"
    return stream, "UTF-8"


def _is_ascii(text: bytes) -> bool:
    return len(text) > 2 and text.isascii() and all(text)


class _Converted(io.RawIOBase):
    """A stream whose bytes are made from those of another."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._ready = stream, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:
        while not self._ready:
            part = self._stream.read(self.part)
            self._ready = self.convert(part)
            if not part and not self._ready:
                return 0
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    part = _PART  # bytes that are converted at once

    def convert(self, part: bytes) -> bytes:
        """The bytes made from *part*; b"" is the end."""
        raise NotImplementedError


class _FromUtf16(_Converted):
    """UTF-16 as UTF-8, without byte-order marks; what does not decode becomes U+FFFD."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        super().__init__(stream)
        self._decoder = getincrementaldecoder(encoding)("replace")

    def convert(self, part: bytes) -> bytes:
        return self._decoder.decode(part, final=not part).lstrip("\ufeff").encode()


class _FromZstd(_Converted):
    """The content of Zstandard frames; ZstdError where the last one ends early, which the package's own reader does not say."""

    part = 512  # of which at most 16 MB come: blocks of four bytes stand for 128 KB

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(stream)
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._begun = False

    def convert(self, part: bytes) -> bytes:
        if not part and self._begun and not self._frame.eof:
            raise zstandard.ZstdError("the last frame ends early")
        content = b""
        while part:
            if self._frame.eof:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            content += self._frame.decompress(part)
            self._begun, part = True, self._frame.unused_data
        return content


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
