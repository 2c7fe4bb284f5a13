"""Blocks that programs and plugins register while running, as entries of the configuration they run under."""
from typing import Any

from msgspec.structs import replace

from corec.config import Config, parse
from corec.config.blocks import next_wire_id
from corec.errors import ConfigError

#: Wire ids of registered blocks start here, so that a configuration can grow without meeting them.
FIRST_ID = 2**31


def entry_for(config: Config, block: str, canal: int, entities: int) -> dict[str, Any]:
    """The entry of a block that is new to *config*; ConfigError when the id is taken."""
    if any(block in entry.block_ids or block == entry.id for entry in config.bloques):
        raise ConfigError(f"there is a block {block!r} already: the first one stays", hint="give each block an id of its own")
    first = max(FIRST_ID, next_wire_id(config.bloques))
    return {"id": block, "canal": canal, "entidades": entities, "entidades_por_bloque": entities, "ids": first,
            "max_size_mb": max(1.0, 2 * entities / 1024), "registrado": True}  # fmt: skip


def with_entries(config: Config, entries: list[dict[str, Any]]) -> Config:
    """*config* with these entries behind its own."""
    if not entries:
        return config
    mapping = config.to_mapping()
    grown = parse({**mapping, "bloques": [*mapping["bloques"], *entries]}, source=config.source, embedded=True)
    return _placed(grown, config)


def registered_entries(config: Config) -> list[dict[str, Any]]:
    """The entries of *config* that were registered while running."""
    return [entry.to_mapping() for entry in config.bloques if entry.registrado]


def keeping_registered(config: Config, running: Config) -> Config:
    """*config* with the blocks that were registered under *running*."""
    return with_entries(config, registered_entries(running))


def _placed(grown: Config, config: Config) -> Config:
    """With what no mapping holds: where files are looked for, and what plugins are configured with."""
    kept = ("folder", "file", "embedded", "plugins", "warnings")
    return replace(grown, **{name: getattr(config, name) for name in kept})
