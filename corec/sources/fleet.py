"""The entities of a configuration that take readings, numbered from 0."""

import numpy as np

from corec.config import BlockEntry, Config
from corec.errors import ConfigError


class Fleet:
    """Entities of the entries without a native function: index -> wire id and channel, and back."""

    def __init__(self, config: Config) -> None:
        entries = [entry for entry in config.bloques if entry.funcion is None]
        if not entries:
            hint = 'native functions compute their values themselves; give an entry without "funcion"'
            raise ConfigError(
                f"{config.source}: expected an entry that takes readings, got none - at $.fuentes", hint=hint
            )
        counts = [_count(entry) for entry in entries]
        self.count = sum(counts)
        self._starts = np.cumsum([0, *counts[:-1]]).astype(np.uint32)
        self._shifts = np.array([_first(entry) for entry in entries], np.int64) - self._starts.astype(np.int64)
        self._canales = np.array([entry.canal for entry in entries], np.int8)
        self._tables = {number: entry.table.device for number, entry in enumerate(entries) if entry.table is not None}
        self._even = not self._tables and len(set(self._shifts.tolist())) == 1

    def addresses(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(wire ids uint32, channels int8) of the entities with these indexes."""
        entry = np.searchsorted(self._starts[1:], index, side="right")
        if self._even:
            return index + np.uint32(self._shifts[0]), self._canales[entry]
        ids = (index + self._shifts[entry]).astype(np.uint32)
        for table, devices in self._tables.items():
            here = entry == table
            ids[here] = devices[index[here] - self._starts[table]]
        return ids, self._canales[entry]

    def indexes(self, ids: np.ndarray) -> np.ndarray:
        """Indexes of wire ids, all of which have to exist."""
        ids = np.asarray(ids, np.uint32)
        starts = self._starts.tolist()
        index = np.zeros(ids.shape, np.uint32)
        for entry, (start, end) in enumerate(zip(starts, [*starts[1:], self.count], strict=True)):
            candidates = self._candidates(entry, ids, start)
            here = (candidates >= start) & (candidates < end)
            index[here] = candidates[here]
        return index

    def _candidates(self, entry: int, ids: np.ndarray, start: int) -> np.ndarray:
        """Indexes that *ids* would have in this entry. They may be outside it; -1 where its device table lacks the id."""
        if entry not in self._tables:
            return ids.astype(np.int64) - self._shifts[entry]
        devices = self._tables[entry]
        order = np.argsort(devices)
        found = order[np.minimum(np.searchsorted(devices, ids, sorter=order), len(devices) - 1)]
        return np.where(devices[found] == ids, found + start, -1)


def _count(entry: BlockEntry) -> int:
    return entry.entidades if entry.table is None else len(entry.table)


def _first(entry: BlockEntry) -> int:
    return 0 if entry.first_id is None else entry.first_id
