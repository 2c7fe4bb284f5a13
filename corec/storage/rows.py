"""Structured arrays to table rows and back. Each row has a checksum."""

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np

from corec._core.dtypes import AGGREGATE, ALERT
from corec._core.wire import crc32c, crc32c_rows


class RowFormat:
    """A table whose columns are *first*, then the other fields of *content*, then `crc`."""

    def __init__(self, table: str, first: Sequence[tuple[str, str]], content: np.dtype, key: int = 3) -> None:
        """*key*: how many of the *first* columns are the primary key."""
        named = {name for name, _ in first}
        rest = [(name, content[name].str) for name in content.names if name not in named]
        self.table = table
        self.dtype = np.dtype([*first, *rest])
        self.key = tuple(name for name, _ in first[:key])
        self._floats = [name for name in self.dtype.names if self.dtype[name].kind == "f"]
        #: SQLite's reals are doubles. They are read as doubles, to detect changes in bits that a float does not have.
        self._as_read = np.dtype([(name, "<f8" if name in self._floats else self.dtype[name]) for name in self.dtype.names])
        columns = ", ".join(f'"{name}"' for name in self.dtype.names)
        marks = ", ".join("?" * (len(self.dtype.names) + 1))
        self.select = f"SELECT {columns}, crc FROM {table}"
        self.insert = f"INSERT INTO {table} ({columns}, crc) VALUES ({marks})"

    @property
    def declaration(self) -> str:
        columns = [f'"{name}" {_sql_type(self.dtype[name])}' for name in self.dtype.names]
        key = ", ".join(f'"{name}"' for name in self.key)
        return f"CREATE TABLE {self.table} ({', '.join(columns)}, crc INTEGER, PRIMARY KEY ({key})) WITHOUT ROWID"

    def stored(self, content: np.ndarray, **first: Any) -> np.ndarray:
        """*content* in the layout of this table; *first* gives the columns that it lacks."""
        rows = np.empty(len(content), self.dtype)
        for name in self.dtype.names:
            rows[name] = first[name] if name in first else content[name]
        return rows

    def pack(self, rows: np.ndarray) -> list[tuple[Any, ...]]:
        """Rows for `insert`. Floats that SQLite does not give back bit for bit (-0.0, odd NaNs) are made canonical, in place."""
        for name in self._floats:
            column = rows[name]
            column += 0.0
            column[np.isnan(column)] = math.nan
        checksums = crc32c_rows(rows).tolist()
        return [(*row, checksum) for row, checksum in zip(rows.tolist(), checksums, strict=True)]

    def unpack(self, rows: Iterable[tuple[Any, ...]]) -> tuple[np.ndarray, np.ndarray]:
        """(array of the rows of `select`, bool[n]: which of them match their checksum)."""
        split = [(row[:-1], row[-1]) for row in rows]
        read = np.zeros(len(split), self._as_read)
        checksums = np.zeros(len(split), np.uint32)
        try:
            read[:] = [row for row, _ in split]
            checksums[:] = [checksum for _, checksum in split]
        except (TypeError, ValueError, OverflowError):
            return self._unpack_slowly(split)
        return self._checked(read, checksums)

    def _unpack_slowly(self, split: list[tuple[tuple[Any, ...], Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Row by row, because some row has a value of a wrong type."""
        read = np.zeros(len(split), self._as_read)
        checksums = np.zeros(len(split), np.uint32)
        typed = np.zeros(len(split), bool)
        for i, (row, checksum) in enumerate(split):
            with suppress(TypeError, ValueError, OverflowError):
                read[i], checksums[i], typed[i] = row, checksum, True
        array, sound = self._checked(read, checksums)
        return array, sound & typed

    def _checked(self, read: np.ndarray, checksums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(over="ignore", invalid="ignore"):
            array = read.astype(self.dtype)
        sound = crc32c_rows(array) == checksums if len(array) else np.zeros(0, bool)
        for name in self._floats:
            sound &= (array[name] == read[name]) | np.isnan(read[name])
        return array, sound


def _sql_type(kind: np.dtype) -> str:
    return "REAL" if kind.kind == "f" else "INTEGER"


def row_checksum(*values: Any) -> int:
    """CRC32C of a row of integers, texts and blobs."""
    return crc32c(msgspec.msgpack.encode(values))


def sealed(*values: Any) -> tuple[Any, ...]:
    return (*values, row_checksum(*values))


def is_sound(row: tuple[Any, ...]) -> bool:
    return row_checksum(*row[:-1]) == row[-1]


_WINDOW = (("window", "<i8"), ("block", "<u4"), ("turn", "<i8"))
WINDOWS = RowFormat("windows", _WINDOW, AGGREGATE)
#: `turn` is the newest turn in the minute.
MINUTES = RowFormat("minutes", _WINDOW, AGGREGATE, key=2)
ALERTS = RowFormat("alerts", (("time", "<i8"), ("turn", "<i8"), ("row", "<u4")), ALERT)
