"""A CSV with a column of times and columns of values."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from corec.common import times as timestamps
from corec.common.text import counted
from corec.config import Config
from corec.errors import FrameError
from corec.sources.base import Batch
from corec.sources.columns import map_columns
from corec.sources.recording import Piece

#: A column of one of these names holds the times; the first column does where none has such a name.
TIME_NAMES = ("timestamp", "time", "datetime", "date", "ts", "epoch", "unix", "fecha", "hora", "tiempo")
DELIMITERS = ",;\t|"
#: Cells in one piece.
CELLS = 16_384
#: Longest time that the 32-bit offsets of one batch reach.
LONGEST_MS = 2**31 - 1

_KINDS = "a recording is a CSV, or batches of frames (.frames), or bare frames with --at TIME"

Rows = list[tuple[int, list[str]]]  # (ms, cells without the time)


class CsvRecording:
    """A recording as CSV. An empty cell is no reading; a cell with text is a failed reading."""

    unit = "row"
    damaged = False

    def __init__(self, path: Path, config: Config, block: str | None = None) -> None:
        self.size = path.stat().st_size
        self.rows = self._seen = self.bad_rows = self.empty_cells = 0
        self.first_bad = ""
        self._path = path
        with self._opened() as stream:
            self._delimiter = max(DELIMITERS, key=stream.readline().count)
            stream.seek(0)
            first, second = _first_two(self._reader(stream))
        self._time_column = _time_column(first)
        self._format, self._has_header = self._detect(first, second)
        names = first if self._has_header else [f"column{number}" for number in range(len(first))]
        self._width = len(names)
        self.columns = map_columns(str(path), self._without_time(names), config, block)
        self.names = dict(zip(self.columns.ids.tolist(), self.columns.names, strict=True))
        self.failures = np.zeros(len(self.columns.names), np.int64)
        self.about = (f"{path}: times in column {names[self._time_column]}, {self._format.about}", *self.columns.about)

    def pieces(self, span: int | None = None) -> Iterator[Piece]:
        """All rows. Rows that cannot be read are counted and left out."""
        most = max(1, CELLS // len(self.columns.names))
        with self._opened() as stream:
            for rows in _grouped(self._timed_rows(stream), most, min(span or LONGEST_MS, LONGEST_MS)):
                batch = self._batch(rows)
                self.rows += len(rows)
                if batch.readings:
                    times = [time for time, _ in rows]
                    yield Piece(batch, min(times), max(times), batch.readings, stream.buffer.tell())

    def notes(self) -> list[str]:
        """What was not read as a value so far, for the user."""
        notes = []
        if self.failures.any():
            worst = self.columns.names[int(self.failures.argmax())]
            cells = counted(int(self.failures.sum()), "cell")
            notes.append(f"{cells} of text counted as failed readings, most in column {worst}")
        if self.empty_cells:
            notes.append(f"{counted(self.empty_cells, 'empty cell')} skipped")
        if self.bad_rows:
            notes.append(f"{counted(self.bad_rows, 'row')} left out, the first at {self.first_bad}")
        return notes

    # --- the shape of the file -----------------------------------------------------------------

    def _detect(self, first: list[str], second: list[str]) -> tuple[timestamps.TimeFormat, bool]:
        """(format of the times, whether the first row has the column names)."""
        if len(first) < 2:
            hint = f"separate columns by one of {' '.join(DELIMITERS[:2])} tab {DELIMITERS[3]}"
            raise FrameError(
                f"{self._path}: expected a column of times and columns of values, got {first!r} - at line 1", hint=hint
            )
        for row, header in ((first, False), (second, True)):
            cell = row[self._time_column] if self._time_column < len(row) else ""
            format = timestamps.detect(cell)
            if format is not None:
                return format, header
        column = first[self._time_column]
        if not second:
            raise FrameError(f"{self._path}: expected rows of readings, got one line without a time in column {column}")
        got = f"{cell!r} - at line 2"
        raise FrameError(f"{self._path}: expected a time in column {column}, got {got}", hint=timestamps.HINT)

    @contextmanager
    def _opened(self) -> Iterator[TextIO]:
        """The file as text; FrameError when it is not text."""
        try:
            with self._path.open(encoding="utf-8-sig", newline="") as stream:
                yield stream
        except OSError as error:
            raise FrameError(
                f"{self._path}: expected a readable CSV, got {(error.strerror or 'an error').lower()}"
            ) from None
        except (UnicodeDecodeError, csv.Error) as error:
            got = f"bytes that are none ({error.reason})" if isinstance(error, UnicodeDecodeError) else str(error)
            got += f" - behind row {self._seen + self.bad_rows}"
            raise FrameError(f"{self._path}: expected a CSV in UTF-8, got {got}", hint=_KINDS) from None

    def _reader(self, stream: TextIO) -> Any:
        return csv.reader(stream, delimiter=self._delimiter, skipinitialspace=True)

    def _without_time(self, row: list[str]) -> list[str]:
        return row[: self._time_column] + row[self._time_column + 1 :]

    # --- rows ----------------------------------------------------------------------------------

    def _timed_rows(self, stream: TextIO) -> Iterator[tuple[int, list[str]]]:
        reader = self._reader(stream)
        for cells in islice(filter(None, reader), int(self._has_header), None):
            time, problem = self._time(cells)
            if time is None:
                self.bad_rows += 1
                self.first_bad = self.first_bad or f"line {reader.line_num}: {problem}"
                continue
            self._seen += 1
            values = self._without_time(cells)
            yield time, values + [""] * (self._width - len(cells))

    def _time(self, cells: list[str]) -> tuple[int | None, str]:
        """(time of the row in ms, ""), or (None, why it has none)."""
        if not self._time_column < len(cells) <= self._width:
            return None, f"expected {counted(self._width, 'value')}, got {len(cells):,}; decimals take a point"
        text = cells[self._time_column]
        try:
            return self._format.read(text), ""
        except ValueError:
            return None, f"expected a time, {self._format.about}, got {text!r}"

    def _batch(self, rows: Rows) -> Batch:
        time = rows[0][0]
        table = np.empty((len(rows), len(self.columns.names)))
        there = np.ones(table.shape, bool)
        for column, cells in enumerate(zip(*(cells for _, cells in rows), strict=True)):
            self._read_column(column, cells, table[:, column], there[:, column])
        row, column = np.nonzero(there)
        offsets = np.array([moment - time for moment, _ in rows], np.int64).astype(np.int32)
        with np.errstate(over="ignore"):  # too large for a frame is infinite, and that is a failure
            valores = table[row, column].astype(np.float32)
        return Batch(self.columns.ids[column], self.columns.canales[column], valores, True, time, offsets[row])

    def _read_column(self, column: int, cells: tuple[str, ...], values: np.ndarray, there: np.ndarray) -> None:
        try:
            values[:] = [float(cell) for cell in cells]  # mostly all of them are numbers
        except ValueError:
            for row, cell in enumerate(cells):
                values[row], there[row] = self._read_cell(column, cell)

    def _read_cell(self, column: int, cell: str) -> tuple[float, bool]:
        try:
            return float(cell), True
        except ValueError:
            if cell and not cell.isspace():
                self.failures[column] += 1
                return np.nan, True
        self.empty_cells += 1
        return np.nan, False


def _first_two(reader: Any) -> tuple[list[str], list[str]]:
    rows = [[cell.strip() for cell in row] for row in islice(filter(None, reader), 2)]
    first, second = (*rows, [], [])[:2]
    return first, second


def _time_column(header: list[str]) -> int:
    names = [name.casefold() for name in header]
    return next((names.index(name) for name in TIME_NAMES if name in names), 0)


def _grouped(rows: Iterator[tuple[int, list[str]]], most: int, span: int) -> Iterator[Rows]:
    """Rows in groups of at most *most* rows that cover at most *span* ms."""
    group: Rows = []
    low = high = 0
    for row in rows:
        low, high = (min(low, row[0]), max(high, row[0])) if group else (row[0], row[0])
        if group and (len(group) == most or high - low > span):
            yield group
            group, low, high = [], row[0], row[0]
        group.append(row)
    if group:
        yield group
