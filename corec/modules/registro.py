"""ModuloRegistro: registers blocks of programs and plugins, and submits the readings that their functions return."""
import logging
import time
from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import numpy as np

from corec._core.wire import encode_frames
from corec.common.times import wall_ms
from corec.errors import PluginError
from corec.modules.base import ModuloBase
from corec.plugin_api.interface import Nucleus
from corec.plugin_api.metering import CURRENT, Meter
from corec.streams.sending.producer import Producer

if TYPE_CHECKING:
    from corec.blocks import BloqueSimbiotico
    from corec.blocks.messages import PassReadings

log = logging.getLogger("ModuloRegistro")

#: The node steps a block, once a second, that nothing else has stepped for this long.
LEFT_ALONE_S = 2.5
#: Repaired entities that a line of history names.
MOST_NAMED = 5


class Bloques(MutableMapping):
    """Block id -> block.  Assigning attaches a block to the node; deleting detaches it."""

    def __init__(self, registro: "ModuloRegistro") -> None:
        self._registro = registro
        self._blocks: dict[str, BloqueSimbiotico] = {}

    def __getitem__(self, key: str) -> "BloqueSimbiotico":
        return self._blocks[key]

    def __setitem__(self, key: str, bloque: "BloqueSimbiotico") -> None:
        self._registro.attach(key, bloque, self._blocks)
        self._blocks[key] = bloque

    def __delitem__(self, key: str) -> None:
        self._registro.detach(self._blocks[key])
        del self._blocks[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._blocks)

    def __len__(self) -> int:
        return len(self._blocks)


class ModuloRegistro(ModuloBase):
    """Attaches registered blocks to the node, and submits what their functions return."""

    nombre = "registro"

    def __init__(self) -> None:
        self.bloques = Bloques(self)
        self._stepped_at: dict[str, float] = {}  # when a block was last stepped by others, or attached
        self._own: str | None = None  # the block that this module steps now
        self._holders: dict[str, str | None] = {}  # block -> plugin that attached it
        self._left: set[str] = set()  # blocks of plugins that were left behind

    async def inicializar(self, nucleus: Nucleus) -> None:
        self._nucleus = nucleus

    def left_alone(self) -> list[str]:
        """Ids of the blocks that nothing has stepped for LEFT_ALONE_S, without those of abandoned plugins, which may block."""
        now = time.monotonic()
        return [key for key in self.bloques if key not in self._left and now - self._stepped_at[key] > LEFT_ALONE_S]

    async def step(self, key: str, carga: float) -> None:
        """Run one pass over a registered block, which does not count as stepped by others."""
        bloque = self.bloques.get(key)
        if bloque is None:
            return
        self._own = key
        try:
            await bloque.procesar(carga)
        finally:
            self._own = None

    def nombres(self, key: str) -> tuple[str, ...]:
        """The names of a block's entities at its first registration, also before a restart; empty where it has none."""
        return tuple(self._nucleus.block_names(key))

    def attach(self, key: str, bloque: "BloqueSimbiotico", known: dict[str, Any]) -> None:
        """Bind *bloque* to the node: to its old ids and state, or to new ids.  PluginError where it is refused."""
        if key != bloque.id:
            raise PluginError(f"expected the block's own id {bloque.id!r} as key, got {key!r}", hint="bloques[bloque.id] = bloque")
        if key in known:
            raise PluginError(f"there is a block {key!r} already: the first one stays", hint="give each block an id of its own")
        holder = CURRENT.get()
        ids = self._nucleus.claim_block(key, bloque.canal, [entidad.id for entidad in bloque.entidades])
        self._stepped_at[key] = time.monotonic()
        producer = Producer(f"{self._nucleus.config.instance_id}/block/{key}")
        bloque.on_pass = lambda last: self._take(bloque, producer, ids, holder, last)
        self._holders[key] = holder and holder.name
        log.info("Bloque registrado: %s, canal %d, %d entidades, ids %d-%d", key, bloque.canal, len(ids), ids.min(), ids.max())

    def detach(self, bloque: "BloqueSimbiotico") -> None:
        """Take no more readings from *bloque* and free its memory; its rows, ids and state are kept."""
        bloque.on_pass = None
        self._nucleus.release_block(bloque.id)
        log.info("Bloque retirado: %s", bloque.id)

    def abandon(self, folder: str) -> None:
        """Never step the blocks of this plugin again: its thread was abandoned, and their functions may be what blocked it."""
        self._left |= {key for key, holder in self._holders.items() if holder == folder}

    def _take(self, bloque: "BloqueSimbiotico", producer: Producer, ids: np.ndarray, holder: Meter | None, last: "PassReadings") -> None:
        """Submit the readings of a pass, and record its repairs in the history."""
        if last.repaired:
            self._note_repair(bloque.id, last.repaired)
        if not len(last.slots):
            return
        if self._own != bloque.id:
            self._stepped_at[bloque.id] = time.monotonic()
        frames = encode_frames(ids[last.slots], bloque.canal, last.values, last.states)
        if holder is None or holder.may_send(len(frames)):
            self._nucleus.submit(frames, time=wall_ms(), producer=producer)
        else:
            self._nucleus.shed(frames)

    def _note_repair(self, block: str, repaired: Mapping[str, str | None]) -> None:
        """repaired: entity -> the healthy entity whose function and parameters it took over, or None."""
        named = ", ".join(f"{entity} from {donor}" for entity, donor in list(repaired.items())[:MOST_NAMED])
        more = f" and {len(repaired) - MOST_NAMED} more" if len(repaired) > MOST_NAMED else ""
        inherited = sum(donor is not None for donor in repaired.values())
        self._nucleus.note_repair(block, entities=len(repaired), inherited=inherited, why=f"functions: {named}{more}")
