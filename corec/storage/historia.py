"""The table `historia`: one row for each repair, fusion, undo and restart of a block."""

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from math import nan
from typing import Any, NamedTuple

from corec.engine.outcome import EVERY_BLOCK
from corec.storage.rows import is_sound, sealed

DECLARATION = (
    "CREATE TABLE historia (time INTEGER, turn INTEGER, row INTEGER, block INTEGER, what TEXT, host INTEGER, fitness REAL,"
    " host_fitness REAL, failing INTEGER, entities INTEGER, inherited INTEGER, reason TEXT, subject TEXT, crc INTEGER,"
    " PRIMARY KEY (time, turn, row)) WITHOUT ROWID"
)
KEY = ("time", "turn", "row")


class Happening(NamedTuple):
    """A row of `historia`; docs/formats.md describes its columns."""

    time: int
    turn: int
    row: int
    block: int
    what: str
    host: int
    fitness: float
    host_fitness: float
    failing: int
    entities: int
    inherited: int
    reason: str
    subject: str


def of_blocks(happenings: Iterable[Happening], pattern: str, named: Collection[int]) -> list[Happening]:
    """What concerns the blocks with the indexes *named*, as block or as host, or all blocks; everything for the pattern "*"."""
    concerned = {*named, EVERY_BLOCK}
    return [each for each in happenings if pattern == "*" or each.block in concerned or each.host in named]


def append(db: sqlite3.Connection, turn: int, events: Sequence[tuple[Any, ...]], totals: dict[str, int]) -> None:
    """Add the events of a turn, (time, block, what, ...) each."""
    if events:
        rows = [sealed(event[0], turn, row, *map(_measured, event[1:])) for row, event in enumerate(events)]
        db.executemany("INSERT INTO historia VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        totals["historia"] = totals.get("historia", 0) + len(rows)


def read(db: sqlite3.Connection, since: int, until: int) -> tuple[list[Happening], int]:
    """(rows in [since, until) ms by time, number of damaged rows left out)."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'historia'").fetchone():
        return [], 0  # a store of format 1, which its node has not opened since
    rows = db.execute("SELECT * FROM historia WHERE time >= ? AND time < ? ORDER BY time, turn, row", (since, until)).fetchall()
    sound = [Happening(*(nan if value is None else value for value in row[:-1])) for row in rows if is_sound(row)]
    return sound, len(rows) - len(sound)


def _measured(value: Any) -> Any:
    """A value as SQLite stores it: NaN becomes NULL. The checksum is computed over that."""
    return None if value != value else value
