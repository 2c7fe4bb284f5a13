"""ModuloRegistro: the blocks that programs and plugins register, and the readings their functions give."""
import logging
import time
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

import numpy as np

from corec._core.wire import encode_frames
from corec.config.ram_price import admit
from corec.config.registered import entry_for, with_entries
from corec.errors import PluginError
from corec.modules.base import ModuloBase
from corec.node.pipeline import wall_ms
from corec.node.producer import Producer

if TYPE_CHECKING:
    from corec.blocks import BloqueSimbiotico
    from corec.blocks.messages import Pass
    from corec.nucleus import CoreCNucleus

log = logging.getLogger("ModuloRegistro")

#: A block that nobody else stepped for this long is stepped by the node, once a second.
LEFT_ALONE_S = 2.5


class Bloques(MutableMapping):
    """Block id -> block.  Assigning attaches a block to the node, deleting detaches it."""

    def __init__(self, registro: "ModuloRegistro") -> None:
        self._registro = registro
        self._blocks: dict[str, BloqueSimbiotico] = {}

    def __getitem__(self, key: str) -> "BloqueSimbiotico":
        return self._blocks[key]

    def __setitem__(self, key: str, bloque: "BloqueSimbiotico") -> None:
        self._registro.attach(key, bloque, self._blocks)
        self._blocks[key] = bloque

    def __delitem__(self, key: str) -> None:
        self._registro.detach(self._blocks.pop(key))

    def __iter__(self) -> Iterator[str]:
        return iter(self._blocks)

    def __len__(self) -> int:
        return len(self._blocks)


class ModuloRegistro(ModuloBase):
    """Gives registered blocks their ids and their place in the engine, and folds what their functions return."""

    nombre = "registro"

    def __init__(self) -> None:
        self.bloques = Bloques(self)
        self._stepped_at: dict[str, float] = {}  # when somebody else last stepped a block, or it was attached
        self._own: str | None = None  # the block that this module steps now

    async def inicializar(self, nucleus: "CoreCNucleus") -> None:
        """Remember the node."""
        self._nucleus = nucleus

    async def ejecutar(self, datos: dict[str, Any], carga: float) -> None:
        """Step the registered blocks that nobody stepped since the last time."""
        for key, bloque in list(self.bloques.items()):
            if time.monotonic() - self._stepped_at[key] > LEFT_ALONE_S:
                self._own = key
                await bloque.procesar(carga)
                self._own = None

    def attach(self, key: str, bloque: "BloqueSimbiotico", known: dict[str, Any]) -> None:
        """Bind *bloque* to the engine: to its recovered state, or to new ids."""
        if key != bloque.id:
            raise PluginError(f"expected the block's own id {bloque.id!r} as key, got {key!r}")
        if key in known:
            raise PluginError(f"there is a block {key!r} already: the first one stays", hint="give each block an id of its own")
        first = self._place(bloque)
        self._stepped_at[key] = time.monotonic()
        producer = Producer(f"{self._nucleus.config.instance_id}/block/{key}")
        bloque.on_pass = lambda last: self._take(bloque, producer, first, last)
        last = first + len(bloque.entidades) - 1
        log.info("Bloque registrado: %s, canal %d, %d entidades, ids %d-%d", key, bloque.canal, len(bloque.entidades), first, last)

    def detach(self, bloque: "BloqueSimbiotico") -> None:
        """Take no more readings from *bloque*; its rows and ids stay."""
        bloque.on_pass = None
        log.info("Bloque retirado: %s", bloque.id)

    def _place(self, bloque: "BloqueSimbiotico") -> int:
        """First wire id of a block that the engine has, or gets now."""
        running, entities = self._nucleus.engine.config, len(bloque.entidades)
        found = next((entry for entry in running.bloques if entry.registrado and entry.id == bloque.id), None)
        if found and (found.canal, found.entidades) != (bloque.canal, entities):
            raise PluginError(
                f"block {bloque.id!r} was registered with canal {found.canal} and {found.entidades} entities before, "
                f"got canal {bloque.canal} and {entities}", hint="give the changed block another id: ids are never reused")  # fmt: skip
        if found:
            return int(found.first_id)
        entry = entry_for(running, bloque.id, bloque.canal, entities)
        admit(with_entries(running, [entry]))
        self._nucleus.command({"op": "attach", "entry": entry})
        return int(entry["ids"])

    def _take(self, bloque: "BloqueSimbiotico", producer: Producer, first: int, last: "Pass") -> None:
        """The readings of a pass, on their way to the journal."""
        if not len(last.slots):
            return
        if self._own != bloque.id:
            self._stepped_at[bloque.id] = time.monotonic()
        frames = encode_frames(np.uint32(first) + last.slots, bloque.canal, last.values, last.states)
        self._nucleus.submit(frames, time=wall_ms(), producer=producer)
