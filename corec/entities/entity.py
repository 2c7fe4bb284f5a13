"""The two kinds of entities, and `crear_entidad`, which makes and checks them; both unpack as (id, canal, funcion, activo)."""
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral
from typing import Any, Protocol
from weakref import ref

from corec.entities.functions import check_function
from corec.errors import UsageError

Funcion = Callable[[], Any]
Procesador = Callable[[float, dict[str, Any]], float | None]


class Block(Protocol):
    """What an entity needs of the block it is in; `BloqueSimbiotico` is one."""

    id: str

    def is_active(self, slot: int) -> bool:
        """Whether the last reading of the entity at *slot* was good, or there was none yet."""


class MicroCeluEntidadCoreC(Sequence):
    """An entity with a function; unpacks as (id, canal, funcion, activo)."""

    __slots__ = ("_block", "_slot", "canal", "funcion", "id")

    def __init__(self, id: str, canal: int, funcion: Any) -> None:
        self.id, self.canal, self.funcion = id, canal, funcion
        self._block: ref[Block] | None = None
        self._slot = 0

    @property
    def bloque(self) -> "Block | None":
        """The block it is in; None without one, and when that is gone."""
        return self._block and self._block()

    @property
    def activo(self) -> bool:
        """Whether its last reading was good; true without a block, and before there was a reading."""
        bloque = self.bloque
        return bloque is None or bloque.is_active(self._slot)

    def enter(self, block: "ref[Block]", slot: int) -> None:
        """Belong to *block*, at *slot*; the block calls this."""
        self._block, self._slot = block, slot

    def inherit(self, donor: "MicroCeluEntidadCoreC") -> None:
        """Take over the function of *donor*."""
        self.funcion = donor.funcion

    def restart(self) -> None:
        """Begin anew; a Micro has no state to drop."""

    def _parts(self) -> tuple[str, int, Any, bool]:
        return self.id, self.canal, self.funcion, self.activo

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: Any) -> Any:
        return self._parts()[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parts())

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self._parts()!r}"


class CeluEntidadCoreC(MicroCeluEntidadCoreC):
    """An entity with a processor and a state of its own; unpacks as (id, canal, procesador, activo).

    Its raw values come from its function or, without one, from `BloqueSimbiotico.receive`.
    """

    __slots__ = ("estado", "procesador")

    def __init__(self, id: str, canal: int, funcion: Any, procesador: Procesador) -> None:
        super().__init__(id, canal, funcion)
        self.procesador = procesador
        self.estado: dict[str, Any] = {}

    def inherit(self, donor: MicroCeluEntidadCoreC) -> None:
        """Take over function and processor of *donor*, not its state."""
        super().inherit(donor)
        self.procesador = donor.procesador

    def restart(self) -> None:
        """Begin anew with an empty state."""
        self.estado.clear()

    def _parts(self) -> tuple[str, int, Any, bool]:
        return self.id, self.canal, self.procesador, self.activo


def crear_entidad(id: str, canal: int, funcion: Any = None, procesador: Procesador | None = None) -> MicroCeluEntidadCoreC:
    """A Micro entity with *funcion*, or with *procesador* a Celu.

    id: unique in its block.  canal: 0..127.  funcion: of a kind in `corec.entities.functions`; a Celu may do without.
    procesador: procesador(valor, estado) -> float, or None to filter the value out.
    """
    check_id(id)
    check_channel(canal, f"entity {id!r}")
    if funcion is None and procesador is None:
        raise UsageError(f"entity {id!r}: expected a function, a processor or both, got neither",
                         hint="crear_entidad(id, canal, funcion), or crear_entidad(id, canal, procesador=...)")
    if funcion is not None:
        check_function(funcion, f"entity {id!r}")
    if procesador is None:
        return MicroCeluEntidadCoreC(id, canal, funcion)
    if not callable(procesador):
        raise UsageError(f"entity {id!r}: expected a processor, got {procesador!r}",
                         hint="a processor is procesador(valor: float, estado: dict) -> float | None")
    return CeluEntidadCoreC(id, canal, funcion, procesador)


def check_id(id: Any, what: str = "an entity") -> None:
    """UsageError unless *id* is text that prints, without spaces at its ends; what: what it names."""
    if not (isinstance(id, str) and id and id.isprintable() and id == id.strip()):
        raise UsageError(f"expected the id of {what} as text that is not empty, got {id!r}",
                         hint="an id is a name as \"m0\", without line breaks and without spaces at its ends")


def check_channel(canal: Any, whose: str) -> None:
    """UsageError unless *canal* is an integer from 0 to 127; whose: as the error names it."""
    if not isinstance(canal, Integral) or isinstance(canal, bool) or not 0 <= canal <= 127:
        raise UsageError(f"{whose}: expected a channel, an integer from 0 to 127, got {canal!r}",
                         hint="channels 2, 3 and 5 are critical; 1 is the usual one for sensors")
