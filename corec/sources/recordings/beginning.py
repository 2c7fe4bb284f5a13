"""What the first lines of a CSV show: its dialect, which column is what, and how its times are written."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from copy import deepcopy
from datetime import tzinfo
from typing import NamedTuple, NoReturn

from corec.errors import FrameError
from corec.sources.recordings.cells import Cells, clean_name, few, find_decimal, shown, split_line
from corec.sources.recordings.dialect import DELIMITERS, Sample, SampleRow, is_comment, is_open, take_sample
from corec.sources.recordings.find_shape import Start, find_start
from corec.sources.recordings.opened_text import Line, OpenedText
from corec.sources.recordings.shape import Shape, describe, is_header, same_names
from corec.sources.recordings.time_cells import HINT, TimeReader, day_order, find_reader, needs_order
from corec.sources.recordings.time_columns import is_time_name
from corec.sources.recordings.time_order import newest_first
from corec.sources.recordings.time_words import unit_of, zone_in

#: Lines without comments from which dialect and columns are found.
SAMPLE = 200
#: Lines of the sample with its comments.
MOST_LINES = 10_000
_KINDS = "a recording is a CSV, or batches of frames (.frames), or bare frames with --at TIME"


class Options(NamedTuple):
    """What a user may say about a CSV."""

    zone: tzinfo | None = None  # of times without one; UTC by default
    dates: str | None = None  # "dmy", "mdy" or "ymd", where the file does not say it


class Beginning:
    """The first lines of a CSV."""

    def __init__(self, text: OpenedText, lines: Iterator[Line | None], options: Options) -> None:
        """lines: of the text; those of the sample are taken.  FrameError where they begin no CSV."""
        self._text, self._options = text, options
        self.sample = self._take_sample(lines)
        self.start = self._find_start()
        rows, shape = self.sample.rows, self.start.shape
        self.first_line = rows[self.start.first].line
        self.body = [row.cells for row in rows[self.start.first : self.start.end]]
        self.reader = self._time_reader(shape, self.body, self.start.zone_text)
        self.times = list(self._sample_times(shape, self.body))
        self.newest_first = newest_first(self.times) and not text.follows and not self._changes_columns(shape)
        self.decimal, self.decimals = _decimal_marks(shape, self.body, self.sample.dialect.delimiter)

    def _take_sample(self, lines: Iterator[Line | None]) -> Sample:
        """The first lines. Of a file that is followed, those that are there when it has a row."""
        taken: list[Line] = []
        content = 0
        for line in lines:
            if line is None:
                sample = take_sample(taken)
                if sample.rows and find_start([row.cells for row in sample.rows]):
                    return sample
                continue
            taken.append(line)
            content += not is_comment(line.text)
            if content == SAMPLE or len(taken) == MOST_LINES:
                break
        return take_sample(taken)

    def _find_start(self) -> Start:
        """Where the rows begin; FrameError when there are none."""
        lines, rows = self.sample.lines, self.sample.rows
        if not lines:
            raise FrameError(f"{self._text.name}: expected a recording, got an empty file")
        if not rows:
            first = next((line for line in lines if line.text.strip()), lines[0])
            self._refuse(
                f"a column of times and columns of values, got {first.problem or shown(first.text)} - at line {first.number}",
                f"separate columns by one of {' '.join(DELIMITERS[:2])} tab {DELIMITERS[3]}; {_KINDS}",
            )
        start = find_start([row.cells for row in rows])
        if start is not None and start.header is None:
            self.sample = self.sample.with_commented_names(start.first)
            start = find_start([row.cells for row in self.sample.rows])
        if start is None:
            self._refuse_without_times(rows)
        if not start.shape.values:
            names = few(name for index, name in enumerate(start.shape.names) if name and index not in start.shape.times)
            self._refuse(f"a column of numbers, got none beside the {describe(start.shape)}{': ' * bool(names)}{names}", _KINDS)
        return start

    def _refuse_without_times(self, rows: list[SampleRow]) -> NoReturn:
        first, *others = rows
        column = next((index for index, cell in enumerate(first.cells) if is_time_name(cell)), 0)
        name = clean_name(first.cells[column])
        delimiter = self.sample.dialect.delimiter
        opened = next((line.number for line in self.sample.lines if not line.problem and is_open(line.text, delimiter)), 0)
        if not others and opened:
            self._refuse(f"quotes that close at the end of a cell and of a line, got ones that do not - at line {opened}", _KINDS)
        if not others:
            self._refuse(f"rows of readings, got one line without a time in column {name}", HINT)
        got = shown(others[0].cells[column].strip()) if column < len(others[0].cells) else "a row without it"
        self._refuse(f"a time in column {name}, got {got} - at line {others[0].line}", HINT)

    def _refuse(self, text: str, hint: str) -> NoReturn:
        first = self.sample.lines[0]
        if first.problem or not first.text.replace("\t", "").isprintable():
            got = first.problem.partition("got ")[2] or first.problem or f"bytes that are no text: {shown(first.text)}"
            text = f"a CSV in UTF-8, UTF-16 or Latin-1, got {got} - at line 1"
        raise FrameError(f"{self._text.name}: expected {text}", hint=hint)

    def _time_reader(self, shape: Shape, rows: list[Cells], zone_text: str) -> TimeReader:
        if shape.elapsed:
            return TimeReader("elapsed", unit_of(shape.names[shape.times[0]]))
        cells = list(_time_texts(shape, rows))
        zone = zone_in(zone_text) or self._options.zone
        reader = find_reader(cells, zone, self._options.dates)
        if reader is None:
            self._refuse(f"a time in {describe(shape).removeprefix('times in ')}, got {shown(cells[0])} - at line {self.first_line}", HINT)
        if reader.kind != "date" or self._options.dates:
            return reader
        order, certain = day_order(cells)
        if not certain and self._text.regular:
            order, _ = day_order(_time_texts(shape, self._all_cells()))
        if order is None and any(map(needs_order, cells)):
            self._refuse(
                f"dates that say in which order day, month and year stand, got dates as {shown(cells[0])}",
                "--dates dmy (day first), --dates mdy or --dates ymd says it",
            )
        return find_reader(cells, zone, order)

    def _all_cells(self) -> Iterator[Cells]:
        with closing(self._text.again()) as text:
            for line in text.lines():
                if line and not line.problem and not is_open(line.text, self.sample.dialect.delimiter):
                    yield split_line(line.text, self.sample.dialect.delimiter)

    def _sample_times(self, shape: Shape, rows: list[Cells]) -> Iterator[int]:
        reader = deepcopy(self.reader)  # it goes on from row to row, and the rows are still to be read
        for text in _time_texts(shape, rows):
            try:
                yield reader.read(text)
            except ValueError:
                continue

    def _changes_columns(self, shape: Shape) -> bool:
        """Whether a header in the middle of a file with its newest row first has other columns: then it is read from the top."""
        return self._text.regular and any(is_header(shape, cells) and not same_names(shape, cells) for cells in self._all_cells())


def _decimal_marks(shape: Shape, rows: list[Cells], delimiter: str) -> tuple[str, dict[str, str]]:
    """(the decimal mark of a file, those of columns that show one, by name)."""
    found = find_decimal(_values_of(shape, rows))
    mark = found if found in (",", ".") else "," if found and delimiter != "," else "."
    of_columns = {value.name: find_decimal(row[value.index] for row in rows if value.index < len(row)) for value in shape.values}
    return mark, {name: mark for name, mark in of_columns.items() if mark in (",", ".")}


def _values_of(shape: Shape, rows: list[Cells]) -> Iterator[str]:
    return (row[value.index] for row in rows for value in shape.values if value.index < len(row))


def _time_texts(shape: Shape, rows: Iterable[Cells]) -> Iterator[str]:
    for cells in rows:
        if all(index < len(cells) for index in shape.times):
            yield shape.time_text(cells)
