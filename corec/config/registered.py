"""Blocks that programs and plugins register while running, as entries of the configuration they run under."""
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from corec.config import BlockEntry, Config, parse
from corec.config.blocks import next_wire_id
from corec.errors import ConfigError

#: Wire ids of registered blocks start here, so that a configuration can grow without meeting them.
FIRST_ID = 2**31


def entry_for(config: Config, block: str, canal: int, names: Sequence[str]) -> dict[str, Any]:
    """The entry of a block that is new to *config*, with entities of these names; ConfigError when the id is taken."""
    if any(block in entry.block_ids or block == entry.id for entry in config.bloques):
        raise ConfigError(f"there is a block {block!r} already: the first one stays", hint="give each block an id of its own")
    first, entities = max(FIRST_ID, next_wire_id(config.bloques)), len(names)
    return {"id": block, "canal": canal, "entidades": entities, "entidades_por_bloque": entities, "ids": first,
            "max_size_mb": max(1.0, 2 * entities / 1024), "registrado": True, "nombres": _written(names)}  # fmt: skip


def _written(names: Sequence[str]) -> str | list[str]:
    """A prefix where each name is that and its number, else all of them."""
    prefix = names[0].removesuffix("0")
    return prefix if prefix and all(name == f"{prefix}{number}" for number, name in enumerate(names)) else list(names)


def names_of(entry: BlockEntry) -> Sequence[str] | None:
    """The names of a registered block's entities, in order of their ids; None where none were given."""
    if isinstance(entry.nombres, str):
        return [f"{entry.nombres}{number}" for number in range(entry.entidades)]
    return entry.nombres


def name_at(entry: BlockEntry, place: int) -> str:
    """The name of one of them, "" where it has none."""
    if isinstance(entry.nombres, str):
        return f"{entry.nombres}{place}"
    return entry.nombres[place] if entry.nombres else ""


def with_entries(config: Config, entries: list[dict[str, Any]], among: list[dict[str, Any]] | None = None) -> Config:
    """*config* with these entries behind its own, or behind those of *among*."""
    if not entries:
        return config
    mapping = config.to_mapping()
    own = mapping["bloques"] if among is None else among
    grown = parse({**mapping, "bloques": [*own, *entries]}, source=config.source, embedded=True)
    return _placed(grown, config)


def retired(config: Config, block: str, *, is_gone: bool) -> Config:
    """*config* in which the registered *block* is detached, or is not any more."""
    entries = config.to_mapping()["bloques"]
    changed = [entry | {"retirado": is_gone} if entry["id"] == block else entry for entry in entries]
    return with_entries(config, changed, among=[])


def registered_entries(config: Config) -> list[dict[str, Any]]:
    """The entries of *config* that were registered while running."""
    return [entry.to_mapping() for entry in config.bloques if entry.registrado]


def keeping_registered(config: Config, running: Config) -> Config:
    """*config* with the blocks that were registered under *running*."""
    return with_entries(config, registered_entries(running))


def without_registered(config: Config) -> dict[str, Any]:
    """The mapping of *config* as its file had it: what a node registered is nothing to those that fold the fleet's shards."""
    mapping = config.to_mapping()
    return mapping | {"bloques": [entry for entry in mapping["bloques"] if not entry.get("registrado")]}


def _placed(grown: Config, config: Config) -> Config:
    """With what no mapping holds: where files are looked for, and what plugins are configured with."""
    kept = ("folder", "file", "embedded", "plugins", "warnings")
    return replace(grown, **{name: getattr(config, name) for name in kept})
