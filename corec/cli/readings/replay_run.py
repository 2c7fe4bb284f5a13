"""Runs one replay: recording, engine, pace, progress and, where asked for, a store."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from corec.cli.common.base import on_terminal
from corec.cli.common.interrupt import Interrupt
from corec.cli.output.status_text import ledger_line
from corec.cli.output.table import Table, columns, terminal_width
from corec.cli.readings.replay_store import ReplayStore
from corec.common.text import counted, duration
from corec.common.times import iso
from corec.config import Config
from corec.config.ram_price import admit
from corec.engine import Engine
from corec.engine.outcome import Outcome, kind_name
from corec.errors import FrameError
from corec.sources.names import NameTable
from corec.sources.recordings.csv_recording import Options
from corec.sources.recordings.recording import RecordingPiece
from corec.sources.recordings.replay import fold, open_recording

TOP_ALERTS = 10
#: With a speed, readings come in pieces of this many seconds of real time.
PIECE_S = 0.1


class ReplayRun:
    """One `corec replay` and its counts."""

    def __init__(self, file: Path, config: Config, *, into: Path | None, block: str | None, at: int | None,
                 options: Options, follow: bool) -> None:  # fmt: skip
        admit(config)
        self._names, self._interrupt = NameTable(None, config), Interrupt()
        going_on = (lambda: not self._interrupt.asked) if follow else None
        self.recording = open_recording(file, config, block=block, at=at, options=options, names=self._names, follow=going_on)
        self._file = file
        self._engine = Engine(config)
        self._store = ReplayStore(into, self._engine) if into else None
        self._into = into
        self._readings = self._messages = self._windows = 0
        self._alerts: Counter[tuple[int, int]] = Counter()
        self._first_alert: dict[tuple[int, int], tuple[int, int]] = {}  # time, block
        self._first = self._last = 0
        self._took = 0.0

    def run(self, speed: float | None) -> bool:
        """Replay the recording; returns True where Ctrl-C ended it early.  FrameError where it has no readings."""
        began = time.monotonic()
        span = None if speed is None else max(1, round(1000 * speed * PIECE_S))
        with self._store or nullcontext(), _progress(self.recording.size) as show, self._interrupt as interrupt:
            for piece in self.recording.pieces(span):
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
            raise FrameError(
                f"{self._file}: expected readings, got none", detail="; ".join(self.recording.notes()) or None
            )
        return interrupt.asked

    def summary(self) -> list[str]:
        """The lines that the command prints at the end."""
        ledger, rate = self._engine.ledger, self._readings / max(self._took, 1e-9)
        rejected = [f"{count:,} {key[9:]}" for key, count in ledger.items() if key.startswith("rejected_") and count]
        return [
            "",
            f"{counted(self.recording.rows, self.recording.unit)}, {counted(self._readings, 'reading')}"
            f" from {iso(self._first)[:-4]} to {iso(self._last)[:-4]} UTC,"
            f" in {duration(self._took)} ({rate:,.0f} readings/s)",
            *self.recording.notes(),
            f"{counted(self._messages, 'message')} ({self._messages / max(self._readings, 1):.1%} of the readings),"
            f" {counted(self._windows, 'window')}, {counted(self._alerts.total(), 'alert')}",
            ledger_line(ledger),
            *(["rejected: " + ", ".join(rejected)] if rejected else []),
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
        names, rows = self.recording.names, []
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
