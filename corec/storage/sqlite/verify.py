"""All checks of a store: structure, checksums, sequence of turns, row counts."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from corec.common.text import first_of
from corec.errors import CoreCError
from corec.storage.rows import ALERTS, MINUTES, WINDOWS, RowFormat, is_sound
from corec.storage.sqlite import schema
from corec.storage.sqlite.read import TURN_COLUMNS

_BATCH = 10_000


def verify(path: Path, *, at_rest: bool = False) -> list[str]:
    """Read a whole store, in one consistent state, and return every problem found.

    at_rest: nobody writes. Then no file is created beside it.
    """
    try:
        with closing(schema.connect(Path(path), read_only=True, at_rest=at_rest)) as db:
            db.execute("BEGIN")
            return [problem for check in _CHECKS for problem in first_of(list(_run(check, db, Path(path))))]
    except (sqlite3.Error, CoreCError) as error:
        return [f"cannot be opened: {error}"]


def _run(check: Callable[[sqlite3.Connection], Iterator[str]], db: sqlite3.Connection, path: Path) -> Iterator[str]:
    """The problems that a check finds; a check that cannot run is a problem too."""
    try:
        yield from check(db)
    except sqlite3.Error as error:
        yield schema.explain(error, path).text
    except (CoreCError, ValueError, TypeError, KeyError, IndexError) as error:
        yield f"{check.__name__.strip('_')} could not be checked: {error}"


def _structure(db: sqlite3.Connection) -> Iterator[str]:
    for (answer,) in db.execute("PRAGMA quick_check"):
        if answer != "ok":
            yield answer


def _definitions(db: sqlite3.Connection) -> Iterator[str]:
    problem = schema.schema_problem(db)
    if problem and not schema.is_older(db):
        yield problem


def _sealed_rows(db: sqlite3.Connection) -> Iterator[str]:
    for table in schema.present(db, schema.SEALED_TABLES):
        for row in db.execute(f"SELECT * FROM {table}"):
            if not is_sound(row):
                yield f"row {row[0]} of {table} does not match its checksum"


def _packed_rows(db: sqlite3.Connection) -> Iterator[str]:
    for form in (WINDOWS, MINUTES, ALERTS):
        yield from _packed_rows_of(form, db)


def _packed_rows_of(form: RowFormat, db: sqlite3.Connection) -> Iterator[str]:
    cursor = db.execute(form.select)
    while rows := cursor.fetchmany(_BATCH):
        _, sound = form.unpack(rows)
        for index in (~sound).nonzero()[0]:
            yield f"row {rows[index][: len(form.key)]} of {form.table} does not match its checksum"


def _turns(db: sqlite3.Connection) -> Iterator[str]:
    base = json.loads(db.execute("SELECT value FROM meta WHERE key = 'base'").fetchone()[0])
    previous = None
    for turn, before, upto in db.execute("SELECT turn, from_offset, to_offset FROM turns ORDER BY turn"):
        if previous and (turn, before) != (previous[0] + 1, previous[1]):
            yield f"turn {previous[0]} up to offset {previous[1]} is followed by turn {turn} from {before}"
        previous = (turn, upto)
    if previous and previous[0] <= base["turn"]:
        yield f"turn {previous[0]} is not behind the base, turn {base['turn']}"
    for turn, offset in db.execute("SELECT turn, journal_offset FROM snapshots"):
        if turn > (previous[0] if previous else base["turn"]):
            yield f"there is a snapshot of turn {turn}, offset {offset}, but no such turn"


def _counts(db: sqlite3.Connection) -> Iterator[str]:
    totals = newest_totals(db)
    for table in schema.present(db, ("windows", "minutes", "alerts", "historia", "late", "outbox")):
        stored = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        if stored != totals.get(table, 0):
            yield f"expected {totals.get(table, 0)} rows in {table}, got {stored}"
    for table in ("windows", "alerts", "late", "outbox"):
        yield from _counts_by_turn(db, table, totals.get(f"{table}_pruned", 0))


def _counts_by_turn(db: sqlite3.Connection, table: str, pruned: int) -> Iterator[str]:
    stored = dict(db.execute(f"SELECT turn, count(*) FROM {table} WHERE turn > ? GROUP BY turn", (pruned,)))
    for turn, expected in db.execute(f"SELECT turn, {table} FROM turns WHERE turn > ?", (pruned,)):
        if stored.get(turn, 0) != expected:
            yield f"turn {turn} committed {expected} rows to {table}, {stored.get(turn, 0)} are there"


def newest_totals(db: sqlite3.Connection) -> dict[str, int]:
    """The row counts written last, by a turn or by retention."""
    kept = db.execute("SELECT value FROM meta WHERE key = 'totals'").fetchone()
    housekeeping = json.loads(kept[0]) if kept else {}
    row = db.execute(f"SELECT {TURN_COLUMNS} FROM turns ORDER BY turn DESC LIMIT 1").fetchone()
    if row is not None and row[0] > housekeeping.get("turn", -1):
        return json.loads(row[13])
    return {key: value for key, value in housekeeping.items() if key != "turn"}


_CHECKS = (_structure, _definitions, _sealed_rows, _packed_rows, _turns, _counts)
