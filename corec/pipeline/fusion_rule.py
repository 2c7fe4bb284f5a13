"""The rule by which weak blocks join strong ones: windows and time in, pairs out.

The module `sincronizacion`, a worker's shard and the fleet's plan use it.  They send each pair as a command, and the engine decides.
"""
import logging
import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Protocol

import numpy as np

from corec.config import Config
from corec.config.organs import Sincronizacion
from corec.engine import LOAD_STEPS
from corec.engine.fusion import STRONG

log = logging.getLogger("ModuloSincronizacion")

MINUTE_S = 60.0
#: Most hosts that are tried for one weak block.
MOST_HOSTS = 8

#: (weak block, host, reason) -> whether the fusion was accepted; else another host is tried.
Ask = Callable[[str, str, str], bool]


class JudgedBlocks(Protocol):
    """The blocks whose windows are judged; an Engine fits."""

    config: Config
    blocks: np.ndarray  # dtypes.BLOCK
    block_ids: Sequence[str]
    shard: int


class FusionRule:
    """Counts in how many consecutive windows each block of a shard was weak.

    A block is weak below its own `min_fitness`.  A host is above STRONG and on the same channel.  A block whose fusion was undone is
    left alone until it was strong once.  `fusiones_por_minuto` bounds how many fusions are accepted.
    """

    def __init__(self, settings: Sincronizacion, blocks: Callable[[], JudgedBlocks], *, fused: Iterable[str] = ()) -> None:
        """blocks: returns the current blocks, since a recovery replaces them.  fused: ids of blocks that are fused already."""
        self._settings, self._blocks = settings, blocks
        self._weak: dict[int, int] = {}  # block -> consecutive windows in which it was weak
        self._newest: dict[int, tuple[float, int]] = {}  # block -> fitness and channel of its newest window
        self._fused = set(fused)
        self._rested: set[str] = set()  # undone, and not strong since
        self._times: deque[float] = deque()  # s; of the fusions of the last minute

    def see_fused(self, fused: Collection[str]) -> None:
        """Record the ids of the blocks that are fused now; a fusion that is missing was undone."""
        self._rested |= self._fused - set(fused)
        self._fused = set(fused)

    def judge(self, rows: np.ndarray) -> None:
        """Judge windows (dtypes.AGGREGATE or stored rows), oldest first; rows of other shards are skipped."""
        at = self._blocks()
        rows = rows[at.blocks["shard"][rows["block"]] == at.shard]
        for block, canal, fitness in rows[["block", "canal", "fitness"]].tolist():
            self._newest[block] = (fitness, canal)
            self._weak[block] = self._weak.get(block, 0) + 1 if fitness < _least_fitness(at, block) else 0
            if fitness > STRONG:
                self._rested.discard(at.block_ids[block])

    def fused_before(self, times: Iterable[float]) -> None:
        """Count fusions of others, made at *times* (s, of the clock that `propose` gets), against the bound of a minute."""
        self._times.extend(sorted(times))

    def propose(self, load: float, now: float, ask: Ask) -> None:
        """Call *ask* for the fusions that are due at *load* [0, 1] and time *now* (s, monotonic), the weakest block first."""
        for block in self._due(load):
            if not self._has_room_for_one(now):
                return
            if self._found_host(block, ask):
                self._weak[block] = 0
                self._times.append(now)

    def _due(self, load: float) -> list[int]:
        """The blocks that were weak for long enough, the weakest first; a loaded node waits longer."""
        quantised = round(load * LOAD_STEPS) / LOAD_STEPS
        needed = math.ceil(self._settings.ventanas * (1 + self._settings.carga * quantised))
        names = self._blocks().block_ids
        due = [block for block, windows in self._weak.items() if windows >= needed and names[block] not in self._fused | self._rested]
        return sorted(due, key=lambda block: (self._newest[block][0], block))

    def _has_room_for_one(self, now: float) -> bool:
        while self._times and now - self._times[0] > MINUTE_S:
            self._times.popleft()
        return len(self._times) < self._settings.fusiones_por_minuto

    def _found_host(self, block: int, ask: Ask) -> bool:
        at, fitness = self._blocks(), self._newest[block][0]
        least = _least_fitness(at, block)
        why = f"fitness {fitness:.2f}, weak in {self._weak[block]} windows on end, min_fitness {least:g}"
        return any(ask(at.block_ids[block], at.block_ids[host], why) for host in self._hosts(block))

    def _hosts(self, block: int) -> Iterator[int]:
        """Strong blocks of its channel, the strongest first."""
        canal = self._newest[block][1]
        strong = [(-fitness, other) for other, (fitness, its) in self._newest.items()
                  if its == canal and fitness > STRONG and other != block]  # fmt: skip
        return (other for _, other in sorted(strong)[:MOST_HOSTS])


def _least_fitness(at: JudgedBlocks, block: int) -> float:
    return at.config.bloques[int(at.blocks["policy"][block])].autoreparacion.min_fitness


def log_fusion(done: "Future[int]", block: str, host: str, why: str) -> None:
    """Log the result of an accepted fusion, once its turn is committed or has failed."""
    if done.cancelled():
        return
    problem = done.exception()
    if problem:
        log.warning("[ModuloSincronizacion] %s is not fused into %s: %s", block, host, problem)
    else:
        log.info("[ModuloSincronizacion] %s fused into %s: %s", block, host, why)
