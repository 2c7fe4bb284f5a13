"""A CSV with a column of times, and columns of values or a row for each reading."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from itertools import chain

from corec.common.text import counted
from corec.common.times import iso, wall_ms
from corec.sources.recordings.beginning import Beginning, Options
from corec.sources.recordings.cells import Cells, few, is_gap, shown, split_line
from corec.sources.recordings.columns import Entities, Entity
from corec.sources.recordings.csv_batches import CsvBatches, Part, Row
from corec.sources.recordings.dialect import is_comment, whole_rows
from corec.sources.recordings.left_out import LeftOut
from corec.sources.recordings.opened_text import Line, OpenedText
from corec.sources.recordings.recording import RecordingPiece
from corec.sources.recordings.shape import Shape, Value, describe, is_header, is_text, renamed, same_names
from corec.sources.recordings.time_order import Leaps
from corec.streams.reach import REACH_MS

#: Cells in one piece.
CELLS = 16_384
#: Headers in the middle that are described.
HEADERS = 6


class CsvRecording:
    """A recording as CSV. A cell without a value is no reading; a cell with other text is a failed reading."""

    unit = "row"

    def __init__(self, text: OpenedText, entities: Entities, max_lead: int, options: Options | None = None) -> None:
        """max_lead: ms that the last rows may be in the future."""
        self.size, self._text, self._entities, self._max_lead = text.size, text, entities, max_lead
        self.rows = 0
        self._left, self._headers = LeftOut(), list[str]()
        self._lines = text.lines()
        begin = Beginning(text, self._lines, options or Options())
        self._lines = chain(begin.sample.lines, self._lines)
        self._begun = [line.text for line in begin.sample.lines]
        self._dialect, self._reader, self._times = begin.sample.dialect, begin.reader, begin.times
        self.newest_first, self.first_line, self._decimal = begin.newest_first, begin.first_line, begin.decimal
        self._batches = CsvBatches(entities, begin.decimal, begin.decimals, self._left)
        self._cut_decimals = _usual_decimals(begin.start.shape, begin.body)
        self._part = self._mapped(begin.start.shape)
        self._left.noun = "sensor" if begin.start.shape.keys else "column"
        self.about = tuple(self._describe(begin))

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
            self._text = self._text.again()
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

    # --- columns ---------------------------------------------------------------------------------

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

    def _describe(self, begin: Beginning) -> Iterator[str]:
        shape, text, start, rows = self._part.shape, self._text, begin.start, begin.body
        words = [f"separated by {self._dialect.name}", "decimal comma" if self._decimal == "," else "decimal point", text.encoding]
        words += [text.packed] if text.packed else []
        yield f"{text.name}: {describe(shape)}, {self._reader.about}; {', '.join(words)}"
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
        if start.header is not None and (skipped := begin.sample.rows[start.header].line - 1 - bool(self._dialect.sep_line)):
            yield f"{counted(skipped, 'line')} before the names skipped"
        if self.newest_first:
            yield "the newest row is first: read from the end"

    def _values(self) -> Iterable[tuple[Value, Entity]]:
        return zip(self._part.shape.values, self._part.entities)

    # --- rows ----------------------------------------------------------------------------------

    def _all_lines(self) -> Iterator[Line | None]:
        if not self.newest_first:
            return whole_rows(self._lines, self._dialect.delimiter)
        if self._text.regular:
            return self._again_backward()
        return self._text.backward(self._begun)

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
            if line.number < self.first_line or below and is_text(cells):  # units
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
        return _decimals(cell) < self._cut_decimals and not is_gap(cell)

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
