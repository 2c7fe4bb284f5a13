"""What each column of a CSV is, as `find_shape` finds it at the beginning of a file, and behind a header in the middle.

A wide file has a column for each sensor. A long one has a row for each reading, with columns that say whose it is.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from corec.sources.recordings.cells import Cells, clean_name, is_number
from corec.sources.recordings.time_cells import kind_of
from corec.sources.recordings.time_columns import is_time_name

#: Names of the columns of a long file: its values, and whose they are.
VALUE_NAMES = (
    "_value", "value", "state", "valor", "wert", "messwert", "valeur", "valore", "reading", "val", "measured_value", "varvalue", "lectura"
)  # fmt: skip
METRICS = frozenset("metric measurement _measurement _field field parameter variable magnitud quantity messgröße".split())
KEY_NAMES = METRICS | frozenset(
    "device device_id deviceid sensor sensor_id sensorid entity entity_id id node node_id name topic point tag tags metadata_id itemid"
    " dispositivo".split()
)
#: Words in the names of columns of text that say whose the values of a row are.
KEY_WORDS = frozenset(
    "device sensor entity node station meter probe mac eui deveui serial room raum zimmer ort location site habitación ubicación channel"
    " kanal canal gerät messstelle dispositivo estación capteur var variable varname tagname signal series city item stations".split()
)
#: Words in the names of columns of numbers that do so.
ID_WORDS = frozenset("id ids nr no num number eui address".split())
#: Columns, and words in names, that say something else of the row: of Home Assistant, of InfluxDB, of loggers.
NO_KEYS = frozenset("result table attributes friendly_name context_id domain _start _stop".split())
NO_KEY_WORDS = frozenset(
    "unit units einheit unidad unidades uom status estado quality calidad qualität flag flags comment comments comentario note notes"
    " remark remarks bemerkung message mensaje error alarm type class level severity".split()
)


class Value(NamedTuple):
    """A column of values."""

    index: int
    name: str
    unit: str = ""


class Shape(NamedTuple):
    """The columns of a file, or of a part of it behind a header of its own."""

    names: tuple[str, ...]
    header: bool  # whether the file gives the names
    times: tuple[int, ...]  # columns that make one time together: date, time of day, AM or PM
    keys: tuple[int, ...]  # columns that name the sensor; none in a wide file
    values: tuple[Value, ...]
    left: tuple[tuple[str, str], ...]  # (column, why it is not read)
    elapsed: bool = False  # times count from the start
    hours: bool = False  # the time of day is a whole hour

    @property
    def width(self) -> int:
        return len(self.names)

    @property
    def key_names(self) -> tuple[str, ...]:
        return tuple(self.names[index] for index in self.keys)

    def time_text(self, cells: Cells) -> str:
        """What the cells of the columns of times say; IndexError in a row that is too short."""
        if len(self.times) == 1:
            return cells[self.times[0]].strip()
        date, clock, *half = [cells[index].strip() for index in self.times]
        return " ".join([date, _as_clock(clock, self.hours), *half])

    def sensor(self, cells: Cells, value: Value) -> str:
        """The name of the sensor whose value stands in a row of a long file; '' where the row names none."""
        parts = [name for index in self.keys if (name := clean_name(cells[index]))]
        named = self.header and value.name.casefold() not in VALUE_NAMES
        return ".".join(parts + ([value.name] if named or len(self.values) > 1 else [])) if parts else ""


def is_header(shape: Shape, cells: Cells) -> bool:
    """Whether a row in the middle names the columns anew.

    It has the names of the columns of times; or it is all text, one of which is a name of times and, where the file has names, another
    one of them.
    """
    names = {clean_name(cell).casefold() for cell in cells}
    times = {shape.names[index].casefold() for index in shape.times}
    if shape.header and all(times) and times <= names:
        return True
    known = {name.casefold() for name in shape.names if name} - times
    return len(shape.times) == 1 and names_columns(cells) and (not shape.header or bool(known & names))


def names_columns(cells: Cells) -> bool:
    """Whether a row may have names of columns: it is all text, without a time, and one of them is a name of times."""
    return len(cells) > 1 and is_text(cells) and any(map(is_time_name, cells)) and not any(map(kind_of, cells))


def is_text(cells: Cells) -> bool:
    """Whether a row below the names may have units: it has texts only."""
    return any(map(str.strip, cells)) and not any(map(is_number, cells))


def same_names(shape: Shape, cells: Cells) -> bool:
    names = [clean_name(cell).casefold() for cell in cells]
    return shape.header and names == [name.casefold() for name in shape.names][: len(names)] and not shape.names[len(names) :]


def renamed(shape: Shape, cells: Cells) -> Shape:
    """The shape behind a header in the middle. A column that was not there before holds values, or names the sensors of a long file."""
    spelt = {name.casefold(): name for name in shape.names if shape.header}
    found = [clean_name(cell) for cell in cells]
    names = unique(name if name in shape.names else spelt.get(name.casefold(), name) for name in found)
    while names and not names[-1]:
        names.pop()
    at = {name: index for index, name in reversed(list(enumerate(names)))}
    times = tuple(at[shape.names[index]] for index in shape.times if shape.names[index] in at and shape.header)
    times = times or (next(index for index, name in enumerate(names) if is_time_name(name)),)
    left = dict(shape.left)
    rest = [index for index, name in enumerate(names) if name and index not in times and name not in left]
    known_keys = {shape.names[index] for index in shape.keys}
    values = {value.name: value.unit for value in shape.values}
    keys = [at[shape.names[index]] for index in shape.keys if shape.names[index] in at]
    if shape.keys:
        new = [index for index in rest if names[index] not in known_keys and names[index] not in values]
        keys = in_order([*keys, *(index for index in new if is_key(names[index], "_value" in at))], names)
        if len(shape.values) == 1:  # what is new beside the value of a long file is no value
            rest = [index for index in rest if names[index] in values]
    columns = tuple(Value(index, names[index], values.get(names[index], "")) for index in rest if index not in keys)
    return Shape(tuple(names), True, times, tuple(keys), columns, tuple((name, left[name]) for name in names if name in left),
                 shape.elapsed, shape.hours)  # fmt: skip


def is_key(name: str, influx: bool = False) -> bool:
    """Whether a column of text names the sensor, by its name.  influx: all tags do."""
    lowered, words = name.casefold(), _words(name)
    if lowered in NO_KEYS or words & NO_KEY_WORDS:
        return False
    return influx or lowered in KEY_NAMES or bool(words & KEY_WORDS)


def is_numbered_key(name: str) -> bool:
    """Whether a column of numbers names the sensor, by its name: `id`, `sensor_id`, `Station No`."""
    words = _words(name)
    return name.casefold() in KEY_NAMES or words == {"station"} or bool(words & KEY_WORDS and words & ID_WORDS)


def _words(name: str) -> set[str]:
    """In small letters: those of `VarName`, `var_name` and `var name` are the same."""
    return {word.casefold() for word in re.split(r"[\W_]+|(?<=[a-z])(?=[A-Z])", name) if word}


def in_order(keys: Iterable[int], names: list[str]) -> list[int]:
    """Columns of keys as the name of a sensor has them: devices first, then what is measured."""
    lowered = {index: names[index].casefold() for index in keys}
    return sorted(lowered, key=lambda index: (lowered[index] in METRICS, lowered[index] == "_field", index))


def unique(names: Iterable[str]) -> list[str]:
    """Names of which none comes twice: the second `temp` is `temp.2`."""
    result: list[str] = []
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        result.append(f"{name}.{counts[name]}" if name and counts[name] > 1 else name)
    return result


def describe(shape: Shape) -> str:
    """The columns of times, by name, for the user."""
    found = " and ".join(shape.names[index] or f"number {index + 1}" for index in shape.times)
    return f"times in column{'s' if len(shape.times) > 1 else ''} {found}" if shape.header else f"times in {found}"


def _as_clock(text: str, hours: bool) -> str:
    """A time of day with colons: 93000 is 09:30:00, and 930 is 09:30, or 9 is 09:00 where the column has hours."""
    if not text.isdecimal():
        return text
    if hours:
        return f"{text}:00"
    digits = text.zfill(6 if len(text) > 4 else 4)
    return ":".join(digits[place : place + 2] for place in range(0, len(digits), 2))
