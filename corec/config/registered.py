"""Blocks that programs and plugins register at run time, as entries of the running configuration."""
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from msgspec.structs import replace

from corec.config import BlockEntry, Config, parse_entry
from corec.config.blocks import EntryIndex, check_entry
from corec.config.digest import ConfigDigest
from corec.config.document import Document
from corec.config.ram_price import MB, admit, entry_bytes, price
from corec.errors import ConfigError

#: First wire id of registered blocks, so that a configuration can grow without a conflict.
FIRST_ID = 2**31


class RunningConfig:
    """The configuration that an engine runs with. Adding a block costs the same, however many there are.

    One thread changes it; others may read `config`.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._entries = EntryIndex(config.bloques)
        self._ram_bytes = price(config).total_bytes

    def find(self, block: str) -> BlockEntry | None:
        """The entry of a registered block, detached or not; None for other blocks."""
        found = self._entries.find(block)
        return found if found and found.registrado else None

    def index_of(self, block: str) -> int:
        """Index of a registered block's entry."""
        return self._entries.indexes[block]

    def entry_for(self, block: str, canal: int, names: Sequence[str]) -> dict[str, Any]:
        """The mapping of an entry for a new block with these entity names; ConfigError when its id is taken."""
        if self._entries.names(block):
            raise ConfigError(f"there is a block {block!r} already: the first one stays", hint="give each block an id of its own")
        first, entities = max(FIRST_ID, self._entries.end), len(names)
        return {"id": block, "canal": canal, "entidades": entities, "entidades_por_bloque": entities, "ids": first,
                "max_size_mb": max(1.0, 2 * entities / 1024), "registrado": True, "nombres": _written(names)}  # fmt: skip

    def resolve(self, mapping: dict[str, Any]) -> BlockEntry:
        """The entry for the mapping in a command; ConfigError when it cannot be added."""
        return parse_entry(mapping, source=self.config.source, earlier=self._entries)

    def admit(self, entry: BlockEntry) -> None:
        """Raise CapacityError when there is no room for *entry*, which takes no RAM yet."""
        if self._ram_bytes + entry_bytes(entry) > self.config.max_ram_mb * MB:
            others = [other for other in self.config.bloques if other.id != entry.id]
            admit(replace(self.config, bloques=(*others, entry)))

    def join(self, entry: BlockEntry) -> None:
        """Append an entry that `resolve` gave."""
        self._digest.add(entry)
        self._entries.add(entry)
        self._ram_bytes += entry_bytes(entry)
        self._take((*self.config.bloques, entry))

    def retire(self, block: str, *, is_gone: bool) -> BlockEntry:
        """Mark the registered *block* as detached (or as attached again); return its new entry."""
        index = self.index_of(block)
        before, entry = self._entries.entries[index], replace(self._entries.entries[index], retirado=is_gone)
        self._digest.replace(index, entry)
        self._entries.replace(index, entry)
        self._ram_bytes += entry_bytes(entry) - entry_bytes(before)
        self._take((*self.config.bloques[:index], entry, *self.config.bloques[index + 1 :]))
        return entry

    @cached_property
    def _digest(self) -> ConfigDigest:
        return self.config.begin_digest()

    def _take(self, entries: tuple[BlockEntry, ...]) -> None:
        config = replace(self.config, bloques=entries)
        vars(config)["digest"] = self._digest.hexdigest()  # the value that the property would compute from all entries
        self.config = config


def _written(names: Sequence[str]) -> str | list[str]:
    """A prefix, when each name is the prefix and the entity's number; otherwise all names."""
    prefix = names[0].removesuffix("0")
    return prefix if prefix and all(name == f"{prefix}{number}" for number, name in enumerate(names)) else list(names)


def names_of(entry: BlockEntry) -> Sequence[str] | None:
    """Names of a registered block's entities, in the order of their ids; None when none were given."""
    if isinstance(entry.nombres, str):
        return [f"{entry.nombres}{number}" for number in range(entry.entidades)]
    return entry.nombres


def name_at(entry: BlockEntry, slot: int) -> str:
    """Name of the entity in *slot*; "" when it has none."""
    if isinstance(entry.nombres, str):
        return f"{entry.nombres}{slot}"
    return entry.nombres[slot] if entry.nombres else ""


def keeping_registered(config: Config, running: Config) -> Config:
    """*config* with the blocks that were registered under *running*; ConfigError when they conflict."""
    registered = [entry for entry in running.bloques if entry.registrado]
    document, entries = Document({}, config.source), EntryIndex(config.bloques)
    for entry in registered:
        check_entry(document, ("bloques", len(entries.entries)), entry, entries)
        entries.add(entry)
    return replace(config, bloques=tuple(entries.entries)) if registered else config


def without_registered(config: Config) -> dict[str, Any]:
    """*config* as a mapping, without registered blocks: the workers of the fleet must not fold those of one node."""
    mapping = config.to_mapping()
    return mapping | {"bloques": [entry for entry in mapping["bloques"] if not entry.get("registrado")]}
