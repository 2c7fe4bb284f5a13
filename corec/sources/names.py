"""The wire id of each named sensor, the same after every restart: `names.json` in the data folder."""

import json
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from corec._core.wire import crc32c
from corec.config import BlockEntry, Config
from corec.errors import DamagedFile, StorageError
from corec.storage import disk

log = logging.getLogger(__name__)

FILE = "names.json"
VERSION = 1
#: The row of a slot without a name.
NOBODY = ("", "")

Names = dict[int, tuple[str, str]]  # wire id -> (name, unit)
Rows = list[tuple[str, str]]  # (name, unit) in slot order


class NameTable:
    """Names of sensors by entry. A new name gets the next free slot and keeps it for ever.

    An entry with a device table has only the names in that table.  Only one thread may assign.
    """

    def __init__(self, folder: Path | None, config: Config) -> None:
        """*folder*: the data folder; None keeps the names in memory only."""
        self._path = None if folder is None else Path(folder) / FILE
        self._instance = config.instance_id
        self._entries = {entry.id: entry for entry in config.bloques}
        self._rows = self._load()
        self._slots = {entry: {name: slot for slot, (name, _) in enumerate(rows)} for entry, rows in self._rows.items()}

    def assign(self, entry: str, sensors: Iterable[tuple[str, str]]) -> dict[str, int]:
        """Name -> wire id of *sensors*, (name, unit) each. A sensor for which the entry has no room is left out."""
        spec = self._entries[entry]
        if spec.table is not None:
            devices = device_ids(spec)
            return {name: devices[name] for name, _ in sensors if name in devices}
        before = len(self._rows.get(entry, ()))
        slots = {name: self._slot(spec, name, unit) for name, unit in sensors}
        if len(self._rows[entry]) > before:
            self._save()
        return {name: spec.first_id + slot for name, slot in slots.items() if slot < spec.entidades}

    def put(self, names: Mapping[int, str]) -> None:
        """Name wire ids that were chosen elsewhere. Entries with a device table ignore it."""
        for entry in (entry for entry in self._entries.values() if entry.table is None):
            slots = {
                id - entry.first_id: name for id, name in names.items() if 0 <= id - entry.first_id < entry.entidades
            }
            rows = self._rows.setdefault(entry.id, [])
            rows += [NOBODY] * (max(slots, default=-1) + 1 - len(rows))
            for slot, name in slots.items():
                rows[slot] = (name, "")
                self._slots.setdefault(entry.id, {})[name] = slot
        self._save()

    def names(self) -> Names:
        """All names by wire id, including those of device tables."""
        found: Names = {}
        for entry in self._entries.values():
            found |= _names_of(entry, self._rows.get(entry.id, []))
        return found

    def _slot(self, entry: BlockEntry, name: str, unit: str) -> int:
        """The slot of a name; `entidades` when all slots are taken."""
        rows, slots = self._rows.setdefault(entry.id, []), self._slots.setdefault(entry.id, {})
        if name not in slots:
            if len(rows) >= entry.entidades:
                return entry.entidades
            slots[name] = len(rows)
            rows.append((name, unit))
        return slots[name]

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
