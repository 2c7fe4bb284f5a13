"""Finds in the first rows of a CSV which column is what: times, values, the name of a sensor, or nothing that is read."""

import re
from itertools import takewhile
from typing import NamedTuple

from corec.sources.recordings.cells import UNITS, Cells, cell_at, clean_name, is_gap, is_number
from corec.sources.recordings.shape import (
    KEY_NAMES,
    NO_KEYS,
    VALUE_NAMES,
    Shape,
    Value,
    in_order,
    is_key,
    is_numbered_key,
    is_text,
    names_columns,  # fmt: skip
    unique,
)
from corec.sources.recordings.time_cells import kind_of
from corec.sources.recordings.time_columns import best_column, clock_columns, elapsed_column, is_time_name, time_columns

#: Names of columns that number the rows, with letters only.
INDEX_NAMES = frozenset(
    "no nr n # num number index idx row rowid record recordid rn recno id entryid lfd lfdnr seq line sample samplenumber".split()
)
#: Rows with a time that a part without names has at least; fewer are lines before the names.
FEW_ROWS = 3
#: Rows from which texts that never repeat are taken for numbers of rows.
SERIAL_ROWS = 10
#: Share of rows that have the time and the sensor of another one, from which further columns are looked at for names of sensors.
MOST_REPEATED = 0.1


class Start(NamedTuple):
    """Where the rows of a file begin, and what stands before them."""

    shape: Shape
    first: int  # index of the first row of the sample that is no preamble, header or row of units
    header: int | None  # index of the row with the names
    units_row: bool
    zone_text: str  # what names and units say of the times
    end: int  # index behind the last row of the sample that has this shape


def find_start(rows: list[Cells]) -> Start | None:
    """The shape of a file that begins with these rows; None where no column holds times."""
    begin, end = _first_part(rows)
    rows = rows[:end]
    times = dated = time_columns(rows[begin:])
    if times:
        first = next(number for number in range(begin, end) if any(kind_of(cell_at(rows[number], index)) for index in times))
    else:
        found = elapsed_column(rows)
        if found is None:
            return None
        times, first = [found[0]], found[1]
    body = rows[first:]
    width = _usual_width(body, times)
    header = _header(rows[:first], times, width)
    names = [] if header is None else unique(clean_name(cell) for cell in rows[header])
    while names and not names[-1]:
        names.pop()
    below = [] if header is None else list(takewhile(is_text, rows[header + 1 : first]))
    units = next((row for row in below if row != rows[header]), None)
    chosen = best_column(body, times, names)
    clock, hours = clock_columns(body, chosen, names)
    timed = (chosen, *clock)
    all_names = names or [f"column{number}" for number in range(width)]
    all_names += [""] * (1 + max(timed) - len(all_names))
    shape = _classified(all_names, body, timed, units, bool(names))
    start = 0 if header is None else header + 1 + len(below)
    said = " ".join(cell_at(row, index) for row in (names, units or []) for index in timed)
    return Start(shape._replace(elapsed=not dated, hours=hours), start, header, units is not None, said, end)


def _first_part(rows: list[Cells]) -> tuple[int, int]:
    """(first row, row behind the last) of the part up to the next names; lines before the first names are no part."""
    heads = [number for number, cells in enumerate(rows) if names_columns(cells)]
    timed = [any(map(kind_of, cells)) for cells in rows]
    edges = [0, *heads, len(rows)]
    for begin, end in zip(edges, edges[1:]):
        count = sum(timed[begin:end])
        if count >= FEW_ROWS or count and begin in heads:
            return begin, end
    return 0, len(rows)


# --- names -----------------------------------------------------------------------------------------


def _header(head: list[Cells], times: list[int], width: int) -> int | None:
    """Which of the rows before the first time has the names of the columns."""
    possible = [number for number, cells in enumerate(head) if _may_name(cells, times)]
    named = [number for number in possible if any(is_time_name(cell_at(head[number], index)) for index in times)]
    full = [number for number in named if len(head[number]) >= width - 1]
    if named:
        return full[0] if full else named[-1]
    wide = [number for number in possible if len(head[number]) >= width - 1]
    return wide[-2] if len(wide) > 1 and _are_units(head[wide[-1]]) else wide[-1] if wide else None


def _may_name(cells: Cells, times: list[int]) -> bool:
    texts = [cell for cell in cells if cell.strip() and not is_number(cell)]
    return len(cells) > 1 and bool(texts) and any(not is_number(cell_at(cells, index)) for index in times)


def _are_units(cells: Cells) -> bool:
    return any(_unit(cell).casefold() in UNITS for cell in cells) and all(len(cell.strip()) <= 12 for cell in cells)


def _unit(cell: str) -> str:
    return clean_name(cell).strip("[]() ")


# --- values ----------------------------------------------------------------------------------------


def _classified(names: list[str], body: list[Cells], times: tuple[int, ...], units: Cells | None, header: bool) -> Shape:
    left: list[tuple[str, str]] = []
    numbers: list[int] = []
    texts: list[int] = []
    influx = "_time" in names
    for index, name in enumerate(names):
        cells = [cell for row in body if (cell := cell_at(row, index).strip())]
        if index in times:
            continue
        if cells and (is_time_name(name) or not is_number(cells[0])) and 2 * sum(kind_of(cell) is not None for cell in cells) > len(cells):
            left.append((name or f"number {index + 1}", "more times"))
        elif influx and name in NO_KEYS:
            left.append((name, "of InfluxDB's own"))
        elif header and _is_index(name, cells, body, times):
            left.append((name or f"number {index + 1}", "row numbers"))
        elif not name and not any(not is_gap(cell) for cell in cells):
            left.append((f"number {index + 1}", "empty"))
        elif any(map(is_number, cells)) or all(map(is_gap, cells)):
            numbers.append(index)
        else:
            texts.append(index)
    naming = [index for index in texts if not _is_serial(body, index, times)]
    keys, values = _long(names, numbers, naming, influx) if header else _long_by_order(body, numbers, naming)
    keys = _with_separating(body, times, keys, names, numbers, naming)
    values = [index for index in values if index not in keys]
    others = [index for index in (*numbers, *texts) if index not in (*keys, *values)]
    left += [(names[index] or f"number {index + 1}", "text" if index in texts else "not the values") for index in others]
    unit = [_unit(cell) for cell in units or ()]
    columns = tuple(Value(index, names[index] or f"column{index + 1}", unit[index] if index < len(unit) else "") for index in values)
    return Shape(tuple(names), header, times, tuple(keys), columns, tuple(left))


def _long(names: list[str], numbers: list[int], texts: list[int], influx: bool) -> tuple[list[int], list[int]]:
    """(columns of keys, of values), by their names: no keys where the file is wide."""
    lowered = [name.casefold() for name in names]
    valued = next((index for name in VALUE_NAMES for index in numbers + texts if lowered[index] == name), None)
    keys = [index for index in texts if index != valued and is_key(names[index], influx)]
    keys += [index for index in numbers if index != valued and is_numbered_key(names[index])]
    if valued is not None and not keys:
        keys = [index for index in texts if index != valued and is_key(names[index], influx=True)]
    rest = [index for index in numbers if index not in keys]
    if not keys or not (rest or valued is not None):
        return [], numbers
    return keys, rest if valued is None else [valued]


def _long_by_order(body: list[Cells], numbers: list[int], texts: list[int]) -> tuple[list[int], list[int]]:
    """The same of a file without names: one text before one number, and texts that repeat, are sensors and values."""
    if len(numbers) == len(texts) == 1 and texts[0] < numbers[0] and len({cell_at(row, texts[0]) for row in body}) < len(body):
        return texts, numbers
    return [], numbers


def _with_separating(body: list[Cells], times: tuple[int, ...], keys: list[int], names: list[str], numbers: list[int],
                     texts: list[int]) -> list[int]:  # fmt: skip
    """The columns of keys, and those beside them without which rows of one time would be readings of one sensor."""
    lowered = [name.casefold() for name in names]
    possible = [index for index in texts if is_key(names[index], influx=True) and lowered[index] not in VALUE_NAMES]
    if keys or any(lowered[index] in VALUE_NAMES for index in numbers):
        possible += [index for index in numbers if lowered[index] not in VALUE_NAMES and _are_whole(body, index)]
    possible = [index for index in possible if index not in keys and _repeats(body, index)]
    found = list(keys)
    while possible and _same(body, times, found) > MOST_REPEATED * len(body):
        best = min(possible, key=lambda index: _same(body, times, [*found, index]))
        if _same(body, times, [*found, best]) == _same(body, times, found):
            break
        found.append(best)
        possible.remove(best)
    separated = 2 * _same(body, times, found) <= _same(body, times, keys)
    return in_order(found if separated and set(numbers) - set(found) else keys, names)


def _same(body: list[Cells], times: tuple[int, ...], keys: list[int]) -> int:
    """Rows with the time and the keys of a row before them."""
    columns = (*times, *keys)
    return len(body) - len({tuple(cell_at(row, index) for index in columns) for row in body})


def _is_serial(body: list[Cells], index: int, times: tuple[int, ...]) -> bool:
    """Whether a column has another text in each row: it names the row, and no sensor."""
    cells = {cell_at(row, index).strip() for row in body}
    return len(body) > SERIAL_ROWS and len(cells) == len(body) and not _same(body, times, [])


def _repeats(body: list[Cells], index: int) -> bool:
    cells = [cell_at(row, index).strip() for row in body]
    return 2 * len(set(cells)) <= len(cells)


def _are_whole(body: list[Cells], index: int) -> bool:
    return all(cell_at(row, index).strip().isdecimal() for row in body)


def _is_index(name: str, cells: Cells, body: list[Cells], times: tuple[int, ...]) -> bool:
    """Whether the cells number the rows, one after the other, under no name or one of a number of rows."""
    if name.casefold() in KEY_NAMES and _same(body, times, []):
        return False  # several rows of one time: these are devices, in their order
    plain = re.sub(r"[^a-z#]", "", name.casefold())
    if plain not in INDEX_NAMES | {"", "unnamed"} or not all(cell.isdecimal() and len(cell) < 20 for cell in cells):
        return False
    steps = {int(b) - int(a) for a, b in zip(cells, cells[1:])}
    return bool(steps) and (steps == {1} or min(steps) > 0 and plain in INDEX_NAMES - {"n", "id"})


def _usual_width(rows: list[Cells], times: list[int]) -> int:
    widths = [len(cells) for cells in rows if any(cell_at(cells, index).strip() for index in times)]
    return max(set(widths), key=widths.count) if widths else 0
