"""A CSV with a column of times, and columns of values or a row for each reading."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from copy import deepcopy
from datetime import tzinfo
from itertools import chain
from typing import NamedTuple, NoReturn

from corec.common.text import counted
from corec.common.times import iso, wall_ms
from corec.errors import FrameError
from corec.sources.recordings.cells import Cells, clean_name, few, find_decimal, is_gap, shown, split_line
from corec.sources.recordings.columns import Entities, Entity
from corec.sources.recordings.csv_batches import CsvBatches, Part, Row
from corec.sources.recordings.dialect import DELIMITERS, Sample, SampleRow, is_comment, is_open, take_sample, whole_rows
from corec.sources.recordings.find_shape import Start, find_start
from corec.sources.recordings.left_out import LeftOut
from corec.sources.recordings.opened_text import Line, OpenedText
from corec.sources.recordings.recording import RecordingPiece
from corec.sources.recordings.shape import Shape, Value, describe, is_header, is_text, renamed, same_names
from corec.sources.recordings.time_cells import HINT, TimeReader, day_order, find_reader, needs_order
from corec.sources.recordings.time_columns import is_time_name
from corec.sources.recordings.time_order import Leaps, newest_first
from corec.sources.recordings.time_words import unit_of, zone_in
from corec.streams.reach import REACH_MS

#: Lines without comments from which dialect and columns are found.
SAMPLE = 200
#: Lines of the sample with its comments.
MOST_LINES = 10_000
#: Cells in one piece.
CELLS = 16_384
#: Headers in the middle that are described.
HEADERS = 6

_KINDS = "a recording is a CSV, or batches of frames (.frames), or bare frames with --at TIME"


class Options(NamedTuple):
    """What a user may say about a CSV."""

    zone: tzinfo | None = None  # of times without one; UTC by default
    dates: str | None = None  # "dmy", "mdy" or "ymd", where the file does not say it


class CsvRecording:
    """A recording as CSV. A cell without a value is no reading; a cell with other text is a failed reading."""

    unit = "row"

    def __init__(self, text: OpenedText, entities: Entities, max_lead: int, options: Options | None = None) -> None:
        """max_lead: ms that the last rows may be in the future."""
        self.size, self._text, self._entities, self._max_lead = text.size, text, entities, max_lead
        self._options = options or Options()
        self.rows = 0
        self._left, self._headers = LeftOut(), list[str]()
        self._lines = text.lines()
        self._sample = self._take_sample()
        self._dialect = self._sample.dialect
        start = self._start()
        rows = self._sample.rows
        self._first_line = rows[start.first].line
        body = [row.cells for row in rows[start.first : start.end]]
        self._reader = self._time_reader(start.shape, body, start.zone_text)
        self._decimal = find_decimal(_values_of(start.shape, body))
        if self._decimal not in (",", "."):
            self._decimal = "," if self._decimal and self._dialect.delimiter != "," else "."
        marks = {value.name: find_decimal(row[value.index] for row in body if value.index < len(row)) for value in start.shape.values}
        self._batches = CsvBatches(entities, self._decimal, {name: mark for name, mark in marks.items() if mark in (",", ".")}, self._left)
        self._times = list(self._sample_times(start.shape, body))
        self.newest_first = newest_first(self._times) and not text.follows
        if self.newest_first and self._changes_columns(start.shape):
            self.newest_first = False
        self._decimals = _usual_decimals(start.shape, body)
        self._part = self._mapped(start.shape)
        self._left.noun = "sensor" if start.shape.keys else "column"
        self.about = tuple(self._describe(start, body))

    @property
    def first_line(self) -> int:
        """Line of the first row."""
        return self._first_line

    @property
    def reading(self) -> str:
        """Times, columns and entities as they were found. Sensors of a long file depend on the devices that there are."""
        shape, entities = self._part.shape, self._part.entities
        values = [(value.index, entity.id) for value, entity in zip(shape.values, entities)] or [value.index for value in shape.values]
        how = (self._reader.about, self._decimal, self.newest_first, shape.times, shape.keys, values)
        return repr(how + ((self._entities.devices,) if shape.keys else ()))

    @property
    def replaced(self) -> str:
        """Why a file that was followed is to be opened again; "" where it is not."""
        return self._text.replaced

    @property
    def names(self) -> Mapping[int, str]:
        return self._entities.names

    @property
    def damaged(self) -> bool:
        """Whether rows, or cells of columns that are no device, were left out."""
        return bool(self._left)

    def pieces(self, span: int | None = None) -> Iterator[RecordingPiece]:
        """All rows. Rows that cannot be read are counted and left out."""
        if self._text.closed:  # read once more
            self._text, self._sample = self._text.again(), self._sample._replace(lines=[])
            self._lines = self._text.lines()
        most = max(1, CELLS // max(1, len(self._part.shape.values)))
        leaps = Leaps(self._times, lambda: wall_ms() + self._max_lead)
        rows = leaps.sound(self._timed_rows(), self._leave_leap)
        for group in _grouped(rows, most, min(span or REACH_MS, REACH_MS)):
            batch = self._batches.batch(group)
            self.rows += len(group)
            if batch.readings:
                times = [row.time for row in group]
                yield RecordingPiece(batch, min(times), max(times), batch.readings, self._text.position)
        self._text.close()

    def notes(self) -> list[str]:
        """What was found in the middle of the file, and what was not read as a value so far."""
        notes = list(self._headers)
        if self._part.shape.keys:
            notes += self._entities.describe(list(self._entities.names.values()), "sensor")
        notes += self._reader.notes()
        if self._text.not_utf8:
            notes.append(f"{counted(self._text.not_utf8, 'line')} not in UTF-8, read as Latin-1")
        return notes + self._left.notes()

    # --- the shape of the file -----------------------------------------------------------------

    def _take_sample(self) -> Sample:
        """The first lines. Of a file that is followed, those that are there when it has a row."""
        lines: list[Line] = []
        content = 0
        for line in self._lines:
            if line is None:
                sample = take_sample(lines)
                if sample.rows and find_start([row.cells for row in sample.rows]):
                    return sample
                continue
            lines.append(line)
            content += not is_comment(line.text)
            if content == SAMPLE or len(lines) == MOST_LINES:
                break
        return take_sample(lines)

    def _start(self) -> Start:
        """Where the rows begin; FrameError when there are none."""
        lines, rows = self._sample.lines, self._sample.rows
        if not lines:
            raise FrameError(f"{self._text.path}: expected a recording, got an empty file")
        if not rows:
            first = next((line for line in lines if line.text.strip()), lines[0])
            self._refuse(
                f"a column of times and columns of values, got {first.problem or shown(first.text)} - at line {first.number}",
                f"separate columns by one of {' '.join(DELIMITERS[:2])} tab {DELIMITERS[3]}; {_KINDS}",
            )
        start = find_start([row.cells for row in rows])
        if start is not None and start.header is None:
            self._sample = self._sample.with_commented_names(start.first)
            start = find_start([row.cells for row in self._sample.rows])
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
        opened = next((line.number for line in self._sample.lines if not line.problem and is_open(line.text, self._dialect.delimiter)), 0)
        if not others and opened:
            self._refuse(f"quotes that close at the end of a cell and of a line, got ones that do not - at line {opened}", _KINDS)
        if not others:
            self._refuse(f"rows of readings, got one line without a time in column {name}", HINT)
        got = shown(others[0].cells[column].strip()) if column < len(others[0].cells) else "a row without it"
        self._refuse(f"a time in column {name}, got {got} - at line {others[0].line}", HINT)

    def _refuse(self, text: str, hint: str) -> NoReturn:
        first = self._sample.lines[0]
        if first.problem or not first.text.replace("\t", "").isprintable():
            got = first.problem.partition("got ")[2] or first.problem or f"bytes that are no text: {shown(first.text)}"
            text = f"a CSV in UTF-8, UTF-16 or Latin-1, got {got} - at line 1"
        raise FrameError(f"{self._text.path}: expected {text}", hint=hint)

    def _time_reader(self, shape: Shape, rows: list[Cells], zone_text: str) -> TimeReader:
        if shape.elapsed:
            return TimeReader("elapsed", unit_of(shape.names[shape.times[0]]))
        cells = list(_time_texts(shape, rows))
        zone = zone_in(zone_text) or self._options.zone
        reader = find_reader(cells, zone, self._options.dates)
        if reader is None:
            self._refuse(f"a time in {describe(shape).removeprefix('times in ')}, got {shown(cells[0])} - at line {self._first_line}", HINT)
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
                if line and not line.problem and not is_open(line.text, self._dialect.delimiter):
                    yield split_line(line.text, self._dialect.delimiter)

    def _sample_times(self, shape: Shape, rows: list[Cells]) -> Iterator[int]:
        reader = deepcopy(self._reader)  # it goes on from row to row, and the rows are still to be read
        for text in _time_texts(shape, rows):
            try:
                yield reader.read(text)
            except ValueError:
                continue

    def _changes_columns(self, shape: Shape) -> bool:
        """Whether a header in the middle of a file with its newest row first has other columns: then it is read from the top."""
        return self._text.regular and any(is_header(shape, cells) and not same_names(shape, cells) for cells in self._all_cells())

    def _mapped(self, shape: Shape, *, again: bool = False) -> Part:
        """The shape with the entities of its columns.  again: behind a header in the middle, where nothing is refused but left out."""
        if shape.keys:
            return Part(shape, [])
        names = [value.name for value in shape.values]
        if not shape.header:
            return Part(shape, self._entities.number(names))
        if not again:
            self._entities.refuse_too_many(names)
        entities = self._entities.find((value.name, value.unit) for value in shape.values)
        taken: set[int] = set()
        for place, entity in sorted(enumerate(entities), key=lambda one: one[1].how != "exact"):
            if entity.found and entity.id in taken and (again or entity.how != "exact"):
                entities[place] = Entity(-1, 0, f"another column is wire id {entity.id}")
            taken.add(entity.id)
        self._entities.refuse_twice(names, entities)
        return Part(shape, entities)

    def _describe(self, start: Start, rows: list[Cells]) -> Iterator[str]:
        shape, text = self._part.shape, self._text
        words = [f"separated by {self._dialect.name}", "decimal comma" if self._decimal == "," else "decimal point", text.encoding]
        words += [text.packed] if text.packed else []
        yield f"{text.path}: {describe(shape)}, {self._reader.about}; {', '.join(words)}"
        if shape.keys:
            keys = ", ".join(shape.key_names)
            yield f"one reading in a row: sensor by {keys}; value in {', '.join(value.name for value in shape.values)}"
        else:
            yield from self._entities.describe([value.name for value, entity in self._values() if entity.found])
            without = [(value.name, entity.how) for value, entity in self._values() if not entity.found]
            self._left.said |= {name for name, _ in without}
            yield from _left_lines(without)
        yield from _left_lines(shape.left)
        if any(len(row) > shape.width for row in rows) and all(not any(map(str.strip, row[shape.width :])) for row in rows):
            yield "rows end in a separator: the empty last column is ignored"
        if start.units_row:
            units = ", ".join(f"{value.name} {value.unit}" for value in shape.values[:HEADERS] if value.unit)
            yield f"units in the line below the names: {units or 'of no column of values'}"
        if start.header is not None and (skipped := self._sample.rows[start.header].line - 1 - bool(self._dialect.sep_line)):
            yield f"{counted(skipped, 'line')} before the names skipped"
        if self.newest_first:
            yield "the newest row is first: read from the end"

    def _values(self) -> Iterable[tuple[Value, Entity]]:
        return zip(self._part.shape.values, self._part.entities)

    # --- rows ----------------------------------------------------------------------------------

    def _all_lines(self) -> Iterator[Line | None]:
        if not self.newest_first:
            return whole_rows(chain(self._sample.lines, self._lines), self._dialect.delimiter)
        if self._text.regular:
            return self._again_backward()
        return self._text.backward([line.text for line in self._sample.lines])

    def _again_backward(self) -> Iterator[Line]:
        with closing(self._text.again()) as text:
            yield from text.backward()

    def _timed_rows(self) -> Iterator[Row | None]:
        part, delimiter, below = self._part, self._dialect.delimiter, False
        for line in self._all_lines():
            if line is None:
                yield None
                continue
            if not line.problem and not line.text.strip() or is_comment(line.text):
                continue
            try:
                cells = [] if line.problem else split_line(line.text, delimiter)
            except csv.Error:
                line = line._replace(problem="expected quotes that close at the end of a cell, got one that does not")
            if line.problem:
                self._left.row(line.number, "without readable text", line.problem)
                continue
            if line.number < self._first_line or below and is_text(cells):  # units
                continue
            time, below = self._time(cells, part.shape, line), False
            if time is not None:
                yield Row(time, cells, part, line.number)
            elif is_header(part.shape, cells):
                part, below = self._header_again(part, cells, line.number), True

    def _time(self, cells: Cells, shape: Shape, line: Line) -> int | None:
        """The time of a row; None for a header, and for a row that is left out."""
        width = shape.width
        if len(cells) > width and not any(map(str.strip, cells[width:])):
            del cells[width:]
        try:
            text = shape.time_text(cells)
            time = self._reader.read(text)
        except (ValueError, IndexError, OverflowError):
            if not is_header(shape, cells):
                got = shown(" ".join(cells[index].strip() for index in shape.times if index < len(cells)))
                self._left.row(line.number, "without a time", f"expected a time, {self._reader.about}, got {got}")
            return None
        if len(cells) > width:
            got = f"expected {counted(width, 'value')}, got {len(cells):,}; decimals take a point"
            self._left.row(line.number, "with more cells than columns", got)
            return None
        if not line.ended and (len(cells) < width or self._is_cut(cells[-1])):
            self._left.row(line.number, "cut", f"expected {counted(width, 'cell')} and a line end, got a row that is cut")
            return None
        cells += [""] * (width - len(cells))
        return time

    def _is_cut(self, cell: str) -> bool:
        """Whether the last cell of a file has fewer decimals than all those above it."""
        return _decimals(cell) < self._decimals and not is_gap(cell)

    def _header_again(self, part: Part, cells: Cells, line: int) -> Part:
        if same_names(part.shape, cells):
            return part
        before, following = part.shape, self._mapped(renamed(part.shape, cells), again=True)
        if len(self._headers) < HEADERS:
            known, names = ([value.name for value in shape.values] for shape in (before, following.shape))
            new, gone = [name for name in names if name not in known], [name for name in known if name not in names]
            changes = [f"without {few(gone)}"] * bool(gone)
            changes += [describe(following.shape)] * (describe(following.shape) != describe(before))
            changes += [f"sensors by {few(following.shape.key_names)}"] * (following.shape.key_names != before.key_names)
            changes = changes or ["the same columns in another order"] * (not new)
            self._headers.append(f"line {line:,}: another header" + "".join(f", {change}" for change in changes))
            found = [name for name, entity in zip(new, self._entities.find((name, "") for name in new)) if entity.found]
            self._headers += [f"  {text}" for text in self._entities.describe(found)] if not following.shape.keys else []
        return following

    def _leave_leap(self, row: Row) -> None:
        self._left.row(row.line, "of a time ahead of the others", f"expected a time near those around it, got {iso(row.time)[:-4]} UTC")


def _left_lines(left: Iterable[tuple[str, str]]) -> Iterator[str]:
    """A line for each reason.  left: (column, why it is not read)."""
    by_reason: dict[str, list[str]] = {}
    for name, why in left:
        by_reason.setdefault(why, []).append(name)
    for why, names in by_reason.items():
        yield f"column{'s' * (len(names) > 1)} {few(names)} left out: {why}"


def _values_of(shape: Shape, rows: list[Cells]) -> Iterator[str]:
    return (row[value.index] for row in rows for value in shape.values if value.index < len(row))


def _time_texts(shape: Shape, rows: Iterable[Cells]) -> Iterator[str]:
    for cells in rows:
        if all(index < len(cells) for index in shape.times):
            yield shape.time_text(cells)


def _usual_decimals(shape: Shape, rows: list[Cells]) -> int:
    """Decimals of the cells in the last column, where all have the same number of them; else 0."""
    cells = [row[shape.width - 1] for row in rows[:-1] if len(row) >= shape.width]
    counts = {_decimals(cell) for cell in cells if not is_gap(cell)}
    return counts.pop() if len(counts) == 1 and len(cells) > 4 else 0


def _decimals(cell: str) -> int:
    text = cell.strip()
    return len(text) - max(text.rfind("."), text.rfind(",")) - 1 if set(text) & set(".,") else 0


def _grouped(rows: Iterable[Row | None], most: int, span: int) -> Iterator[list[Row]]:
    """Rows of one part in groups of at most *most* rows that cover at most *span* ms. None ends a group."""
    group: list[Row] = []
    low = high = 0
    for row in rows:
        if row is None:
            if group:
                yield group
            group = []
            continue
        low, high = (min(low, row.time), max(high, row.time)) if group else (row.time, row.time)
        if group and (len(group) == most or high - low > span or row.part is not group[0].part):
            yield group
            group, low, high = [], row.time, row.time
        group.append(row)
    if group:
        yield group
