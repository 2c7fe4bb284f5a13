"""The tables of `store.db` (docs/formats.md), its connections, and SQLite's errors as CoreC's."""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from corec.common.times import wall_ms
from corec.common.units import MB
from corec.errors import CoreCError, DamagedFile, DiskFull, StorageError
from corec.storage import disk, historia
from corec.storage.formats import newer
from corec.storage.private import open_private
from corec.storage.rows import ALERTS, MINUTES, WINDOWS, is_sound, sealed

APPLICATION_ID = 0x436F7243  # "CorC"
FORMAT = 2
#: A larger format number is damage.
FORMATS = 1_000
#: What to do about damage that a start may not look at.
REPAIR = "`corec check --data DIR` says what is damaged; with --repair the next start builds the store anew from the rest"
PAGE_BYTES = 4096
#: How long a statement waits for another process's lock, in milliseconds.
BUSY_MS = 5_000
#: Size to which a WAL is cut back after a long reader has let it grow.
WAL_KEPT_BYTES = 8 * MB

_VIEW = """CREATE VIEW bloques AS
SELECT b.id AS id, w.canal AS canal, b.entities AS num_entidades, w.fitness AS fitness,
 strftime('%Y-%m-%dT%H:%M:%fZ', w."window" / 1000.0, 'unixepoch') AS timestamp,
 (SELECT value FROM meta WHERE key = 'instance') AS instance_id,
 w."window" AS "window", w.span AS span, w."count" AS "count", w.mean AS mean, w."min" AS "min", w."max" AS "max",
 w.std AS std, w.errors AS errors, w.messages AS messages, w.score AS score
FROM history AS w JOIN blocks AS b ON b.block = w.block"""

_MEASURES = 'canal, "count", mean, "min", "max", std, errors, messages, fitness, score'

#: Minutes, and the windows that were not rolled up into one: a window is in `windows` for a short
#: while after its minute is written, because deleting a minute's rows at once would hold up a commit.
_HISTORY = f"""CREATE VIEW history AS
SELECT "window", block, {_MEASURES}, 0 AS span FROM windows
 WHERE NOT EXISTS (SELECT 1 FROM rolled AS r WHERE windows."window" >= r.since AND windows."window" < r.until
 AND windows.turn <= r.turn)
UNION ALL SELECT "window", block, {_MEASURES}, 60000 AS span FROM minutes"""

TABLES: dict[str, str] = {
    "meta": "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT, crc INTEGER) WITHOUT ROWID",
    "blocks": "CREATE TABLE blocks (block INTEGER PRIMARY KEY, id TEXT, canal INTEGER, entities INTEGER, crc INTEGER)",
    "turns": "CREATE TABLE turns (turn INTEGER PRIMARY KEY, from_offset INTEGER, to_offset INTEGER, load_q INTEGER,"
    " tick INTEGER, commands TEXT, config_hash TEXT, created INTEGER, windows INTEGER, alerts INTEGER, late INTEGER,"
    " outbox INTEGER, ledger TEXT, totals TEXT, crc INTEGER)",
    "windows": WINDOWS.declaration,
    "minutes": MINUTES.declaration,
    "rolled": "CREATE TABLE rolled (id INTEGER PRIMARY KEY, since INTEGER, until INTEGER, turn INTEGER, crc INTEGER)",
    "alerts": ALERTS.declaration,
    "late": "CREATE TABLE late (seq INTEGER PRIMARY KEY, turn INTEGER, time INTEGER, arrival INTEGER, cause TEXT,"
    " frames BLOB, crc INTEGER)",
    "outbox": "CREATE TABLE outbox (seq INTEGER PRIMARY KEY, turn INTEGER, stream TEXT, time INTEGER, frames BLOB,"
    " crc INTEGER)",
    "snapshots": "CREATE TABLE snapshots (turn INTEGER PRIMARY KEY, journal_offset INTEGER, generation INTEGER,"
    " created INTEGER, crc INTEGER)",
    "historia": historia.DECLARATION,
    "history": _HISTORY,
    "bloques": _VIEW,
}

#: Tables whose rows carry `sealed` checksums; the others are packed arrays.
SEALED_TABLES = ("meta", "blocks", "turns", "rolled", "late", "outbox", "snapshots", "historia")


def has_wal(path: Path) -> bool:
    """Whether the write-ahead log holds commits: the node did not stop cleanly."""
    wal = path.with_name(path.name + "-wal")
    return wal.exists() and wal.stat().st_size > 0


def connect(path: Path, *, read_only: bool = False, at_rest: bool = False) -> sqlite3.Connection:
    """A connection without implicit transactions.

    at_rest: nobody writes. Then a store without a WAL is read without creating any file.
    """
    if read_only:
        return _open(f"file:{_escaped(path)}?mode=ro{'&immutable=1' if at_rest and not has_wal(path) else ''}")
    db = _open(f"file:{_escaped(path)}?mode=rwc")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
    return db


def _open(uri: str) -> sqlite3.Connection:
    db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=64)
    db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    return db


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def create(
    path: Path,
    instance: str,
    base: dict[str, Any],
    page_bytes: int = PAGE_BYTES,
    fill: Callable[[sqlite3.Connection], None] | None = None,
) -> None:
    """Make a store that begins at *base*; *fill* adds rows. The file gets its name only when it is complete."""
    unfinished = path.with_name(path.name + ".new")
    for leftover in path.parent.glob(unfinished.name + "*"):
        leftover.unlink()
    os.close(open_private(unfinished, os.O_RDWR | os.O_EXCL))   # its WAL gets the same rights
    db = _open(f"file:{_escaped(unfinished)}?mode=rwc")
    db.execute(f"PRAGMA page_size = {page_bytes}")
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    db.execute("PRAGMA synchronous = FULL")
    # Not in WAL mode yet: closing would copy the WAL into the file, and not say if that fails.
    with closing(db), transaction(db, path):
        for statement in TABLES.values():
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {FORMAT}")
        epoch = str(wall_ms())  # no owner of an earlier store at this path has this epoch
        for key, value in (("instance", instance), ("epoch", epoch), ("base", json.dumps(base))):
            put_meta(db, key, value)
        if fill:
            fill(db)
    for suffix in ("-wal", "-shm"):  # files of an earlier store: SQLite would take them for those of the new one
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    disk.publish(unfinished, path)


def migrate(db: sqlite3.Connection, path: Path) -> None:
    """Bring a store of an older format to this one, in one transaction."""
    if db.execute("PRAGMA user_version").fetchone()[0] == 1:
        with transaction(db, path):
            db.execute(historia.DECLARATION)
            db.execute(f"PRAGMA user_version = {FORMAT}")


@contextmanager
def transaction(db: sqlite3.Connection, path: Path) -> Iterator[None]:
    """Commit everything or nothing. SQLite's errors are raised as CoreC's."""
    with translated(path):
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


@contextmanager
def translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise explain(error, path) from error
    except OSError as error:
        raise disk.explain(error, "use", path) from error


def explain(error: sqlite3.Error, path: Path) -> CoreCError:
    code = getattr(error, "sqlite_errorcode", None)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    primary = None if code is None else code & 0xFF
    if primary == sqlite3.SQLITE_FULL:
        return DiskFull(f"no room left to commit to {path}", detail=str(error), hint="free some space on this disk")
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DamagedFile(
            f"{path} is damaged: {error}", detail=name, hint=REPAIR
        )
    if "no such table" in str(error):  # an empty file is a database to SQLite
        return DamagedFile(f"{path} is no store: {error}", detail=name, hint=REPAIR)
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageError(f"{path} is locked by another process", detail=name, hint="close what is writing to it")
    return StorageError(f"could not use {path}: {error}", detail=name, hint="see the system log: the disk may be failing")


def require_known_format(db: sqlite3.Connection, path: Path) -> None:
    """Refuse the store of a newer CoreC: that is not damage."""
    with translated(path):
        version = db.execute("PRAGMA user_version").fetchone()[0]
        ours = db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    if ours and FORMAT < version < FORMATS:
        raise newer(path, FORMAT, version)


def put_meta(db: sqlite3.Connection, key: str, value: str) -> None:
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", sealed(key, value))


def get_meta(db: sqlite3.Connection, key: str, path: Path) -> str | None:
    row = db.execute("SELECT key, value, crc FROM meta WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    if not is_sound(row):
        raise DamagedFile(f"{path} is damaged: the row '{key}' of meta does not match its checksum")
    return row[1]


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def is_older(db: sqlite3.Connection) -> bool:
    """Whether the store has an older format. Opening it for writing migrates it."""
    return 0 < db.execute("PRAGMA user_version").fetchone()[0] < FORMAT


def present(db: sqlite3.Connection, tables: tuple[str, ...]) -> list[str]:
    """Those of *tables* that the store has; an older one may lack some."""
    there = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    return [table for table in tables if table in there or not is_older(db)]


def schema_problem(db: sqlite3.Connection) -> str | None:
    """What is wrong with the definitions of the tables; None when nothing is."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        return "it is no CoreC store"
    if version != FORMAT:
        return f"expected format {FORMAT}, got {version}"
    found = set(db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))
    changed = [name for name, sql in TABLES.items() if (sql.split()[1].lower(), name, name, sql) not in found]
    return f"the definition of {', '.join(changed)} is not the one written" if changed else None
