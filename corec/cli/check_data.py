"""Every check that the files of a data folder can be put to, while no node works on them."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from corec.errors import DamagedFile, StorageError
from corec.sources import names
from corec.storage.folder import DataFolder
from corec.storage.snapshots import Snapshots
from corec.storage.sqlite_read import StoreReader
from corec.storage.store_verify import verify as verify_store
from corec.streams import journal
from corec.wording import amount, counted


class Verdict(NamedTuple):
    """What one part of a data folder holds, and everything wrong with it."""

    name: str
    found: str
    problems: list[str]


def verify_folder(data: Path) -> Iterator[Verdict]:
    """Read all of it; FolderInUse while a node runs there."""
    if not data.is_dir():
        raise StorageError(
            f"expected a data folder, got {data}, which is none", hint="--data names it; `corec run` makes it"
        )
    with DataFolder(data, least_free=0) as folder:
        yield _store(folder.store)
        yield _journal(folder.journal)
        yield _snapshots(folder.snapshots)
        if (data / names.FILE).exists():
            yield _names(data)


def _store(path: Path) -> Verdict:
    if not path.exists():
        return Verdict("store", "none yet", [])
    problems = verify_store(path)
    if problems:
        return Verdict("store", amount(path.stat().st_size), problems)
    reader = StoreReader(path)
    try:
        return Verdict("store", f"{amount(path.stat().st_size)}, up to turn {reader.state.turn:,}", [])
    finally:
        reader.close()


def _journal(folder: Path) -> Verdict:
    files = journal.list_files(folder)
    found = f"{counted(len(files), 'file')}, {amount(sum(file.size for file in files))}"
    return Verdict("journal", found, [_gap_text(gap) for gap in journal.verify(folder)] if files else [])


def _gap_text(gap: "journal.Gap") -> str:
    if gap.lost <= 0:
        return f"unfinished write or damage in {gap.file} at byte {gap.position:,}: no batch lost"
    return f"damage in {gap.file} at byte {gap.position:,}: {counted(gap.lost, 'batch')} lost"


def _snapshots(folder: Path) -> Verdict:
    files = list(folder.glob("*.snap"))
    found = f"{counted(len(files), 'file')}, {amount(sum(file.stat().st_size for file in files))}"
    return Verdict("snapshots", found, Snapshots(folder).verify())


def _names(data: Path) -> Verdict:
    try:
        entries = names.read_names(data / names.FILE)
    except DamagedFile as error:
        return Verdict("names", names.FILE, [error.text])
    return Verdict("names", counted(sum(len(rows) for _, rows in entries.values()), "sensor"), [])
