"""What `BloqueSimbiotico.procesar` gives for its entities: mappings made when they are looked at."""
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Messages(Sequence):
    """One mapping for each entity, in the block's order.

    "id": its name.  "valor": its value, a float; of an entity without a good one in this pass, its last good one.
    "activo": whether it is healthy.  "emitido": whether its value passed the filter.
    """

    __slots__ = ("_active", "_emitted", "_ids", "_sent", "_values")

    def __init__(self, ids: Sequence[str], values: np.ndarray, active: np.ndarray, sent: np.ndarray) -> None:
        """sent: `dtypes.MESSAGE` of what passed the filter; an id is an index of the other three."""
        self._ids, self._values, self._active, self._sent = ids, values, active, sent
        self._emitted: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return list(self)[index]
        return _message(self._ids[index], self._values.item(index), self._active.item(index), self.emitted.item(index))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(_message, self._ids, self._values.tolist(), self._active.tolist(), self.emitted.tolist())

    @property
    def emitted(self) -> np.ndarray:
        """bool[n]: whether the value passed the filter."""
        if self._emitted is None:
            self._emitted = np.zeros(len(self), bool)
            self._emitted[self._sent["id"][self._sent["estado"]]] = True
        return self._emitted

    def __repr__(self) -> str:
        return f"<{len(self)} messages>"


def _message(id: str, valor: float, activo: bool, emitido: bool) -> dict[str, Any]:
    return {"id": id, "valor": valor, "activo": activo, "emitido": emitido}


class PassReadings(NamedTuple):
    """The readings of one pass, as a node takes them."""

    time: int  # ms since 1970
    carga: float  # the load it ran at, 0..1
    slots: np.ndarray  # uint32[m]: of the entities that gave a reading
    values: np.ndarray  # float32[m]
    states: np.ndarray  # bool[m]: False where the reading failed
    repaired: Mapping[str, str | None]  # id of each entity regenerated in this pass -> id of its donor
