"""The wire id of each named sensor, the same after every restart: `names.json` in the data folder."""

import fcntl
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from corec._core.wire import crc32c
from corec.config import BlockEntry, Config
from corec.errors import DamagedFile, StorageError
from corec.storage import disk

log = logging.getLogger(__name__)

FILE = "names.json"
#: Held while a process gives ids to new names: a node and `corec send` may do so at once.
LOCK = "names.lock"
VERSION = 1
#: The row of a slot without a name.
NOBODY = ("", "")

Names = dict[int, tuple[str, str]]  # wire id -> (name, unit)
Rows = list[tuple[str, str]]  # (name, unit) in slot order


class NameTable:
    """Names of sensors by entry. A new name gets the next free slot and keeps it for ever.

    An entry with a device table has only the names in that table.  Only one thread of a process may assign.
    """

    def __init__(self, folder: Path | None, config: Config) -> None:
        """*folder*: the data folder; None keeps the names in memory only."""
        self._path = None if folder is None else Path(folder) / FILE
        self._instance = config.instance_id
        self._entries = {entry.id: entry for entry in config.bloques}
        self._take(self._load())

    def assign(self, entry: str, sensors: Iterable[tuple[str, str]], within: range | None = None) -> dict[str, int]:
        """Name -> wire id of *sensors*, (name, unit) each. A sensor for which the entry has no room is left out.

        within: the slots of the entry that may be given; all by default.
        """
        spec, sensors = self._entries[entry], list(sensors)
        if spec.table is not None:
            devices = device_ids(spec)
            return {name: devices[name] for name, _ in sensors if name in devices}
        slots = within or range(spec.entidades)
        if any(self._place(entry, name, slots) is None for name, _ in sensors):
            with self._alone():
                new = dict(sensor for sensor in sensors if self._place(entry, sensor[0], slots) is None)
                chosen = list(zip(new.items(), self._free(entry, slots)))
                for (name, unit), slot in chosen:
                    self._set(entry, slot, name, unit)
                if chosen:
                    self._save()
        places = {name: self._place(entry, name, slots) for name, _ in sensors}
        return {name: spec.first_id + slot for name, slot in places.items() if slot is not None}

    def claim(self, entry: str, sensors: Mapping[int, tuple[str, str]]) -> None:
        """Name the slots of sensors that a file gives by number, where they have no name yet."""
        rows = self._rows.get(entry, [])
        if any(slot >= len(rows) or rows[slot] == NOBODY for slot in sensors):
            with self._alone():
                for slot, (name, unit) in sensors.items():
                    rows = self._rows.get(entry, [])
                    if slot >= len(rows) or rows[slot] == NOBODY:
                        self._set(entry, slot, name, unit)
                self._save()

    def copy_to(self, folder: Path) -> None:
        """Keep these names in another data folder."""
        self._path = Path(folder) / FILE
        self._save()

    def names(self) -> Names:
        """All names by wire id, including those of device tables."""
        found: Names = {}
        for entry in self._entries.values():
            found |= _names_of(entry, self._rows.get(entry.id, []))
        return found

    def _place(self, entry: str, name: str, slots: range) -> int | None:
        return next((slot for slot in self._slots.get(entry, {}).get(name, ()) if slot in slots), None)

    def _free(self, entry: str, slots: range) -> Iterator[int]:
        """Slots without a name: those that never had one behind them first.  An entry may have millions."""
        rows = self._rows.get(entry, [])
        yield from range(max(slots.start, len(rows)), slots.stop)
        yield from (slot for slot in slots[: max(0, len(rows) - slots.start)] if rows[slot] == NOBODY)

    def _set(self, entry: str, slot: int, name: str, unit: str) -> None:
        rows = self._rows.setdefault(entry, [])
        rows += [NOBODY] * (slot + 1 - len(rows))
        rows[slot] = (name, unit)
        self._slots.setdefault(entry, {}).setdefault(name, []).append(slot)

    def _take(self, rows: dict[str, Rows]) -> None:
        self._rows = rows
        self._slots: dict[str, dict[str, list[int]]] = {}
        for entry, named in rows.items():
            slots = self._slots[entry] = {}
            for slot, row in enumerate(named):
                if tuple(row) != NOBODY:
                    slots.setdefault(row[0], []).append(slot)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While it lasts, no other process names slots; begins with the names that others gave meanwhile."""
        if self._path is None:
            yield
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._path.with_name(LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            log.error("[NameTable-%s] names not kept, a restart may number them anew: %s", self._instance, error)
            yield
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._take(self._rows | self._load())
            yield
        finally:
            os.close(lock)

    def _load(self) -> dict[str, Rows]:
        if self._path is None:
            return {}
        try:
            return {entry: rows for entry, (_, rows) in read_names(self._path).items()}
        except FileNotFoundError:
            return {}
        except DamagedFile as error:
            aside = self._path.with_name(FILE + ".damaged")
            os.replace(self._path, aside)
            log.error("[NameTable-%s] %s; kept as %s, names get their ids anew", self._instance, error.text, aside.name)
            return {}

    def _save(self) -> None:
        if self._path is None:
            return
        firsts = {name: entry.first_id for name, entry in self._entries.items()}
        content = {entry: [firsts.get(entry), rows] for entry, rows in self._rows.items()}
        try:
            _write(self._path, content)
        except StorageError as error:
            log.error("[NameTable-%s] names not kept, a restart may number them anew: %s", self._instance, error.text)


def device_ids(entry: BlockEntry) -> dict[str, int]:
    """Name, and id as text, of an entry's devices -> wire id."""
    devices = entry.table.device.tolist()
    named = {name: device for name, device in zip(entry.table.names, devices, strict=True) if name}
    return {str(device): device for device in devices} | named


def kept_names(folder: Path) -> Names:
    """The names in a data folder, without its configuration; {} when the file is missing or damaged."""
    try:
        entries = read_names(Path(folder) / FILE)
    except (FileNotFoundError, DamagedFile):
        return {}
    found: Names = {}
    for first, rows in entries.values():
        found |= _numbered(first, rows) if first is not None else {}
    return found


def _numbered(first: int, rows: Rows) -> Names:
    return {first + slot: row for slot, row in enumerate(rows) if row != NOBODY}


def _names_of(entry: BlockEntry, rows: Rows) -> Names:
    if entry.table is None:
        return _numbered(entry.first_id, rows)
    table = entry.table
    return {
        device: (name, unit)
        for device, name, unit in zip(table.device.tolist(), table.names, table.units, strict=True)
        if name or unit
    }


def read_names(path: Path) -> dict[str, tuple[int | None, Rows]]:
    """Entry -> (its first wire id when the file was written, its rows)."""
    try:
        document = json.loads(path.read_bytes())
        if document["version"] != VERSION or document["crc32c"] != _checksum(document["entries"]):
            raise ValueError("it does not match its checksum")
        return {
            entry: (first, [(name, unit) for name, unit in rows])
            for entry, (first, rows) in document["entries"].items()
        }
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedFile(f"{path} is damaged: {error}") from None


def _write(path: Path, entries: dict[str, Any]) -> None:
    text = json.dumps({"version": VERSION, "crc32c": _checksum(entries), "entries": entries}, ensure_ascii=False)
    unfinished = path.with_name(FILE + ".new")
    try:
        with unfinished.open("wb") as stream:
            stream.write(text.encode())
            stream.flush()
            os.fsync(stream.fileno())
        disk.publish(unfinished, path)
    except OSError as error:
        raise disk.explain(error, "write", path) from error


def _checksum(entries: dict[str, Any]) -> int:
    return crc32c(json.dumps(entries, sort_keys=True).encode())
