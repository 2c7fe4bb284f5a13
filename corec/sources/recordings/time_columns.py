"""Which columns of a CSV hold its times: by their content, and among several by their names."""

import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC

from corec.sources.recordings.cells import Cells, cell_at, is_number, split_unit
from corec.sources.recordings.time_cells import is_clock, is_compact_clock, is_date_only, is_elapsed, is_half, kind_of
from corec.sources.recordings.time_words import unit_of, zone_in

#: Words in the names of columns of times.
TIME_WORDS = frozenset(
    "timestamp time datetime date ts epoch unix fecha hora tiempo zeit datum uhrzeit zeitstempel zeitpunkt heure data ora horodatage"
    " timestamputc utc changed updated millis uptime elapsed".split()
)
#: Names that say which of several columns of times is the one of the readings.
BEST_TIMES = ("_time", "timestamp", "time", "last_changed")
#: Names of columns of whole hours beside a date.
HOUR_NAMES = frozenset("hour hora stunde heure ora hr".split())


def time_columns(rows: list[Cells]) -> list[int]:
    """Columns of which most rows have a time, among the rows that have one at all."""
    counts = [0] * max(map(len, rows), default=0)
    timed = 0
    for cells in rows:
        found = [index for index, cell in enumerate(cells) if kind_of(cell)]
        timed += bool(found)
        for index in found:
            counts[index] += 1
    return [index for index, count in enumerate(counts) if count and 2 * count >= timed]


def elapsed_column(rows: list[Cells]) -> tuple[int, int] | None:
    """(column, first row) of times since the start: the column with a name of times, else a first one that goes up."""
    for number, cells in enumerate(rows):
        named = [index for index, cell in enumerate(cells) if is_time_name(cell)]
        if named:
            return _elapsed_from(rows, number + 1, named[0], unit_of(cells[named[0]]))
    found = _elapsed_from(rows, 0, 0, unit_of(cell_at(rows[0], 0)))
    if found:
        texts = [cell_at(cells, 0).strip() for cells in rows[found[1] :]]
        numbers = [float(text) for text in texts if is_elapsed(text, "h")]
        if numbers != sorted(numbers) or len(numbers) > 1 and numbers[0] == numbers[-1]:
            return None
    return found


def _elapsed_from(rows: list[Cells], begin: int, column: int, unit: str) -> tuple[int, int] | None:
    for number, cells in enumerate(rows[begin:], begin):
        text = cell_at(cells, column).strip()
        if len(cells) > 1 and is_number(text):
            return (column, number) if is_elapsed(text, unit) else None
    return None


def is_time_name(name: str) -> bool:
    return not is_number(name) and bool(TIME_WORDS & set(re.split(r"[^a-z]+", split_unit(name.strip())[0].casefold())))


def best_column(body: list[Cells], times: list[int], names: list[str]) -> int:
    """The column of the times of the readings, among all that hold times."""
    lowered = [name.casefold() for name in names]
    for name in BEST_TIMES:
        if name in lowered and lowered.index(name) in times:
            return lowered.index(name)
    named = [index for index in times if index < len(names) and is_time_name(names[index])]
    utc = [index for index in named if zone_in(names[index]) is UTC]
    written = [index for index in times if _usual_kind(body, index) not in ("epoch", "compact")]  # others may be counters
    return (utc or named or written or times)[0]


def clock_columns(body: list[Cells], chosen: int, names: list[str]) -> tuple[tuple[int, ...], bool]:
    """The column with the time of day, and one with AM or PM, where the column *chosen* has dates only; whether it is in whole hours."""
    if not all(is_date_only(cell_at(cells, chosen)) for cells in body if kind_of(cell_at(cells, chosen))):
        return (), False
    others = sorted((index for index in range(max(map(len, body))) if index != chosen), key=lambda index: abs(index - chosen - 0.4))
    named = [index for index in others if index < len(names) and is_time_name(names[index])]
    clocks = [index for index in others if _mostly(body, index, is_clock) or index in named and _mostly(body, index, is_compact_clock)]
    hour_named = [index for index in others if index < len(names) and names[index].casefold() in HOUR_NAMES]
    of_hours = [index for index in hour_named if _mostly(body, index, _is_hour)]
    halves = [index for index in others if _mostly(body, index, is_half)]
    return tuple((clocks or of_hours)[:1] + halves[:1] * bool(clocks)), not clocks and bool(of_hours)


def _is_hour(cell: str) -> bool:
    return cell.isdecimal() and int(cell) <= 24


def _mostly(body: list[Cells], index: int, test: Callable[[str], bool]) -> bool:
    """Whether most cells of a column that hold something pass a test."""
    cells = [cell for row in body if (cell := cell_at(row, index).strip())]
    return bool(cells) and 2 * sum(map(test, cells)) > len(cells)


def _usual_kind(body: list[Cells], index: int) -> str:
    kinds = Counter(kind for cells in body if (kind := kind_of(cell_at(cells, index))))
    return kinds.most_common(1)[0][0] if kinds else ""
