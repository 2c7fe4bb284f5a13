"""The RAM that a configuration needs when every entity is awake, and whether it fits.

An entity takes 32 bytes. Memory comes in slabs of 1,000 entities (32 KiB) and is used page by page, so a block of 5 entities
takes a whole page.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from mmap import PAGESIZE

from corec.common.machine_memory import MemoryBound
from corec.common.text import counted, elided
from corec.common.units import MB
from corec.config import BlockEntry, Config
from corec.errors import CapacityError

#: The process itself: interpreter, NumPy, the compiled core, the store's cache.
BASE_BYTES = 60 * MB
#: Journal and commit buffers.
BUFFER_BYTES = 16 * MB

SEGMENT_ENTITIES = 1000
SEGMENT_HEADER_BYTES = 64
BLOCK_HEADER_BYTES = 320
#: Characters that names keep in narrow output.
LEAST_NAME = 6
TILE_ENTITIES, TILE_BYTES = 8, 256
#: A device's id and limits, its entry in the index, its name and unit.
DEVICE_BYTES = 200


@dataclass(frozen=True)
class PriceRow:
    """One line of the calculation."""

    name: str
    bytes: int
    arithmetic: str
    entities: int = 0

    @property
    def bytes_per_entity(self) -> float:
        """Bytes for one entity, including unused space."""
        return self.bytes / self.entities if self.entities else 0.0


@dataclass(frozen=True)
class Price:
    """The calculated RAM, and the limit `max_ram_mb`."""

    rows: tuple[PriceRow, ...]
    limit_bytes: int

    @property
    def total_bytes(self) -> int:
        return sum(row.bytes for row in self.rows)

    @property
    def fits(self) -> bool:
        return self.total_bytes <= self.limit_bytes

    def lines(self, width: int | None = None) -> list[str]:
        """The calculation as text: one line for each row, and the total. Names are shortened to fit *width* columns."""
        rows = [*self.rows, PriceRow("total", self.total_bytes, f"of max_ram_mb {amount(self.limit_bytes)}")]
        amounts = [amount(row.bytes) for row in rows]
        second = max(map(len, amounts)) + 2
        first = max(len(row.name) for row in rows)
        if width is not None:
            first = min(first, max(LEAST_NAME, width - second - 2 - max(len(row.arithmetic) for row in rows)))
        return [f"{elided(row.name, first):{first}}{text:>{second}}  {row.arithmetic}" for row, text in zip(rows, amounts, strict=True)]


def price(config: Config) -> Price:
    """The RAM that *config* needs, row by row."""
    rows = (
        PriceRow("node", BASE_BYTES, "interpreter, NumPy, compiled core"),
        PriceRow("journal and commits", BUFFER_BYTES, "buffers"),
        *(row for entry in config.bloques for row in _entry_rows(entry)),
    )
    return Price(rows, config.max_ram_mb * MB)


def admit(config: Config) -> Price:
    """The same; CapacityError with the calculation when it is above the limit."""
    bill = price(config)
    if bill.fits:
        return bill
    raise CapacityError(
        f"{config.source}: expected at most {amount(bill.limit_bytes)} of RAM,"
        f" got {amount(bill.total_bytes)} - at $.max_ram_mb",
        detail="\n        ".join(bill.lines()),
        hint=f"max_ram_mb {-(-bill.total_bytes // MB)} would do; or reduce entidades",
    )


def require_memory(bill: Price, bound: MemoryBound | None) -> None:
    """CapacityError where the bill is above what this process may have; bound: as `memory_bound` gives it."""
    if bound and bill.total_bytes > bound.bytes:
        raise CapacityError(
            f"expected at most the {amount(bound.bytes)} of RAM that {bound.who} has, got a bill of {amount(bill.total_bytes)}",
            detail="\n        ".join(bill.lines()),
            hint="reduce entidades, share them among nodes, or give this one more memory",
        )


def entry_bytes(entry: BlockEntry) -> int:
    """RAM that one entry adds."""
    return sum(row.bytes for row in _entry_rows(entry))


def block_bytes(entities: int, *, page: int = PAGESIZE) -> int:
    """RAM of one block with *entities* entities, including its headers."""
    full, rest = divmod(entities, SEGMENT_ENTITIES)
    segments = full + (rest > 0)
    touched = full * _touched(SEGMENT_ENTITIES, page) + _touched(rest, page)
    return touched + segments * SEGMENT_HEADER_BYTES + BLOCK_HEADER_BYTES


def amount(count: int) -> str:
    """`104_857_600` as `100.0 MB`; below 1 MB in KB."""
    return f"{count / MB:,.1f} MB" if count >= MB else f"{count / 1024:,.1f} KB"


def _touched(entities: int, page: int) -> int:
    tiles = -(-entities // TILE_ENTITIES)
    return -(-tiles * TILE_BYTES // page) * page


def _entry_rows(entry: BlockEntry) -> Iterator[PriceRow]:
    if entry.retirado:
        return
    size = min(entry.entidades, entry.entidades_por_bloque)
    last = entry.entidades - (entry.blocks - 1) * size
    cost = (entry.blocks - 1) * block_bytes(size) + block_bytes(last)
    arithmetic = (
        f"{counted(entry.blocks, 'block')} of {size:,},"
        f" {block_bytes(size):,} B each, {cost / entry.entidades:.1f} B an entity"
    )
    yield PriceRow(entry.id, cost, arithmetic, entry.entidades)
    if entry.table is not None:
        devices = len(entry.table)
        arithmetic = f"{counted(devices, 'device')}, {DEVICE_BYTES} B each"
        yield PriceRow(f"{entry.id} devices", devices * DEVICE_BYTES, arithmetic)
