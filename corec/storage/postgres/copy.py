"""Aggregates and alerts as PostgreSQL's binary COPY, built by `_core.copyrows`."""

import io
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from corec._core import copyrows
from corec._core.dtypes import AGGREGATE, ALERT
from corec.common.units import MB
from corec.storage.base import Block
from corec.storage.rows import ALERTS as EMBEDDED_ALERTS
from corec.storage.rows import WINDOWS

_KINDS = {"i1": copyrows.SMALL, "u1": copyrows.SMALL, "u4": copyrows.UNSIGNED, "i8": copyrows.BIG, "f4": copyrows.FLOAT,
          "f8": copyrows.DOUBLE}  # fmt: skip
_CHUNK = MB


class CopyForm:
    """How arrays of one dtype become rows of one table: the shared columns, then those of the block, then those of the row."""

    def __init__(self, table: str, dtype: np.dtype, moment: str, own: Sequence[str], *, counted: bool, numbered: bool = False) -> None:
        """moment: field with the time in ms.
        own: the other fields of the array, `turn` among them where the rows belong to several turns.
        counted: the block's number of entities follows its id.
        numbered: a last column holds the row's number in its turn.
        """
        names = [moment, *own]
        self.table, self.dtype, self._counted = table, dtype, counted
        self.moment = moment
        at = {name: dtype.fields[name][1] for name in names}
        steps = [(_KINDS[dtype[name].str[1:]], at[name]) for name in names] + [(copyrows.NUMBER, 0)] * numbered
        self._aside_steps = np.array(steps, np.int32)
        self._steps = np.array([(copyrows.MOMENT, at[moment]), *steps[1:]], np.int32)
        self._one_turn = "turn" not in own
        shared = ["instance_id", "shard"] + ["turn"] * self._one_turn + ["span"] * counted
        block = ["id", "num_entidades"] if counted else ["bloque"]
        self.columns = [*shared, *block, "timestamp", *own] + ["row"] * numbered
        self._listed = ", ".join(f'"{name}"' for name in self.columns)

    def names(self, blocks: Sequence[Block], newest: int = -1) -> tuple[np.ndarray, bytes]:
        """The block columns for `pack`, made once. Blocks up to index *newest* without a name become `?`."""
        by_index = {block.index: block for block in blocks}
        fields = [self._block_fields(by_index.get(index)) for index in range(max(newest, *by_index, -1) + 1)]
        starts = np.zeros(len(fields) + 1, np.int64)
        np.cumsum([len(each) for each in fields], out=starts[1:])
        return starts, b"".join(fields)

    def _block_fields(self, block: Block | None) -> bytes:
        name = text(block.id if block else "?")
        return name + (integer(block.entities if block else 0) if self._counted else b"")

    def pack(self, rows: np.ndarray, names: tuple[np.ndarray, bytes], shared: bytes, *, aside: bool = False) -> bytes:
        """The COPY content of *rows*; *shared* comes from the method `shared`, *names* from `names`."""
        steps = self._aside_steps if aside else self._steps
        return copyrows.pack_rows(rows, steps, shared, *names, len(self.columns))

    def shared(self, instance: str, shard: int, turn: int = 0, span: int = 0) -> bytes:
        """The columns that all rows of a turn share."""
        return text(instance) + small(shard) + big(turn) * self._one_turn + integer(span) * self._counted

    def copy(self, cursor: Any, content: bytes, *, aside: bool = False) -> None:
        """Send the content to the server. aside: into the table for rows without a partition."""
        table = self.table + ("_aside" if aside else "")
        cursor.copy_expert(f"COPY {table} ({self._listed}) FROM STDIN (FORMAT binary)", io.BytesIO(content), _CHUNK)


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("!i", len(raw)) + raw


def small(value: int) -> bytes:
    return struct.pack("!ih", 2, value)


def integer(value: int) -> bytes:
    return struct.pack("!ii", 4, value)


def big(value: int) -> bytes:
    return struct.pack("!iq", 8, value)


_MEASURES = ("fitness", "canal", "block", "count", "mean", "min", "max", "std", "errors", "messages", "score")
_ALERT = ("id", "canal", "kind", "valor", "limit", "block")
BLOQUES = CopyForm("bloques", AGGREGATE, "window", _MEASURES, counted=True)
ALERTS = CopyForm("alerts", ALERT, "time", _ALERT, counted=False, numbered=True)

#: Rows moved from an embedded store.
MOVED_WINDOWS = CopyForm("bloques", WINDOWS.dtype, "window", ("turn", *_MEASURES), counted=True)
MOVED_ALERTS = CopyForm("alerts", EMBEDDED_ALERTS.dtype, "time", ("turn", "row", *_ALERT), counted=False)
