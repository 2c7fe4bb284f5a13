"""Device tables: which wire id is in which slot, with name, unit and limits.

The file is a CSV with the header `device,name,unit,low,high`; row n is slot n of its entry. All columns except `device` may
be empty or absent.
"""

import csv
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite, isnan, nan
from pathlib import Path
from typing import Any

import numpy as np

from corec.config.document import show
from corec.config.entries import Dispositivos
from corec.config.problem import did_you_mean
from corec.config.values import MAX_FLOAT32, MAX_WIRE_ID
from corec.errors import ConfigError

COLUMNS = ("device", "name", "unit", "low", "high")

#: The error for a cell: row, column, expected, got, hint.
Fail = Callable[[int, str, str, str, str | None], ConfigError]


@dataclass(frozen=True, eq=False)
class DeviceTable:
    """One row for each device, in slot order. NaN is no limit; '' is no name or unit."""

    device: np.ndarray  # uint32
    low: np.ndarray  # float32, in the sensor's unit
    high: np.ndarray  # float32, in the sensor's unit
    names: tuple[str, ...]
    units: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.device)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DeviceTable):
            return NotImplemented
        mine, theirs = ((each.digest, each.names, each.units) for each in (self, other))
        return mine == theirs

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def digest(self) -> str:
        """Hash of what changes the engine's results: ids and limits."""
        state = hashlib.blake2b(digest_size=16)
        for column in (self.device, self.low, self.high):
            state.update(column.astype(column.dtype.newbyteorder("<")).tobytes())
        return state.hexdigest()

    def has_devices_of(self, other: "DeviceTable") -> bool:
        """Whether both have the same devices in the same order."""
        return np.array_equal(self.device, other.device)

    def first_from(self, first: int, count: int) -> int | None:
        """The smallest of its ids in [first, first + count); None when there is none."""
        at = np.searchsorted(self._sorted, first)
        return int(self._sorted[at]) if at < len(self) and self._sorted[at] < first + count else None

    def first_shared(self, other: "DeviceTable") -> int | None:
        """The smallest id that is in both tables; None when there is none."""
        ids = np.intersect1d(self.device, other.device)
        return int(ids[0]) if len(ids) else None

    @cached_property
    def _sorted(self) -> np.ndarray:
        return np.sort(self.device)

    def to_columns(self) -> dict[str, list]:
        """The table as the value of `ids`, without a file."""
        return {
            "device": self.device.tolist(),
            "name": list(self.names),
            "unit": list(self.units),
            "low": _without_nan(self.low),
            "high": _without_nan(self.high),
        }


def read_table(file: Path, entities: int) -> DeviceTable:
    """The table in a CSV *file*, of at most *entities* devices."""
    lines, cells = _read_cells(file)

    def fail(row: int, column: str, expected: str, got: str, hint: str | None) -> ConfigError:
        where = f"column {column} (line {lines[row]})"
        return ConfigError(f"{file}: expected {expected}, got {got} - at {where}", hint=hint)

    if not lines:
        raise ConfigError(f"{file}: expected at least one device, got only the header")
    return _checked(
        device=[_device(text, row, fail) for row, text in enumerate(cells["device"])],
        low=[_limit(text, row, "low", fail) for row, text in enumerate(cells["low"])],
        high=[_limit(text, row, "high", fail) for row, text in enumerate(cells["high"])],
        names=cells["name"],
        units=cells["unit"],
        entities=entities,
        fail=fail,
    )


def table_from_columns(columns: Dispositivos, entities: int, fail: Fail) -> DeviceTable:
    """The table whose columns are written in the configuration. Their types are checked already."""
    count = len(columns.device)
    for name in COLUMNS:
        got = len(getattr(columns, name))
        if not got and name == "device":
            raise fail(0, name, "at least one device", "none", None)
        if got not in (0, count):
            raise fail(0, name, f"{count:,} values, one a device", f"{got:,}", None)
    return _checked(
        device=columns.device,
        low=_or_nan(columns.low, count),
        high=_or_nan(columns.high, count),
        names=columns.name or ("",) * count,
        units=columns.unit or ("",) * count,
        entities=entities,
        fail=fail,
    )


def _checked(
    *,
    device: Sequence[int],
    low: Sequence[float],
    high: Sequence[float],
    names: Sequence[str],
    units: Sequence[str],
    entities: int,
    fail: Fail,
) -> DeviceTable:
    if len(device) > entities:
        got = f"{len(device):,}"
        raise fail(entities, "device", f"at most {entities:,} devices", got, "raise entidades")
    table = DeviceTable(
        device=np.array(device, np.uint32),
        low=np.array(low, np.float32),
        high=np.array(high, np.float32),
        names=tuple(names),
        units=tuple(units),
    )
    _check_repeats(table.device, fail)
    _check_names(table, fail)
    _check_limits(table, fail)
    return table


def _check_repeats(device: np.ndarray, fail: Fail) -> None:
    order = np.argsort(device, kind="stable")
    again = np.flatnonzero(np.diff(device[order]) == 0)
    if len(again):
        row = int(order[again + 1].min())
        raise fail(
            row, "device", "each device once", f"{device[row]} again", "remove one of the two"
        )


def _check_names(table: DeviceTable, fail: Fail) -> None:
    first: dict[str, int] = {}
    for row, name in enumerate(table.names):
        other = first.setdefault(name, row)
        if name and other != row:
            got = f"{show(name)} for device {table.device[other]} and for device {table.device[row]}"
            raise fail(row, "name", "a name of its own for each device", got, "columns of files go to devices by name")


def _check_limits(table: DeviceTable, fail: Fail) -> None:
    crossed = np.flatnonzero(table.low > table.high)
    if len(crossed):
        row = int(crossed[0])
        expected = f"a limit not above high, {table.high[row]:g}"
        raise fail(row, "low", expected, f"{table.low[row]:g}", "low and high may be swapped")


def _read_cells(file: Path) -> tuple[list[int], dict[str, list[str]]]:
    """(line number of each row, cells of each column)."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            return _columns(csv.reader(stream, strict=True), file)
    except OSError as error:
        reason = (error.strerror or "an error").lower()
        raise ConfigError(f"{file}: expected a readable CSV of devices, got {reason}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{file}: expected a CSV in UTF-8, got {error}") from None


def _columns(reader: Any, file: Path) -> tuple[list[int], dict[str, list[str]]]:
    header = [name.strip() for name in next(reader, [])]
    _check_header(header, file)
    lines, columns = [], {name: [] for name in header}
    stores = list(columns.values())
    for cells in reader:
        if cells:
            _check_width(cells, header, file, reader.line_num)
            lines.append(reader.line_num)
            for store, cell in zip(stores, cells, strict=True):
                store.append(cell.strip())
    return lines, dict.fromkeys(COLUMNS, [""] * len(lines)) | columns


def _check_width(cells: list[str], header: list[str], file: Path, line: int) -> None:
    if len(cells) != len(header):
        expected = f"{len(header)} values, one a column"
        hint = "an empty value keeps its comma; decimals take a point"
        got = f"{len(cells)} - at line {line}"
        raise ConfigError(f"{file}: expected {expected}, got {got}", hint=hint)


def _check_header(header: list[str], file: Path) -> None:
    wrong = [name for name in header if name not in COLUMNS]
    if wrong or "device" not in header or len(set(header)) != len(header):
        typo = wrong and not wrong[0].startswith(COLUMNS)
        near = did_you_mean(wrong[0], COLUMNS) if typo else None
        hint = near or f"separated by commas; all but device may be left out: {','.join(COLUMNS)}"
        got = f"{show(','.join(header))} - at line 1"
        raise ConfigError(f"{file}: expected the header {','.join(COLUMNS)}, got {got}", hint=hint)


def _device(text: str, row: int, fail: Fail) -> int:
    if len(text) <= 10 and text.isascii() and text.isdecimal() and int(text) <= MAX_WIRE_ID:
        return int(text)
    raise fail(row, "device", f"an integer from 0 to {MAX_WIRE_ID}", show(text), None)


def _limit(text: str, row: int, column: str, fail: Fail) -> float:
    if not text:
        return nan
    try:
        value = float(text)
    except ValueError:
        value = nan
    if isfinite(value) and abs(value) <= MAX_FLOAT32 and "_" not in text:
        return value
    raise fail(row, column, "a number or nothing", show(text), "decimals take a point")


def _or_nan(column: Sequence[float | None], count: int) -> list[float]:
    return [nan if value is None else value for value in column] or [nan] * count


def _without_nan(column: np.ndarray) -> list[float | None]:
    return [None if isnan(value) else value for value in column.tolist()]
