"""Sends recordings and lines of standard input, for `corec send`."""

import select
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from corec._core.wire import unpack_envelope
from corec.cli.common.interrupt import Interrupt
from corec.cli.readings.file_options import ReadAs, no_readings
from corec.cli.readings.sent_before import SentBefore
from corec.common.text import counted
from corec.common.times import wall_ms
from corec.config import Config
from corec.errors import BackPressure, DamagedBatch, FrameError, InputError
from corec.publish import Publisher, Reading, as_frames, tail_of
from corec.sources.names import NameTable
from corec.sources.recordings.recording import Recording, RecordingPiece
from corec.sources.recordings.replay import open_recording
from corec.streams.sending.receipt import Receipt

#: Lines that come within this time are sent together, LINES at most.
TOGETHER_S = 0.1
LINES = 1_000


class FileSending:
    """A recording on its way to a node or to Redis, and the files that take its name while it is followed, each numbered by itself."""

    def __init__(self, file: Path, config: Config, data: Path, read_as: ReadAs, *, name: str, now: bool, again: bool,
                 say: Callable[[str], None]) -> None:  # fmt: skip
        """say: prints a line. How the file is read is said at once."""
        self._file, self._config, self._data, self._name = file, config, data, name
        self._now, self._again, self._say = now, again, say
        self._interrupt, self._unpackable, self.damaged = Interrupt(), 0, False
        self.problems: list[str] = []  # of files that took the name
        going_on = (lambda: not self._interrupt.asked) if read_as.follow else None
        self._open = partial(open_recording, file, config, block=read_as.block, at=read_as.at, options=read_as.csv,
                             names=NameTable(data, config), follow=going_on)  # fmt: skip
        self._take(self._open())

    @property
    def interrupted(self) -> bool:
        return self._interrupt.asked

    def run(self, timeout: float) -> Receipt:
        """Send it; returns what became of its readings.  FrameError where it has none, BackPressure after *timeout* s."""
        receipt = self._send(timeout)
        while self._recording.replaced:
            self._say(str(receipt))
            self.problems += receipt.problems
            self._say(f"{self._file}: {self._recording.replaced}")
            try:
                with self._interrupt:
                    following = self._open()
            except InputError as error:
                self.problems += [] if self.interrupted else [str(error)]
                return Receipt.none()
            self._take(following)
            receipt = self._send(timeout)
        return receipt

    def _take(self, recording: Recording) -> None:
        self._recording, self._unpackable = recording, 0
        self._sent, said = SentBefore(tail_of(self._data, self._name)), ""
        self._epoch: int | None = None
        if self._file.is_file() and not self._again:
            self._epoch, said = self._sent.epoch(self._file, recording)
        self._say("\n".join([*recording.about, *([said] if said else [])]))

    def _send(self, timeout: float) -> Receipt:
        with Publisher(self._config, name=self._name, data=self._data, epoch=self._epoch) as publisher:
            self._note()
            with self._interrupt as interrupt:
                for piece in self._recording.pieces():
                    try:
                        frames, moment, offsets = _unpacked(piece)
                    except DamagedBatch:
                        self._unpackable += piece.readings
                        continue
                    when = (wall_ms(), None) if self._now else (moment, offsets)
                    publisher.publish(frames, time=when[0], offsets=when[1], timeout=timeout)
                    if interrupt.asked:
                        break
            receipt = _finish(publisher, timeout)
            self._note()
        if not (receipt.sent or self._unpackable or self.interrupted or self._recording.replaced):
            raise no_readings(self._file, self._recording)
        self.damaged = self.damaged or self._recording.damaged or self._unpackable > 0
        unpackable = f"{counted(self._unpackable, 'reading')} left out in batches that do not unpack"
        self._say("\n".join(["", *self._recording.notes(), *[unpackable] * (self._unpackable > 0)]))
        return receipt

    def _note(self) -> None:
        if self._epoch is not None and not self._recording.replaced:  # else the name is another file's
            self._sent.note(self._file, self._recording, self._epoch)


def send_lines(config: Config, data: Path, name: str, timeout: float) -> tuple[Receipt, list[str]]:
    """Send lines of standard input as they come; returns what became of their readings, and problems."""
    bad = []
    with Publisher(config, name=name, data=data) as publisher:
        for lines in _gathered(sys.stdin):
            readings = []
            for line in lines:
                try:
                    readings.append(reading_of(line))
                except FrameError as error:
                    bad.append(error.text)
            publisher.publish(readings, timeout=timeout)
        receipt = _finish(publisher, timeout)
    return receipt, [f"{len(bad):,} lines left out, the first: {bad[0]}"] if bad else []


def reading_of(line: str) -> Reading:
    """Parse a line `id,canal,valor[,estado]`; FrameError."""
    cells = [cell.strip() for cell in line.split(",")]
    try:
        id, canal, valor, estado = (*cells, "1")[:4] if len(cells) in (3, 4) else ()
        reading = (int(id), int(canal), float(valor), {"1": True, "0": False, "true": True, "false": False}[estado.lower()])
    except (ValueError, KeyError):
        raise FrameError(f"expected a line id,canal,valor[,estado], got {line.strip()!r:.60}") from None
    try:
        as_frames([reading])
    except FrameError as error:
        raise FrameError(f"{error.text}, in the line {line.strip()!r:.60}", hint=error.hint) from None
    return reading


def _unpacked(piece: RecordingPiece) -> tuple[bytes, int, Any]:
    if isinstance(piece.content, bytes):
        batch = unpack_envelope(piece.content)
        return bytes(batch.frames), batch.time, batch.offsets
    return piece.content.frames(), piece.content.time, piece.content.offsets


def _finish(publisher: Publisher, timeout: float) -> Receipt:
    if not publisher.flush(timeout):
        stats = publisher.sender.stats()
        raise BackPressure(f"{stats.waiting:,} batches were not taken within {timeout:g} s; they are kept",
                           detail=stats.problem or None, hint="give the command again: what is kept is sent first")  # fmt: skip
    return publisher.wait(timeout, result=True)


def _has_more(stream: TextIO) -> bool:
    """Whether a line can be read without waiting; False where the system cannot say."""
    try:
        return bool(select.select([stream], [], [], 0)[0])
    except (OSError, ValueError):
        return False


def _gathered(stream: TextIO) -> Iterator[list[str]]:
    """Yields the lines that came within TOGETHER_S, LINES at most."""
    lines: list[str] = []
    due = 0.0
    for line in stream:
        lines, due = ([*lines, line], due) if lines else ([line], time.monotonic() + TOGETHER_S)
        if len(lines) >= LINES or time.monotonic() >= due or not _has_more(stream):
            yield lines
            lines = []
    if lines:
        yield lines
