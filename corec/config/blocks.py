"""The entries of `bloques`, resolved: defaults that depend on each other, and wire ids."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

import msgspec
from msgspec import UNSET
from msgspec.structs import asdict

from corec.config.document import Document, KeyPath
from corec.config.entries import BlockSpec, Dispositivos, Funcion
from corec.config.values import MAX_WIRE_ID
from corec.errors import ConfigError

if TYPE_CHECKING:
    from corec.config.device_table import DeviceTable

#: What an entity counts for against `max_size_mb` and `max_size`: the documented 1 KB.
ENTITY_KB = 1
ENTITIES_PER_BLOCK, ENTITIES_PER_PLUGIN_BLOCK = 1000, 2000
BLOCK_MB, PLUGIN_BLOCK_MB = 1.0, 5.0


class BlockEntry(BlockSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry with nothing left open: every default filled in, every id known."""

    max_size_mb: float
    entidades_por_bloque: int
    ids: int | str | None  # as configured; columns go to `table`
    funcion: Funcion | None
    first_id: int | None  # of its contiguous wire ids; None where `table` gives them
    table: "DeviceTable | None"

    @property
    def blocks(self) -> int:
        """How many blocks the entry is cut into."""
        return -(-self.entidades // self.entidades_por_bloque)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of entities in each block; only the last may be smaller."""
        full, rest = divmod(self.entidades, self.entidades_por_bloque)
        return (self.entidades_por_bloque,) * full + ((rest,) if rest else ())

    @property
    def block_ids(self) -> tuple[str, ...]:
        """Ids of its blocks: `enjambre_sensor/0`, `enjambre_sensor/1` ..."""
        if self.registrado:
            return (self.id,)
        return tuple(f"{self.id}/{index}" for index in range(self.blocks))

    @property
    def end(self) -> int:
        """First wire id above its own."""
        return int(self.table.device.max()) + 1 if self.table else self.first_id + self.entidades

    def to_mapping(self) -> dict[str, Any]:
        """The entry as JSON, including its device table."""
        mapping = {
            name: msgspec.to_builtins(getattr(self, name)) for name in BlockSpec.__struct_fields__
        }
        if self.table is not None:
            mapping["ids"] = self.table.to_columns()
        return mapping


class EntryIndex:
    """Entries in order. Adding one and finding one cost the same, however many there are."""

    def __init__(self, entries: Iterable[BlockEntry] = ()) -> None:
        self.entries: list[BlockEntry] = []
        self.indexes: dict[str, int] = {}  # entry id -> index in `entries`
        self.end = 0  # first wire id above all others
        self.following = 0  # first wire id of the next entry that names none
        self._starts: list[int] = []  # first wire ids of the entries without a device table, sorted
        self._by_start: list[int] = []  # indexes of these entries, in the same order
        self._with_table: list[int] = []  # indexes of the others
        for entry in entries:
            self.add(entry)

    def add(self, entry: BlockEntry) -> None:
        index = len(self.entries)
        if entry.table is None:
            at = bisect_right(self._starts, entry.first_id)
            self._starts.insert(at, entry.first_id)
            self._by_start.insert(at, index)
        else:
            self._with_table.append(index)
        self.entries.append(entry)
        self.indexes[entry.id] = index
        self.end = max(self.end, entry.end)
        self.following += entry.entidades if entry.ids is None and entry.table is None else 0

    def replace(self, index: int, entry: BlockEntry) -> None:
        """Replace an entry by one with the same id and the same wire ids."""
        self.entries[index] = entry

    def find(self, id: str) -> BlockEntry | None:
        """The entry with this id; None when there is none."""
        index = self.indexes.get(id)
        return None if index is None else self.entries[index]

    def names(self, name: str) -> bool:
        """Whether an entry, or a block of one, has this id."""
        found = self.find(name.rpartition("/")[0])
        return name in self.indexes or (found is not None and name in found.block_ids)

    def near(self, entry: BlockEntry) -> list[BlockEntry]:
        """Entries that may share wire ids with *entry*, in order."""
        if entry.table is not None:
            return list(self.entries)
        first = max(0, bisect_right(self._starts, entry.first_id) - 1)
        last = bisect_left(self._starts, entry.end)
        return [self.entries[index] for index in sorted([*self._with_table, *self._by_start[first:last]])]


def resolve_entries(
    document: Document, specs: tuple[BlockSpec, ...], folder: Path
) -> tuple[BlockEntry, ...]:
    """All entries, with contiguous wire ids in their order for those that name none."""
    earlier = EntryIndex()
    for index, spec in enumerate(specs):
        path: KeyPath = ("bloques", index)
        entry = resolve_entry(document, path, spec, folder, earlier.following)
        check_entry(document, path, entry, earlier)
        earlier.add(entry)
    return tuple(earlier.entries)


def check_entry(document: Document, path: KeyPath, entry: BlockEntry, earlier: EntryIndex) -> None:
    """Raise ConfigError when *entry* cannot stand behind the *earlier* ones."""
    for check in (_check_id, _check_size, _check_limits, _check_last_id, _check_overlap):
        check(document, path, entry, earlier)


def next_wire_id(entries: Sequence[BlockEntry]) -> int:
    """The first wire id above those of all *entries*."""
    return max((entry.end for entry in entries), default=0)


def resolve_entry(
    document: Document, path: KeyPath, spec: BlockSpec, folder: Path, following: int
) -> BlockEntry:
    """The entry for *spec*.  *following*: its first wire id when it names none."""
    table = _table(document, (*path, "ids"), spec, folder)
    first = spec.ids if isinstance(spec.ids, int) else following
    resolved = {
        "id": normalize("NFC", spec.id),
        "plugin": spec.plugin and normalize("NFC", spec.plugin),
        "funcion": Funcion(nombre=spec.funcion) if isinstance(spec.funcion, str) else spec.funcion,
        "ids": None if isinstance(spec.ids, Dispositivos) else spec.ids,
        "first_id": None if table else first,
        "table": table,
    }
    return BlockEntry(**asdict(spec) | _sizes(spec) | resolved)


def _sizes(spec: BlockSpec) -> dict[str, float]:
    per_block, megabytes = spec.entidades_por_bloque, spec.max_size_mb
    if per_block is UNSET:
        per_block = ENTITIES_PER_PLUGIN_BLOCK if spec.plugin else ENTITIES_PER_BLOCK
    if megabytes is UNSET:
        megabytes = PLUGIN_BLOCK_MB if spec.plugin else BLOCK_MB
    return {"entidades_por_bloque": per_block, "max_size_mb": megabytes}


def _table(
    document: Document, path: KeyPath, spec: BlockSpec, folder: Path
) -> "DeviceTable | None":
    if isinstance(spec.ids, str):
        return _table_from_file(document, path, folder / spec.ids, spec.entidades)
    if isinstance(spec.ids, Dispositivos):
        return _table_from_columns(document, path, spec.ids, spec.entidades)
    return None


def _table_from_file(document: Document, path: KeyPath, file: Path, entities: int) -> "DeviceTable":
    from corec.config.device_table import read_table  # NumPy, only where devices are named

    if not file.is_file():
        hint = "the path is relative to the configuration file"
        raise document.error(path, "a CSV of devices", f"{file}, which is no file", hint=hint)
    return read_table(file, entities)


def _table_from_columns(
    document: Document, path: KeyPath, columns: Dispositivos, entities: int
) -> "DeviceTable":
    from corec.config.device_table import table_from_columns  # NumPy, only where devices are named

    def fail(row: int, column: str, expected: str, got: str, hint: str | None) -> ConfigError:
        return document.error((*path, column, row), expected, got, hint=hint)

    return table_from_columns(columns, entities, fail)


def _check_id(
    document: Document, path: KeyPath, entry: BlockEntry, earlier: EntryIndex
) -> None:
    if entry.id in earlier.indexes:
        hint = "each entry needs a name of its own"
        raise document.error((*path, "id"), "each id once", f'"{entry.id}" twice', hint=hint)


def _check_size(document: Document, path: KeyPath, entry: BlockEntry, _: EntryIndex) -> None:
    entities = min(entry.entidades, entry.entidades_por_bloque)
    largest = entities * ENTITY_KB
    bound = entry.max_size_mb * 1024
    if largest > bound:
        expected = f"blocks of at most {entry.max_size_mb:g} MB = {bound:,.0f} KB"
        got = f"{entities:,} entities x {ENTITY_KB} KB = {largest:,} KB"
        hint = (
            f"entidades_por_bloque may be {int(bound // ENTITY_KB):,} here,"
            f" or max_size_mb {-(-largest // 1024)}"
        )
        raise document.error(path, expected, got, hint=hint)


def _check_limits(
    document: Document, path: KeyPath, entry: BlockEntry, _: EntryIndex
) -> None:
    low, high = entry.limites.bajo, entry.limites.alto
    if low is not None and high is not None and low > high:
        expected = f"a limit not above alto, {high:g}"
        raise document.error(
            (*path, "limites", "bajo"), expected, f"{low:g}", hint="bajo and alto may be swapped"
        )


def _check_last_id(
    document: Document, path: KeyPath, entry: BlockEntry, _: EntryIndex
) -> None:
    if entry.end > MAX_WIRE_ID + 1:
        raise document.error(
            _ids_path(path, entry),
            f"wire ids up to {MAX_WIRE_ID}",
            f"{entry.first_id} + {entry.entidades:,} entities",
            hint="a frame's id has 32 bits",
        )


def _check_overlap(
    document: Document, path: KeyPath, entry: BlockEntry, earlier: EntryIndex
) -> None:
    for other in earlier.near(entry):
        shared = _first_shared(entry, other)
        if shared is not None:
            free = max(earlier.end, entry.end)
            raise document.error(
                _ids_path(path, entry),
                "wire ids of its own",
                f'{shared}, which "{other.id}" has too',
                hint=f'"ids": {free} on one of the two gives it ids above all others',
            )


def _first_shared(one: BlockEntry, other: BlockEntry) -> int | None:
    if one.table and other.table:
        return one.table.first_shared(other.table)
    if one.table:
        return one.table.first_from(other.first_id, other.entidades)
    if other.table:
        return other.table.first_from(one.first_id, one.entidades)
    first = max(one.first_id, other.first_id)
    return first if first < min(one.end, other.end) else None


def _ids_path(path: KeyPath, entry: BlockEntry) -> KeyPath:
    return (*path, "ids") if entry.table or entry.ids is not None else path
