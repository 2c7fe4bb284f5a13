"""ModuloSincronizacion: has weak blocks fused into strong ones, from the fitness of their windows and the load."""
import logging
import math
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np

from corec.engine.fusion import STRONG
from corec.errors import UsageError
from corec.modules.base import ModuloBase

if TYPE_CHECKING:
    from corec.nucleus import CoreCNucleus

log = logging.getLogger("ModuloSincronizacion")

MINUTE_S = 60.0
#: Steps of the load, as turn records have them.
LOAD_STEPS = 255
#: Hosts that are tried for one weak block.
MOST_HOSTS = 8


class ModuloSincronizacion(ModuloBase):
    """Counts in how many windows on end a block was weak; it proposes, by commands, and the engine decides.

    A block whose fusion was undone is left alone until it was strong once.
    """

    nombre = "sincronizacion"

    def __init__(self) -> None:
        self._weak: dict[int, int] = {}  # block -> windows on end in which it was weak
        self._last: dict[int, tuple[float, int]] = {}  # block -> fitness and channel of its newest window
        self._fused: set[str] = set()
        self._rested: set[str] = set()  # undone, and not strong since
        self._times: deque[float] = deque()  # of the fusions of the last minute

    async def inicializar(self, nucleus: "CoreCNucleus") -> None:
        """Remember the node and what is fused already."""
        self._nucleus = nucleus
        self._fused = set(self._fused_now())

    async def ejecutar(self, datos: dict[str, Any], carga: float) -> None:
        """Judge the windows that closed; propose what is due."""
        fused = set(self._fused_now())
        self._rested |= self._fused - fused
        self._fused = fused
        self.judge(datos["bloques"])
        self.propose(carga)

    # --- judging -------------------------------------------------------------------------------

    def _fused_now(self) -> list[str]:
        engine = self._nucleus.engine
        return [engine.block_ids[fusion.block] for fusion in engine.fusions]

    def judge(self, rows: np.ndarray) -> None:
        """Count in how many windows on end each block was weak."""
        engine = self._nucleus.engine
        rows = rows[engine.blocks["shard"][rows["block"]] == engine.shard]     # the others are judged where they are folded
        for block, canal, fitness in rows[["block", "canal", "fitness"]].tolist():
            self._last[block] = (fitness, canal)
            self._weak[block] = self._weak.get(block, 0) + 1 if fitness < self._least(block) else 0
            if fitness > STRONG:
                self._rested.discard(self._nucleus.engine.block_ids[block])

    def _least(self, block: int) -> float:
        engine = self._nucleus.engine
        return engine.config.bloques[int(engine.blocks["policy"][block])].autoreparacion.min_fitness

    def _due(self, carga: float) -> list[int]:
        """The blocks that were weak for long enough, the weakest first; a loaded node waits longer."""
        settings, load = self._nucleus.config.sincronizacion, round(carga * LOAD_STEPS) / LOAD_STEPS
        needed = math.ceil(settings.ventanas * (1 + settings.carga * load))
        names = self._nucleus.engine.block_ids
        due = [block for block, windows in self._weak.items() if windows >= needed and names[block] not in self._fused | self._rested]
        return sorted(due, key=lambda block: (self._last[block][0], block))

    def _has_room_for_one(self) -> bool:
        now = time.monotonic()
        while self._times and now - self._times[0] > MINUTE_S:
            self._times.popleft()
        return len(self._times) < self._nucleus.config.sincronizacion.fusiones_por_minuto

    # --- proposing -----------------------------------------------------------------------------

    def propose(self, carga: float) -> None:
        """Have the blocks fused that were weak for long enough, as many as a minute may have."""
        for block in self._due(carga):
            if not self._has_room_for_one():
                return
            self._propose(block)

    def fused_before(self, seconds_ago: Iterable[float]) -> None:
        """Fusions that somebody else had done: they count for their minute as well."""
        now = time.monotonic()
        self._times.extend(sorted(now - seconds for seconds in seconds_ago))

    def _hosts(self, block: int) -> Iterator[int]:
        """Strong blocks of its channel, the strongest first."""
        canal = self._last[block][1]
        strong = [(-fitness, other) for other, (fitness, its) in self._last.items() if its == canal and fitness > STRONG and other != block]
        return (other for _, other in sorted(strong)[:MOST_HOSTS])

    def _propose(self, block: int) -> None:
        names, fitness = self._nucleus.engine.block_ids, self._last[block][0]
        why = f"fitness {fitness:.2f}, weak in {self._weak[block]} windows on end, min_fitness {self._least(block):g}"
        for host in self._hosts(block):
            try:
                done = self._nucleus.pipeline.command({"op": "fuse", "block": names[block], "host": names[host], "why": why})
            except UsageError as error:
                log.debug("[ModuloSincronizacion] %s", error.text)
                continue
            self._weak[block] = 0
            self._times.append(time.monotonic())
            done.add_done_callback(lambda done, pair=(names[block], names[host]): _tell(done, *pair, why))
            return


def _tell(done: "Future[int]", block: str, host: str, why: str) -> None:
    if done.cancelled():
        return
    problem = done.exception()
    if problem:
        log.warning("[ModuloSincronizacion] %s is not fused into %s: %s", block, host, problem)
    else:
        log.info("[ModuloSincronizacion] %s fused into %s: %s", block, host, why)
