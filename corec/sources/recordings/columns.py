"""Which entity a named column, or a named sensor of a long file, is.

A name or an id of a device in a device table is that device; so is a name that differs in case, or in a unit in brackets behind it.
In an entry without a device table a number is the wire id, and any other name gets a free entity by the table of names.  Columns
without names are entities by their number, never among devices that have names.
"""

from collections.abc import Container, Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple

from corec.config import BlockEntry, Config
from corec.config.problem import did_you_mean, suggestion
from corec.errors import UsageError
from corec.sources.names import NameTable, device_ids
from corec.sources.recordings.cells import NAMED, few, plain_name, split_unit

#: Names without an entity that are kept, and for how many of them a similar name is looked for.
MOST_UNKNOWN, MOST_HINTS = 10_000, 20

Sensor = tuple[str, str]  # name, unit


class Entity(NamedTuple):
    """Where the values of a name go, or why they go nowhere."""

    id: int  # on the wire; -1 for none
    canal: int = 0
    how: str = ""  # "exact", "near", "new", or the reason

    @property
    def found(self) -> bool:
        return self.id >= 0


#: A sensor of which only texts were seen, and a row that names none.
NUMBERLESS = Entity(-1, 0, "text, and no number so far")
NAMELESS = Entity(-1, 0, "the row names no sensor")


class Target(NamedTuple):
    """The entities that names are assigned to which are those of no device."""

    id: str  # of the entry or the block
    entry: BlockEntry
    first: int  # of its entities within the entry
    count: int

    @property
    def slots(self) -> range:
        return range(self.first, self.first + self.count)

    def wire_id(self, number: int) -> int:
        """Wire id of the target's entity *number*."""
        slot = self.first + number
        return self.entry.first_id + slot if self.entry.table is None else int(self.entry.table.device[slot])


class Entities:
    """The entities of one file by name. A name is looked up once."""

    def __init__(self, file: str, config: Config, block: str | None, names: NameTable) -> None:
        """UsageError when *block* is none."""
        self.target = find_target(config, block)
        self._file, self._table = file, names
        self._devices, self._near = _devices(config, self.target.entry)
        self._lowered = {plain_name(name): name for name in self._devices if not name.isdecimal()}
        self._known: dict[str, Entity] = {}
        self._unknown: dict[str, Entity] = {}
        self._hints = MOST_HINTS

    @property
    def names(self) -> dict[int, str]:
        """Wire id -> name, of all that were found."""
        names: dict[int, str] = {}
        for name, entity in self._known.items():
            names.setdefault(entity.id, name)
        return names

    @property
    def devices(self) -> str:
        """A hash of the devices, and of where other names go."""
        known = {name: [entity.id for entity in entities] for name, entities in sorted(self._devices.items())}
        return blake2b(repr((known, self.target.id, self.target.slots)).encode(), digest_size=8).hexdigest()

    def find(self, sensors: Iterable[Sensor], new: Container[str] | None = None) -> list[Entity]:
        """An entity for each (name, unit).  new: names that may get an entity that is free; None for all."""
        sensors = list(sensors)
        if len(self._unknown) > MOST_UNKNOWN:
            self._unknown.clear()
        unseen = {name: unit for name, unit in sensors if name not in self._known and name not in self._unknown}
        rest = [(name, unit) for name, unit in unseen.items() if not self._look_up(name, unit)]
        without = {name for name, _ in rest if not name or new is not None and name not in new}
        rest = [(name, unit) for name, unit in rest if name not in without]
        if rest:
            ids = self._table.assign(self.target.entry.id, rest, self.target.slots)
            full = Entity(-1, 0, f"{self.target.id} has {self.target.count:,} entities, and all of them are taken")
            for name, _ in rest:
                self._note(name, Entity(ids[name], self.target.entry.canal, "new") if name in ids else full)
        return [self._known.get(name) or self._unknown.get(name) or (NUMBERLESS if name else NAMELESS) for name, _ in sensors]

    def number(self, names: Sequence[str]) -> list[Entity]:
        """An entity for each column of a file without names, by its number; UsageError where the devices have names."""
        target = self.target
        if target.entry.table is not None and any(target.entry.table.names):
            raise UsageError(f"{self._file}: expected a first line with the names of the devices of {target.id}, got values",
                             hint="columns without names go to no devices that have names; --block names another entry")  # fmt: skip
        if len(names) > target.count:
            raise self._too_many(len(names))
        entities = [Entity(target.wire_id(number), target.entry.canal, "new") for number in range(len(names))]
        self._known |= dict(zip(names, entities, strict=True))
        if target.entry.table is None:
            self._table.claim(target.entry.id, {target.first + number: (name, "") for number, name in enumerate(names)})
        return entities

    def refuse_too_many(self, names: Sequence[str]) -> None:
        """UsageError where more of the names are no devices than an entry without a device table has entities."""
        others = sum(name not in self._devices for name in names)
        if self.target.entry.table is None and others > self.target.count:
            raise self._too_many(others)

    def _too_many(self, count: int) -> UsageError:
        return UsageError(
            f"{self._file}: expected at most {self.target.count:,} value columns, the entities of {self.target.id}, got {count:,}",
            hint="--block names another entry or block; a column named like a device of a device table goes there",
        )

    def refuse_twice(self, names: Sequence[str], entities: Sequence[Entity]) -> None:
        """UsageError where two columns are one entity."""
        taken: dict[int, str] = {}
        for name, entity in zip(names, entities, strict=True):
            if entity.found and entity.id in taken:
                raise UsageError(
                    f"{self._file}: expected an entity for each column, got wire id {entity.id} for {taken[entity.id]!r} and for {name!r}",
                    hint="--block puts the columns that are named like no device somewhere else",
                )
            taken[entity.id] = name

    def describe(self, names: Sequence[str], what: str = "column") -> list[str]:
        """Lines that say where names go, for the user."""
        found = {name: self._known[name] for name in names}
        by_how = {how: [name for name in names if found[name].how == how] for how in ("exact", "near", "new")}
        lines = []
        if by_how["exact"]:
            lines.append(f"{_list(by_how['exact'], what)} -> the device of that name or id")
        if by_how["near"]:
            lines.append(f"{_list(by_how['near'], what)} -> the device of that name, but for its case or a unit in brackets")
        if new := by_how["new"]:
            ids = [found[name].id for name in new]
            lines.append(f"{_list(new, what)} -> {self.target.id}, {_ids(ids)}")
            hints = [f"  {name}: {hint}" for name in new if (hint := self._hint(name))]
            lines += hints[:NAMED]
        return lines

    def _look_up(self, name: str, unit: str) -> bool:
        """Note the entity of a name, where it has one without the table of names, or can have none; returns whether that is so."""
        entity = self._device(name, unit) if name else NAMELESS
        target = self.target
        if entity is None and target.entry.table is None:
            if name.isascii() and name.isdecimal():
                entity = self._numbered(name, unit)
        elif entity is None:
            hint = self._hint(name)
            entity = Entity(-1, 0, "no device has that name or id" + (f"; {hint}" if hint else ""))
        if entity is not None:
            self._note(name, entity)
        return entity is not None

    def _numbered(self, name: str, unit: str) -> Entity:
        """The entity of a name that is a number, in an entry without a device table: that of this wire id."""
        target, slot = self.target, (int(name) if len(name) <= 10 else -1) - self.target.entry.first_id
        if slot not in target.slots:
            return Entity(-1, 0, f"{target.id} has the wire ids {target.wire_id(0)} to {target.wire_id(target.count - 1)}")
        self._table.claim(target.entry.id, {slot: (name, unit)})
        return Entity(target.entry.first_id + slot, target.entry.canal, "new")

    def _note(self, name: str, entity: Entity) -> None:
        (self._known if entity.found else self._unknown)[name] = entity

    def _device(self, name: str, unit: str) -> Entity | None:
        exact = self._devices.get(name)
        if exact is not None:
            return exact[0] if len(exact) == 1 else _several(exact)
        plain, bracket = split_unit(name)
        near = self._near.get(plain_name(plain))
        if near is None:
            return None
        if len(near) > 1:
            return _several(near)
        (entity, device_unit), found = near[0], bracket or unit
        if found and device_unit and plain_name(found).strip("°") != plain_name(device_unit).strip("°"):
            return Entity(-1, 0, f"it is in {found}, and the device of that name in {device_unit}")
        return entity._replace(how="near")

    def _hint(self, name: str) -> str | None:
        self._hints -= 1
        near = suggestion(plain_name(name), self._lowered) if self._hints >= 0 else None
        return f'did you mean "{self._lowered[near]}"?' if near else None


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


def _devices(config: Config, target: BlockEntry) -> tuple[dict[str, list[Entity]], dict[str, list[tuple[Entity, str]]]]:
    """(name, and id as text, of every device -> where it is; plain name -> the same with units). The target's own come first."""
    exact: dict[str, list[Entity]] = {}
    near: dict[str, list[tuple[Entity, str]]] = {}
    tables = [entry for entry in config.bloques if entry.table is not None]
    own_names: set[str] = set()
    for entry in sorted(tables, key=lambda entry: entry.id != target.id):
        units = dict(zip(entry.table.device.tolist(), entry.table.units, strict=True))
        named = {name: id for name, id in device_ids(entry).items() if name not in own_names}
        for name, id in named.items():
            entity = Entity(id, entry.canal, "exact")
            exact.setdefault(name, []).append(entity)
            if name != str(id):
                near.setdefault(plain_name(split_unit(name)[0]), []).append((entity, units[id]))
        if entry.id == target.id:
            own_names = set(named)
    return exact, near


def _several(entities: list) -> Entity:
    ids = [entity.id if isinstance(entity, Entity) else entity[0].id for entity in entities]
    return Entity(-1, 0, f"several devices have that name: {', '.join(map(str, ids[:NAMED]))}; --block chooses an entry")


def _ids(ids: list[int]) -> str:
    if len(ids) == 1:
        return f"wire id {ids[0]}"
    if ids == sorted(ids):
        return f"wire ids {ids[0]} to {ids[-1]}"
    return "wire ids " + ", ".join(map(str, ids[:NAMED])) + ("" if len(ids) <= NAMED else " ...")


def _list(names: list[str], what: str) -> str:
    return f"{what if len(names) == 1 else what + 's'} {few(names)}"
