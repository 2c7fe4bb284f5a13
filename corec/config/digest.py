"""The digest of a configuration: a hash of everything that changes the engine's results, independent of spelling."""
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from corec.config.blocks import BlockEntry
from corec.config.organs import Auditoria

#: Keys of an entry that do not change the engine's results.
_NO_ENGINE_KEYS = {"ids", "max_size_mb"}


class ConfigDigest:
    """A digest to which entries can be added without hashing the others again.

    The hash is over one JSON text with the keys in this order: `auditoria`, `bloques`, the others.
    """

    def __init__(self, audit: Auditoria | None, settings: Mapping[str, Any], entries: Iterable[BlockEntry]) -> None:
        """settings: the other top-level keys that count. They sort behind `bloques`."""
        self._head, self._tail = _json({"auditoria": audit})[:-1] + b',"bloques":[', b"]," + _json(settings)[1:]
        self._entries = [_meaning(entry) for entry in entries]
        self._begin()

    def add(self, entry: BlockEntry) -> None:
        """Add an entry at the end."""
        text = _meaning(entry)
        self._state.update(b"," + text if self._entries else text)
        self._entries.append(text)

    def replace(self, index: int, entry: BlockEntry) -> None:
        """Replace one entry. All entries are hashed again."""
        self._entries[index] = _meaning(entry)
        self._begin()

    def hexdigest(self) -> str:
        state = self._state.copy()
        state.update(self._tail)
        return state.hexdigest()

    def _begin(self) -> None:
        from hashlib import blake2b  # 17 ms, and a mere check needs none

        self._state = blake2b(self._head + b",".join(self._entries), digest_size=16)


def _meaning(entry: BlockEntry) -> bytes:
    keys = [key for key in entry.__struct_fields__ if key not in _NO_ENGINE_KEYS]
    meaning = {key: getattr(entry, key) for key in keys}
    return _json(meaning | {"table": entry.table and entry.table.digest})


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value, order="deterministic")
