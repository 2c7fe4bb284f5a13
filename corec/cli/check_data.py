"""Verifies all files of a data folder while no node works on it; none of them is changed."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from corec.cli.check_fit import JournalSpan, misfits
from corec.common.text import amount, counted
from corec.config import Config
from corec.errors import CoreCError, DamagedFile, StorageError
from corec.pipeline.identity import require_one_node
from corec.sources import names
from corec.storage import disk
from corec.storage.base import StoreState
from corec.storage.folder import DataFolder, Layout, undisturbed
from corec.storage.numbered import numbered
from corec.storage.open_store import open_reader
from corec.storage.snapshots import Snapshots
from corec.storage.snapshots.files import Head
from corec.storage.sqlite.read import SqliteReader
from corec.storage.sqlite.schema import connect, has_wal
from corec.storage.sqlite.store import distrust_mark
from corec.storage.sqlite.verify import verify as verify_store
from corec.streams import journal

#: Newest turns that are searched for a record of streams read from a server.
RECENT_TURNS = 50


class PartCheck(NamedTuple):
    """The result for one part of a data folder: what it holds, all problems, and the remedy."""

    name: str
    found: str
    problems: list[str]
    remedy: str = ""


class FoundStore(NamedTuple):
    """The newest turn of a store, and whether its log of readings is on a server."""

    state: StoreState
    on_server: bool


def verify_folder(data: Path, config: Config | None = None) -> Iterator[PartCheck]:
    """Yields a result for each part of the folder; FolderInUse while a node runs there."""
    layout = require_data_folder(data)
    with undisturbed(layout), _still(layout.store) as still:
        require_one_node(layout, still)
        store, standing = _server(config, data) if config and config.db_config else _store(layout.store, still)
        written, span = _journal("journal", layout.journal)
        snapshots, heads = _snapshots(layout.snapshots)
        yield from (store, written, snapshots)
        if numbered(data / "tail", ".log"):
            yield _journal("tail", data / "tail")[0]
        if (data / names.FILE).exists():
            yield _names(data)
        if not store.problems:
            yield from _together(standing, span, heads)


def require_data_folder(data: Path) -> Layout:
    """The layout of a data folder; StorageError where no node has worked in it."""
    layout = Layout(data)
    if not layout.exists:
        what = "which holds no store, journal or snapshot of one" if data.is_dir() else "which is none"
        raise StorageError(
            f"expected a data folder of a node, got {data}, {what}", hint="--data names it; `corec run` makes it"
        )
    return layout


def mark_store(data: Path, reason: str) -> None:
    """Have the next start build the store anew from its sound rows.  reason: text of the mark's file."""
    with DataFolder(data, least_free=0) as folder:
        distrust_mark(folder.store).write_text(reason + "\n")


def _together(standing: FoundStore | None, span: JournalSpan | None, heads: list[Head]) -> Iterator[PartCheck]:
    state, on_server = standing or (None, False)
    wrong = list(misfits(state, span, heads, on_server=on_server))
    to_fold = 0 if on_server or not span else span.last - max((head.offset for head in heads), default=0)
    found = "do not fit" if wrong else "fit" + (f", a start folds {counted(to_fold, 'batch')}" if to_fold > 0 else "")
    yield PartCheck("together", f"store, journal and snapshots {found}", wrong)


@contextmanager
def _still(path: Path) -> Iterator[Path]:
    """Yields the store, or a copy of it where its node was killed, since SQLite would then write files beside it."""
    if not has_wal(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="corec-check-") as place:
        with disk.explained("copy the store to", Path(place)):
            for suffix in ("", "-wal"):
                shutil.copyfile(f"{path}{suffix}", f"{place}/{path.name}{suffix}")
        yield Path(place) / path.name


def _store(path: Path, still: Path) -> tuple[PartCheck, FoundStore | None]:
    if not path.exists():
        return PartCheck("store", "none", []), None
    size = amount(path.stat().st_size)
    problems = [problem.replace(str(still), str(path)) for problem in verify_store(still, at_rest=True)]
    standing = _found_store(still)
    if distrust_mark(path).exists():
        return PartCheck("store", size, ["it is marked: the next start builds it anew from its sound rows"]), standing
    if problems or standing is None:
        remedy = "`corec check --data DIR --repair` marks the store: the next start builds it anew, without what is damaged"
        return PartCheck("store", size, problems, remedy), standing
    return PartCheck("store", f"{size}, up to turn {standing.state.turn:,}", []), standing


def _found_store(path: Path) -> FoundStore | None:
    """The state of the store; None where it cannot be read."""
    try:
        with closing(SqliteReader(path, db=connect(path, read_only=True, at_rest=True))) as reader:
            state = reader.state
            recent = reader.turns(state.turn - RECENT_TURNS)
            return FoundStore(state, any(command["op"] == "read" for record in recent for command in record.commands))
    except (DamagedFile, sqlite3.Error, ValueError, KeyError):
        return None


def _server(config: Config, data: Path) -> tuple[PartCheck, FoundStore]:
    from corec.storage.postgres.session import where
    from corec.storage.postgres.verify import verify

    with open_reader(config, data) as reader:
        state = reader.state
        found = f"PostgreSQL, {where(reader.server)}, up to turn {state.turn:,}"
        return PartCheck("store", found, verify(reader)), FoundStore(state, config.redis_config is not None)


def _journal(name: str, folder: Path) -> tuple[PartCheck, JournalSpan | None]:
    files = journal.list_files(folder)
    if not files:
        return PartCheck(name, "none", []), None
    scan = journal.scan_newest(files)
    found = f"{counted(len(files), 'file')}, {amount(sum(file.size for file in files))}"
    remedy = "a start steps over damage in a journal; what it took stays lost, and is named until the journal is trimmed behind it"
    return PartCheck(name, found, [_gap_text(gap) for gap in journal.verify(folder)], remedy), JournalSpan(files[0].first, scan.last)


def _gap_text(gap: "journal.Gap") -> str:
    if gap.lost <= 0:
        return f"unfinished write or damage in {gap.file} at byte {gap.position:,}: no batch lost"
    return f"damage in {gap.file} at byte {gap.position:,}: {counted(gap.lost, 'batch')} lost"


def _snapshots(folder: Path) -> tuple[PartCheck, list[Head]]:
    files = numbered(folder, ".snap")
    if not files:
        return PartCheck("snapshots", "none", []), []
    heads, problems = Snapshots(folder).inspect()
    found = f"{counted(len(files), 'file')}, {amount(sum(file.stat().st_size for file in files))}"
    return PartCheck("snapshots", found, problems, "a start puts a damaged snapshot aside and takes the one before it"), heads


def _names(data: Path) -> PartCheck:
    try:
        entries = names.read_names(data / names.FILE)
    except CoreCError as error:
        return PartCheck("names", names.FILE, [error.text], "a start puts the file aside, and names get their ids anew")
    return PartCheck("names", counted(sum(len(rows) for _, rows in entries.values()), "sensor"), [])
