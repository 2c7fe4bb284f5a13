"""The digest of a configuration: a hash of all that changes what the engine computes, however it is spelled."""
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from corec.config.blocks import BlockEntry
from corec.config.organs import Auditoria

#: What of an entry does not change the engine's results.
_NO_ENGINE_KEYS = {"ids", "max_size_mb"}


class ConfigDigest:
    """The digest of a configuration whose entries may grow in number: one more costs no second look at the others.

    What is hashed is one JSON text, keys in their order: `auditoria`, `bloques`, the others.
    """

    def __init__(self, audit: Auditoria | None, settings: Mapping[str, Any], entries: Iterable[BlockEntry]) -> None:
        """settings: what else counts of the top level, by keys that come behind `bloques`."""
        self._head, self._tail = _json({"auditoria": audit})[:-1] + b',"bloques":[', b"]," + _json(settings)[1:]
        self._entries = [_meaning(entry) for entry in entries]
        self._begin()

    def add(self, entry: BlockEntry) -> None:
        """One more entry, at the end."""
        text = _meaning(entry)
        self._state.update(b"," + text if self._entries else text)
        self._entries.append(text)

    def replace(self, index: int, entry: BlockEntry) -> None:
        """Another entry in the place of one."""
        self._entries[index] = _meaning(entry)
        self._begin()

    def hexdigest(self) -> str:
        """The digest of what is there now."""
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
