"""Open a store that may be damaged. A damaged one is put aside, and its sound rows are carried over."""

import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from corec.common.times import wall_ms
from corec.errors import DamagedFile
from corec.storage import disk, historia
from corec.storage.base import EMPTY_BASE, StoreBase, TurnRecord
from corec.storage.rows import ALERTS, MINUTES, WINDOWS, RowFormat, is_sound
from corec.storage.sqlite import schema
from corec.storage.sqlite.read import TURN_COLUMNS, turn_record
from corec.storage.sqlite.store import SqliteStore, distrust_mark

log = logging.getLogger("corec.storage.store_recovery")

_BATCH = 5_000
_BLOBS = ("late", "outbox")
_COUNTED = ("windows", "minutes", "alerts", "historia", *_BLOBS)


def open_store(path: Path, *, base: StoreBase = EMPTY_BASE, instance: str = "corec1", **options: Any) -> SqliteStore:
    """The store at *path*; a damaged one is replaced by a new one that begins at *base*.

    base: turn, offset and ledger of the newest sound snapshot.  Sound rows up to that turn are carried over; later ones follow
    again from the journal.  The turn records behind *base* are in `salvaged`: folding them as they are keeps decisions and
    commands.
    """
    path = Path(path)
    try:
        _require_trust(path)
        return SqliteStore(path, base=base, instance=instance, **options)
    except DamagedFile as error:
        log.error("[Store-%s] %s", instance, error)
    aside = put_aside(path)
    log.error("[Store-%s] the damaged store is kept as %s", instance, aside.name)
    salvage = _Salvage(aside, base)
    schema.create(path, instance, base.document(), fill=salvage.fill)
    log.error("[Store-%s] a new store begins at turn %d, offset %d; carried over: %s; %d turn records to fold again",
              instance, base.turn, base.offset, salvage.summary(), len(salvage.turns))  # fmt: skip
    store = SqliteStore(path, base=base, instance=instance, **options)
    store.salvaged = salvage.turns
    aside.with_name(aside.name + "-shm").unlink(missing_ok=True)
    distrust_mark(path).unlink(missing_ok=True)
    return store


def _require_trust(path: Path) -> None:
    if path.exists() and distrust_mark(path).exists():
        raise DamagedFile(f"{path} is marked as damaged")


def put_aside(path: Path) -> Path:
    """Give a damaged store and its WAL a second name. The first name stays until a new store takes it."""
    aside = path.with_name(f"{path.name}.damaged-{wall_ms()}")
    for suffix in ("", "-wal"):
        with suppress(FileNotFoundError):
            _second_name(f"{path}{suffix}", f"{aside}{suffix}")
    disk.sync_folder(path.parent)
    return aside


def _second_name(path: str, other: str) -> None:
    try:
        os.link(path, other)
    except PermissionError:  # this file system has no hard links
        shutil.copyfile(path, other)


class _Salvage:
    def __init__(self, aside: Path, base: StoreBase) -> None:
        self._aside = aside
        self._base = base
        self._totals: dict[str, int] = {}
        self._damaged: dict[str, int] = {}
        self.turns: list[TurnRecord] = []

    def summary(self) -> str:
        text = ", ".join(f"{self._totals[table]} {table}" for table in _COUNTED)
        left_out = ", ".join(f"{count} {table}" for table, count in self._damaged.items() if count)
        return f"{text} (left out as damaged: {left_out})" if left_out else text

    def fill(self, new: sqlite3.Connection) -> None:
        with suppress(sqlite3.Error), closing(schema.connect(self._aside, read_only=True)) as old:
            old.execute("PRAGMA writable_schema = ON")  # or SQLite reads nothing of a file that was cut short
            self._carry_sealed(old, new, "blocks", lambda row: True)
            for form in (MINUTES, WINDOWS, ALERTS):
                self._carry_packed(old, new, form)
            for table in (*_BLOBS, "historia"):
                self._carry_sealed(old, new, table, lambda row: row[1] <= self._base.turn)
            self._drop_rolled(old, new)
            self.turns = self._turns_behind(old)
        self._count(new)

    def _carry_packed(self, old: sqlite3.Connection, new: sqlite3.Connection, form: RowFormat) -> None:
        for rows in _readable(old, form.select, form.key):
            array, sound = form.unpack(rows)
            self._count_damaged(form.table, int((~sound).sum()))
            chosen = sound & (array["turn"] <= self._base.turn)
            self._insert(new, form.table, [row for row, wanted in zip(rows, chosen, strict=True) if wanted])

    def _carry_sealed(self, old: sqlite3.Connection, new: sqlite3.Connection, table: str, wanted: Any) -> None:
        key = {"blocks": ("block",), "historia": historia.KEY}.get(table, ("seq",))
        for rows in _readable(old, f"SELECT * FROM {table}", key):
            sound = [row for row in rows if is_sound(row)]
            self._count_damaged(table, len(rows) - len(sound))
            if table in _BLOBS:
                self._totals[f"{table}_seq"] = max([self._totals.get(f"{table}_seq", 0), *(row[0] for row in sound)])
            self._insert(new, table, [row for row in sound if wanted(row)])

    def _count_damaged(self, table: str, rows: int) -> None:
        self._damaged[table] = self._damaged.get(table, 0) + rows

    def _insert(self, new: sqlite3.Connection, table: str, rows: list[tuple[Any, ...]]) -> None:
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            new.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", rows)

    def _drop_rolled(self, old: sqlite3.Connection, new: sqlite3.Connection) -> None:
        """Delete windows whose minute is written already."""
        with suppress(sqlite3.Error):
            for row in old.execute("SELECT * FROM rolled"):
                if is_sound(row):
                    sql = 'DELETE FROM windows WHERE "window" >= ? AND "window" < ? AND turn <= ?'
                    new.execute(sql, row[1:4])

    def _turns_behind(self, old: sqlite3.Connection) -> list[TurnRecord]:
        """Sound turn records right behind the base, up to the first gap."""
        found = {}
        for rows in _readable(old, f"SELECT {TURN_COLUMNS} FROM turns", ("turn",)):
            found.update({row[0]: turn_record(row) for row in rows if is_sound(row)})
        row, turn, offset = [], self._base.turn + 1, self._base.offset
        while turn in found and found[turn].from_offset == offset:
            row.append(found[turn])
            turn, offset = turn + 1, found[turn].to_offset
        return row

    def _count(self, new: sqlite3.Connection) -> None:
        for table in _COUNTED:
            self._totals[table] = new.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in _BLOBS:
            self._totals[f"{table}_bytes"] = new.execute(f"SELECT sum(length(frames)) FROM {table}").fetchone()[0] or 0
        schema.put_meta(new, "totals", schema.compact({**self._totals, "turn": self._base.turn}))


def _readable(db: sqlite3.Connection, select: str, key: tuple[str, ...]) -> Iterator[list[tuple[Any, ...]]]:
    """The rows that can be read from either end of a table, which may be broken in the middle."""
    for direction in ("ASC", "DESC"):
        order = ", ".join(f'"{column}" {direction}' for column in key)
        rows: list[tuple[Any, ...]] = []
        whole = False
        with suppress(sqlite3.Error):
            for row in db.execute(f"{select} ORDER BY {order}"):
                rows.append(row)
                if len(rows) == _BATCH:
                    yield rows
                    rows = []
            whole = True
        yield rows
        if whole:
            return
