"""Which column of a recording belongs to which entity.

A column with the name or the id of a device in a device table is that device. Any other value column is the entity of its
own number, counted from 0 over all value columns, in the chosen entry or block. The first entry is the default.
"""

from typing import NamedTuple

import numpy as np

from corec.config import BlockEntry, Config
from corec.config.problem import did_you_mean
from corec.errors import UsageError
from corec.sources.names import device_ids

#: Columns that the description of the mapping names.
NAMED = 6


class Columns(NamedTuple):
    """The entity of each value column."""

    names: tuple[str, ...]
    ids: np.ndarray  # uint32, on the wire
    canales: np.ndarray  # int8
    about: tuple[str, ...]


class Target(NamedTuple):
    """The entities that columns are assigned to by number."""

    id: str  # of the entry or the block
    entry: BlockEntry
    first: int  # of its entities within the entry
    count: int

    def wire_id(self, number: int) -> int:
        """Wire id of the target's entity *number*."""
        slot = self.first + number
        return self.entry.first_id + slot if self.entry.table is None else int(self.entry.table.device[slot])


def map_columns(file: str, names: list[str], config: Config, block: str | None) -> Columns:
    """The entities of the value columns *names*; UsageError when the configuration has none for one of them."""
    target = find_target(config, block)
    devices = _devices(config)
    named = {name: devices[name] for name in names if name in devices}
    if len(named) < len(names) > target.count:
        _refuse_number(file, names, target)
    ids = [named[name][0] if name in named else target.wire_id(number) for number, name in enumerate(names)]
    canales = [named[name][1] if name in named else target.entry.canal for name in names]
    _refuse_twice(file, names, ids)
    about = tuple(_about(names, named, target))
    return Columns(tuple(names), np.array(ids, np.uint32), np.array(canales, np.int8), about)


def find_target(config: Config, block: str | None) -> Target:
    """The entry or block *block*; the first entry for None. UsageError when it does not exist."""
    if not config.bloques:
        raise UsageError(f"{config.source}: expected an entry in bloques for the readings, got none")
    targets = {entry.id: _entry_target(entry) for entry in config.bloques}
    name = config.bloques[0].id if block is None else block
    entry_id, _, index = name.rpartition("/")
    if entry_id in targets and index.isascii() and index.isdecimal() and int(index) < targets[entry_id].entry.blocks:
        return _block_target(targets[entry_id].entry, int(index))
    if name not in targets:
        hint = (
            did_you_mean(name, list(targets))
            or f"an entry ({', '.join(targets)}) or a block of one, as {config.bloques[0].id}/0"
        )
        raise UsageError(f"expected an entry or a block of {config.source}, got {name!r}", hint=hint)
    return targets[name]


def _entry_target(entry: BlockEntry) -> Target:
    return Target(entry.id, entry, 0, entry.entidades if entry.table is None else len(entry.table))


def _block_target(entry: BlockEntry, index: int) -> Target:
    first = index * entry.entidades_por_bloque
    entities = entry.entidades if entry.table is None else len(entry.table)
    return Target(f"{entry.id}/{index}", entry, first, max(0, min(entry.sizes[index], entities - first)))


def _devices(config: Config) -> dict[str, tuple[int, int]]:
    """Name and id (as text) of every device of a table -> (wire id, channel)."""
    with_table = [entry for entry in config.bloques if entry.table is not None]
    return {name: (id, entry.canal) for entry in reversed(with_table) for name, id in device_ids(entry).items()}


def _refuse_number(file: str, names: list[str], target: Target) -> None:
    raise UsageError(
        f"{file}: expected at most {target.count:,} value columns, the entities of {target.id}, got {len(names):,}",
        hint="--block names another entry or block; a column named like a device of a device table goes there",
    )


def _refuse_twice(file: str, names: list[str], ids: list[int]) -> None:
    taken: dict[int, str] = {}
    for name, id in zip(names, ids, strict=True):
        if id in taken:
            raise UsageError(
                f"{file}: expected an entity for each column, got wire id {id} for {taken[id]!r} and for {name!r}",
                hint="--block puts the columns that are named like no device somewhere else",
            )
        taken[id] = name


def _about(names: list[str], named: dict[str, tuple[int, int]], target: Target) -> list[str]:
    lines = [f"{_list(list(named))} -> the device of that name or id"] if named else []
    numbered = [number for number, name in enumerate(names) if name not in named]
    if numbered:
        ids = [target.wire_id(numbered[0]), target.wire_id(numbered[-1])]
        which = f"wire id {ids[0]}" if len(numbered) == 1 else f"wire ids {ids[0]} to {ids[1]}"
        lines.append(f"{_list([names[number] for number in numbered])} -> {target.id}, {which}")
    return lines


def _list(names: list[str]) -> str:
    shown = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED:,} more" if len(names) > NAMED else "")
    return f"{'column' if len(names) == 1 else 'columns'} {shown}"
