"""What each column of a CSV is: times, values, the name of a sensor, or nothing that is read.

A wide file has a column for each sensor. A long one has a row for each reading, with columns that say whose it is.
"""

import re
from collections.abc import Iterable
from itertools import takewhile
from typing import NamedTuple

from corec.common.text import elided
from corec.sources.recordings.cells import UNITS, is_gap, is_number
from corec.sources.recordings.time_cells import is_clock, is_date_only, is_elapsed, kind_of

#: Words in the names of columns of times.
TIME_WORDS = frozenset(
    "timestamp time datetime date ts epoch unix fecha hora tiempo zeit datum uhrzeit zeitstempel zeitpunkt heure data ora horodatage"
    " timestamputc utc changed updated".split()
)
#: Names that say which of several columns of times is the one of the readings.
BEST_TIMES = ("_time", "timestamp", "time", "last_changed")
#: Names of the columns of a long file: its values, and whose they are.
VALUE_NAMES = ("_value", "value", "state", "valor", "wert", "valeur", "reading", "val")
KEY_NAMES = frozenset(
    "device device_id deviceid sensor sensor_id sensorid entity entity_id id node node_id name topic point tag tags dispositivo"
    " metric measurement _measurement _field field parameter variable magnitud quantity".split()
)
_METRICS = ("metric", "measurement", "_measurement", "_field", "field", "parameter", "variable", "magnitud", "quantity")
#: Columns that Home Assistant and InfluxDB write beside.
NO_KEYS = frozenset("result table unit unit_of_measurement attributes friendly_name context_id domain _start _stop".split())
INDEX_NAMES = frozenset("no nr n # num number index idx row record rn recno id lfd lfdnr seq line".split())
#: Longest name of a column that is kept.
NAME_LENGTH = 80
_UNIT_BEHIND = re.compile(r"(.*\S)\s*[\[(](.{1,8})[\])]")

Cells = list[str]


class Value(NamedTuple):
    """A column of values."""

    index: int
    name: str
    unit: str = ""


class Shape(NamedTuple):
    """The columns of a file, or of a part of it behind a header of its own."""

    names: tuple[str, ...]
    header: bool  # whether the file gives the names
    times: tuple[int, ...]  # columns that make one time together
    keys: tuple[int, ...]  # columns that name the sensor; none in a wide file
    values: tuple[Value, ...]
    left: tuple[tuple[str, str], ...]  # (column, why it is not read)
    elapsed: bool = False  # times count from the start

    @property
    def width(self) -> int:
        return len(self.names)

    def time_text(self, cells: Cells) -> str:
        """What the cells of the columns of times say; IndexError in a row that is too short."""
        return " ".join(_as_clock(cells[index]) if place else cells[index].strip() for place, index in enumerate(self.times))

    def sensor(self, cells: Cells, value: Value) -> str:
        """The name of the sensor whose value stands in a row of a long file."""
        parts = [clean_name(cells[index]) for index in self.keys]
        named = self.header and value.name.casefold() not in VALUE_NAMES
        parts += [value.name] if named or len(self.values) > 1 else []
        return ".".join(part for part in parts if part)


class Start(NamedTuple):
    """Where the rows of a file begin, and what stands before them."""

    shape: Shape
    first: int  # index of the first row of the sample that is no preamble, header or row of units
    header: int | None  # index of the row with the names
    units_row: bool


def find_start(rows: list[Cells]) -> Start | None:
    """The shape of a file that begins with these rows; None where no column holds times."""
    times = dated = _time_columns(rows)
    if times:
        first = next(number for number, cells in enumerate(rows) if any(kind_of(_at(cells, index)) for index in times))
    else:
        found = _elapsed(rows)
        if found is None:
            return None
        times, first = [found[0]], found[1]
    width = _usual_width(rows[first:], times)
    header = _header(rows[:first], times, width)
    names = [] if header is None else _unique(clean_name(cell) for cell in rows[header])
    while names and not names[-1]:
        names.pop()
    below = [] if header is None else list(takewhile(is_text, rows[header + 1 : first]))
    units = next((row for row in below if row != rows[header]), None)
    body = rows[first:]
    chosen = _best_time(times, names)
    pair = _clock_column(body, chosen, names)
    all_names = names or [f"column{number}" for number in range(width)]
    all_names += [""] * (1 + max(chosen, pair or 0) - len(all_names))
    shape = _classified(all_names, body, (chosen,) if pair is None else (chosen, pair), units, bool(names))
    begin = 0 if header is None else header + 1 + len(below)
    return Start(shape._replace(elapsed=not dated), begin, header, units is not None)


def is_header(shape: Shape, cells: Cells) -> bool:
    """Whether a row in the middle names the columns anew: it has the names of the columns of times."""
    wanted = {shape.names[index].casefold() for index in shape.times}
    return shape.header and all(wanted) and wanted <= {cell.strip().lstrip("\ufeff").casefold() for cell in cells}


def renamed(shape: Shape, cells: Cells) -> Shape:
    """The shape behind a header in the middle. A column that was not there before holds values."""
    names = _unique(clean_name(cell) for cell in cells)
    while names and not names[-1]:
        names.pop()
    at = {name.casefold(): index for index, name in reversed(list(enumerate(names)))}
    times = tuple(at[shape.names[index].casefold()] for index in shape.times)
    keys = tuple(at[name] for index in shape.keys if (name := shape.names[index].casefold()) in at)
    units = {value.name.casefold(): value.unit for value in shape.values}
    left = {name.casefold(): why for name, why in shape.left}
    rest = [index for index in range(len(names)) if index not in times + keys and names[index].casefold() not in left]
    if shape.keys and len(shape.values) == 1:  # what is new beside the value of a long file is no value
        rest = [index for index in rest if names[index].casefold() in units]
    values = tuple(Value(index, names[index], units.get(names[index].casefold(), "")) for index in rest if names[index])
    return Shape(tuple(names), True, times, keys, values, tuple((name, left[name.casefold()]) for name in names if name.casefold() in left))


def clean_name(text: str) -> str:
    """A name as it is kept and shown: printable, without spaces around it, and short."""
    text = " ".join(text.strip().strip('"').lstrip("\ufeff").split())
    return elided(text if text.isprintable() else "".join(one if one.isprintable() else "?" for one in text), NAME_LENGTH)


def split_unit(name: str) -> tuple[str, str]:
    """(name, unit) of a name with a unit in brackets behind it; the unit is '' where there is none."""
    found = _UNIT_BEHIND.fullmatch(name)
    return (found[1], found[2]) if found and found[2].casefold() in UNITS else (name, "")


# --- times -----------------------------------------------------------------------------------------


def _time_columns(rows: list[Cells]) -> list[int]:
    """Columns of which most rows have a time, among the rows that have one at all."""
    counts = [0] * max(map(len, rows), default=0)
    timed = 0
    for cells in rows:
        found = [index for index, cell in enumerate(cells) if kind_of(cell)]
        timed += bool(found)
        for index in found:
            counts[index] += 1
    return [index for index, count in enumerate(counts) if count and 2 * count >= timed]


def _elapsed(rows: list[Cells]) -> tuple[int, int] | None:
    """(column, first row) of seconds since the start: the column with a name of times, else the first one."""
    for number, cells in enumerate(rows):
        named = [index for index, cell in enumerate(cells) if is_time_name(cell)]
        if named:
            rows, column, begin = rows[number + 1 :], named[0], number + 1
            break
    else:
        column, begin = 0, 0
    for number, cells in enumerate(rows):
        text = _at(cells, column).strip()
        if len(cells) > 1 and is_number(text):
            return (column, begin + number) if is_elapsed(text) else None
    return None


def is_time_name(name: str) -> bool:
    return not is_number(name) and bool(TIME_WORDS & set(re.split(r"[^a-z]+", split_unit(name.strip())[0].casefold())))


def _best_time(times: list[int], names: list[str]) -> int:
    """The column of the times of the readings, among all that hold times."""
    lowered = [name.casefold() for name in names]
    for name in BEST_TIMES:
        if name in lowered and lowered.index(name) in times:
            return lowered.index(name)
    named = [index for index in times if index < len(names) and is_time_name(names[index])]
    return (named or times)[0]


def _clock_column(body: list[Cells], chosen: int, names: list[str]) -> int | None:
    """The column with the time of day, where the column *chosen* has dates only."""
    if not all(is_date_only(_at(cells, chosen)) for cells in body if kind_of(_at(cells, chosen))):
        return None
    width = max(map(len, body))
    for index in sorted(range(width), key=lambda index: abs(index - chosen - 0.4)):
        cells = [cell for row in body if (cell := _at(row, index).strip())]
        compact = index < len(names) and is_time_name(names[index])
        if index != chosen and cells and 2 * sum(is_clock(cell, compact=compact) for cell in cells) > len(cells):
            return index
    return None


def _as_clock(cell: str) -> str:
    """A time of day with colons: 93000 is 09:30:00, and 930 is 09:30."""
    text = cell.strip()
    if not text.isdecimal():
        return text
    digits = text.zfill(6 if len(text) > 4 else 4)
    return ":".join(digits[place : place + 2] for place in range(0, len(digits), 2))


# --- names -----------------------------------------------------------------------------------------


def _header(head: list[Cells], times: list[int], width: int) -> int | None:
    """Which of the rows before the first time has the names of the columns."""
    possible = [number for number, cells in enumerate(head) if _may_name(cells, times)]
    named = [number for number in possible if any(is_time_name(_at(head[number], index)) for index in times)]
    full = [number for number in named if len(head[number]) >= width - 1]
    if named:
        return full[0] if full else named[-1]
    wide = [number for number in possible if len(head[number]) >= width - 1]
    return wide[-2] if len(wide) > 1 and _are_units(head[wide[-1]]) else wide[-1] if wide else None


def _may_name(cells: Cells, times: list[int]) -> bool:
    texts = [cell for cell in cells if cell.strip() and not is_number(cell)]
    return len(cells) > 1 and bool(texts) and any(not is_number(_at(cells, index)) for index in times)


def is_text(cells: Cells) -> bool:
    """Whether a row below the names may have units: it has texts only."""
    return any(map(str.strip, cells)) and not any(map(is_number, cells))


def _are_units(cells: Cells) -> bool:
    return any(_unit(cell).casefold() in UNITS for cell in cells) and all(len(cell.strip()) <= 12 for cell in cells)


def _unit(cell: str) -> str:
    return clean_name(cell).strip("[]() ")


def _unique(names: Iterable[str]) -> list[str]:
    """Names of which none comes twice: the second `temp` is `temp.2`."""
    result: list[str] = []
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        result.append(f"{name}.{counts[name]}" if name and counts[name] > 1 else name)
    return result


# --- values ----------------------------------------------------------------------------------------


def _classified(names: list[str], body: list[Cells], times: tuple[int, ...], units: Cells | None, header: bool) -> Shape:
    left: list[tuple[str, str]] = []
    numbers: list[int] = []
    texts: list[int] = []
    for index, name in enumerate(names):
        cells = [cell for row in body if (cell := _at(row, index).strip())]
        if index in times:
            continue
        if cells and not is_number(cells[0]) and 2 * sum(kind_of(cell) is not None for cell in cells) > len(cells):
            left.append((name or f"number {index + 1}", "more times"))
        elif header and _is_index(name, cells, body, times):
            left.append((name or f"number {index + 1}", "row numbers"))
        elif not name and not any(not is_gap(cell) for cell in cells):
            left.append((f"number {index + 1}", "empty"))
        elif any(map(is_number, cells)) or all(map(is_gap, cells)):
            numbers.append(index)
        else:
            texts.append(index)
    repeats = len({tuple(_at(row, index) for index in times) for row in body}) < len(body)
    keys, values, others = _long(names, numbers, texts) if header else ([], numbers, texts)
    if not keys and repeats and (found := _keys_by_content(body, names, numbers, texts)):
        keys, values, others = found, [index for index in numbers if index not in found], []
    if not keys and not values:
        values, others = others, []
    left += [(names[index] or f"number {index + 1}", "text" if index in texts else "not the values") for index in others]
    unit = [_unit(cell) for cell in units or ()]
    columns = tuple(Value(index, names[index] or f"column{index + 1}", unit[index] if index < len(unit) else "") for index in values)
    return Shape(tuple(names), header, times, tuple(keys), columns, tuple(left))


def _long(names: list[str], numbers: list[int], texts: list[int]) -> tuple[list[int], list[int], list[int]]:
    """(columns of keys, of values, others): no keys where the file is wide."""
    lowered = [name.casefold() for name in names]
    valued = next((index for name in VALUE_NAMES for index in numbers + texts if lowered[index] == name), None)
    keys = [index for index in (*texts, *numbers) if lowered[index] in KEY_NAMES and index != valued]
    if valued is not None and (not keys or lowered[valued] == "_value"):
        keys += [index for index in texts if index not in (*keys, valued) and lowered[index] not in NO_KEYS]
    rest = [index for index in numbers if index not in keys]
    if not keys or not (rest or valued is not None):
        return [], numbers, texts
    values = rest if valued is None else [valued]
    others = [index for index in (*numbers, *texts) if index not in (*keys, *values)]
    return sorted(keys, key=lambda index: (lowered[index] in _METRICS, _metric_place(lowered[index]), index)), values, others


def _keys_by_content(body: list[Cells], names: list[str], numbers: list[int], texts: list[int]) -> list[int]:
    """Columns that name the sensor where several rows have one time, whatever the columns are called."""
    if texts and len(numbers) == 1:
        return texts
    if any(names[index].casefold() in VALUE_NAMES for index in numbers):
        return [index for index in numbers if names[index].casefold() not in VALUE_NAMES and _repeats(body, index)]
    return []


def _repeats(body: list[Cells], index: int) -> bool:
    cells = [_at(row, index).strip() for row in body]
    return all(map(str.isdecimal, cells)) and 2 * len(set(cells)) <= len(cells)


def _metric_place(name: str) -> int:
    return name == "_field"


def _is_index(name: str, cells: Cells, body: list[Cells], times: tuple[int, ...]) -> bool:
    """Whether the cells number the rows, one after the other, under no name or one of a number of rows."""
    if name.casefold() in KEY_NAMES and len({tuple(_at(row, index) for index in times) for row in body}) < len(body):
        return False  # several rows of one time: these are devices, in their order
    if re.sub(r"[^a-z#]", "", name.casefold()) not in INDEX_NAMES | {"", "unnamed"} or not all(cell.isdecimal() for cell in cells):
        return False
    found = [int(cell) for cell in cells if len(cell) < 20]
    return len(found) == len(cells) > 1 and all(b == a + 1 for a, b in zip(found, found[1:]))


def _usual_width(rows: list[Cells], times: list[int]) -> int:
    widths = [len(cells) for cells in rows if any(_at(cells, index).strip() for index in times)]
    return max(set(widths), key=widths.count) if widths else 0


def _at(cells: Cells, index: int) -> str:
    return cells[index] if index < len(cells) else ""


def describe(shape: Shape) -> str:
    """The columns of times, by name, for the user."""
    found = " and ".join(shape.names[index] or f"number {index + 1}" for index in shape.times)
    return f"times in column{'s' if len(shape.times) > 1 else ''} {found}"
