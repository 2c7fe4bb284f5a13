"""Runs one replay: recording, engine, pace, progress and, where asked for, a store."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from corec.cli.common.base import on_terminal
from corec.cli.common.interrupt import Interrupt
from corec.cli.output.status_text import ledger_line
from corec.cli.output.table import Table, columns, terminal_width
from corec.cli.readings.file_options import ReadAs, no_readings
from corec.cli.readings.replay_store import ReplayStore
from corec.common.text import counted, duration
from corec.common.times import iso
from corec.config import Config
from corec.config.ram_price import admit
from corec.engine import Engine
from corec.engine.outcome import Outcome, kind_name
from corec.errors import InputError
from corec.sources.names import NameTable
from corec.sources.recordings.recording import Recording, RecordingPiece
from corec.sources.recordings.replay import fold, open_recording
from corec.streams.sending.receipt import MEANINGS, refusals

TOP_ALERTS = 10
#: With a speed, readings come in pieces of this many seconds of real time.
PIECE_S = 0.1


class ReplayRun:
    """One `corec replay` and its counts."""

    def __init__(self, file: Path, config: Config, read_as: ReadAs, *, into: Path | None, say: Callable[[str], None]) -> None:
        """say: prints a line. How the file is read is said at once."""
        admit(config)
        self._names, self._interrupt, self._say = NameTable(None, config), Interrupt(), say
        going_on = (lambda: not self._interrupt.asked) if read_as.follow else None
        self._open = partial(open_recording, file, config, block=read_as.block, at=read_as.at, options=read_as.csv, names=self._names,
                             follow=going_on)  # fmt: skip
        self._file = file
        self._recording = self._open()
        self._say("\n".join(self._recording.about))
        self._engine = Engine(config)
        self._store = ReplayStore(into, self._engine) if into else None
        self._into = into
        self._earlier: list[Recording] = []  # of the files that had this name before, where it is followed
        self._failed: list[str] = []
        self._readings = self._messages = self._windows = 0
        self._alerts: Counter[tuple[int, int]] = Counter()
        self._first_alert: dict[tuple[int, int], tuple[int, int]] = {}  # time, block
        self._first = self._last = 0
        self._took = 0.0

    @property
    def damaged(self) -> bool:
        """Whether rows, columns or bytes of the file were left out, or one that took its name could not be read."""
        return bool(self._failed) or any(recording.damaged for recording in (*self._earlier, self._recording))

    @property
    def problems(self) -> list[str]:
        """A line for each cause for which the engine refused readings, and one for a file that could not be read."""
        ledger = self._engine.ledger
        refused = {cause: ledger.get(cause if cause == "late" else f"rejected_{cause}", 0) for cause in MEANINGS}
        return self._failed + refusals(refused)

    def run(self, speed: float | None) -> bool:
        """Replay the recording; returns True where Ctrl-C ended it early.  FrameError where it has no readings."""
        began = time.monotonic()
        span = None if speed is None else max(1, round(1000 * speed * PIECE_S))
        with self._store or nullcontext(), _progress(self._recording.size) as show, self._interrupt as interrupt:
            for piece in self._pieces(span):
                self._take(piece)
                show(piece.position, f"{iso(piece.time)[:-4]}   {counted(self._readings, 'reading')}")
                if speed is not None:
                    interrupt.sleep_until(began + (piece.time - self._first) / 1000 / speed)
                if interrupt.asked:
                    break
            self._add(self._engine.finish())
        if self._into:
            self._names.copy_to(self._into)
        self._took = time.monotonic() - began
        if not self._readings and not interrupt.asked:
            raise no_readings(self._file, self._recording)
        return interrupt.asked

    def _pieces(self, span: int | None) -> Iterator[RecordingPiece]:
        """All pieces of the file, and of those that take its name while it is followed."""
        yield from self._recording.pieces(span)
        while self._recording.replaced:
            self._say("\n".join([*self._recording.notes(), f"{self._file}: {self._recording.replaced}"]))
            try:
                following = self._open()
            except InputError as error:
                self._failed = [] if self._interrupt.asked else [str(error)]
                return
            self._say("\n".join(following.about))
            self._earlier.append(self._recording)
            self._recording = following
            yield from following.pieces(span)

    def summary(self) -> list[str]:
        """The lines that the command prints at the end."""
        ledger, rate = self._engine.ledger, self._readings / max(self._took, 1e-9)
        repeated = ledger.get("rejected_repeated", 0)
        rows = sum(recording.rows for recording in (*self._earlier, self._recording))
        return [
            "",
            f"{counted(rows, self._recording.unit)}, {counted(self._readings, 'reading')}"
            f" from {iso(self._first)[:-4]} to {iso(self._last)[:-4]} UTC,"
            f" in {duration(self._took)} ({rate:,.0f} readings/s)",
            *self._recording.notes(),
            f"{counted(self._messages, 'message')} ({self._messages / max(self._readings, 1):.1%} of the readings),"
            f" {counted(self._windows, 'window')}, {counted(self._alerts.total(), 'alert')}",
            ledger_line(ledger),
            *[f"{counted(repeated, 'reading')} came once more in a batch that was sent again, and count once"] * bool(repeated),
            *self._top_alerts(),
            *([f"kept in {self._into}: corec query --data {self._into}"] if self._into else []),
        ]

    def _take(self, piece: RecordingPiece) -> None:
        self._first = min(self._first, piece.start) if self._readings else piece.start
        self._last = max(self._last, piece.time)
        self._readings += piece.readings
        for outcome in fold(self._engine, piece.content):
            self._add(outcome)

    def _add(self, outcome: Outcome) -> None:
        self._messages += len(outcome.messages)
        self._windows += len(outcome.aggregates)
        for moment, id, block, _, kind, *_ in outcome.alerts.tolist():
            self._alerts[id, kind] += 1
            self._first_alert.setdefault((id, kind), (moment, block))
        if self._store:
            self._store.add(outcome)

    def _top_alerts(self) -> Iterator[str]:
        if not self._alerts:
            return
        names, rows = {}, []
        for recording in (*self._earlier, self._recording):
            names |= recording.names
        for (id, kind), count in self._alerts.most_common(TOP_ALERTS):
            moment, block = self._first_alert[id, kind]
            rows.append([f"{count:,}", kind_name(kind), names.get(id) or f"#{id}", self._engine.block_ids[block], iso(moment)[:-4]])
        header = ["alerts", "kind", "entity", "block", "first (UTC)"]
        yield ""
        yield from columns(Table(header, rows, header[1:], ["entity", "block"]), width=terminal_width())
        if len(self._alerts) > TOP_ALERTS:
            yield f"and of {counted(len(self._alerts) - TOP_ALERTS, 'entity')} more"


@contextmanager
def _progress(size: int) -> Iterator[Any]:
    """Yields a function (position, text) that updates a progress bar; it does nothing where there is no terminal."""
    if not on_terminal():
        yield lambda position, text: None
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("", total=size)
        yield lambda position, text: progress.update(task, completed=position, description=text)
