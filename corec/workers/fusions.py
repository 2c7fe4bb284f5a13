"""Fusions of a whole fleet, planned from what is stored: the module `sincronizacion` at work on the windows of all shards.

The planner in a worker's turns counts from when it got the shard; this one sees the whole history.  What it proposes goes to
whoever has the shard, as the commands that users give, and the engine there decides.  JSON in, JSON out.
"""
from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import numpy as np

from corec.config import Config
from corec.engine.topology import Topology, build
from corec.errors import ConfigError, ServerError, UsageError
from corec.modules.sincronizacion import MINUTE_S, ModuloSincronizacion
from corec.storage.historia import Happening
from corec.storage.open_store import open_reader
from corec.storage.sqlite.read import HISTORY
from corec.workers.orders import order
from corec.workers.planner import run_hook

#: Windows judged at once.
SLICE_MS = 600_000

Send = Callable[[int, dict[str, Any]], dict[str, Any]]  # a command to a shard -> what its worker answered


def plan(config: Config, since: int, until: int, dry_run: bool = False, send: Send | None = None) -> dict[str, Any]:
    """Have weak blocks fused into strong ones of their channel and shard, by their windows from *since* to *until* (ms).

    Asked twice, it finds what was fused the first time, and the minute's bound counts that too.  dry_run: nothing is sent.
    """
    if config.db_config is None or config.redis_config is None:
        raise ConfigError("expected a redis_config and a db_config, got none", hint="an embedded node plans its fusions by itself")
    topology, windows = build(config), 0
    deliver = send or (lambda shard, command: order(config.redis_config, shard, command))
    with open_reader(config, config.folder) as reader:
        moves = [each for each in reader.happenings() if each.what in ("fuse", "undo")]
        desks = [Desk(config, topology, shard, moves, until, None if dry_run else deliver) for shard in range(config.fragmentos)]
        for start in range(since, until, SLICE_MS):
            rows = reader.history(since=start, until=min(start + SLICE_MS, until))
            rows = rows[rows["block"] < len(topology.block_ids)]
            windows += len(rows)
            for desk in desks:
                desk.judge(rows)
    for desk in desks:
        desk.propose()
    told = {name: [each for desk in desks for each in getattr(desk, name)] for name in ("fusions", "refused", "silent")}
    return {"windows": windows, **told}


class Desk:
    """What the module sees of a node, for one shard whose engine is elsewhere; and what became of its proposals."""

    def __init__(self, config: Config, topology: Topology, shard: int, moves: list[Happening], until: int, send: Send | None) -> None:
        self.fusions: list[dict[str, Any]] = []
        self.refused: list[dict[str, Any]] = []
        self.silent: list[int] = []     # the shard, where nobody answered
        self._shard, self._send = shard, send
        blocks = topology.arena.blocks
        mine = [move for move in moves if move.block < len(blocks) and blocks["shard"][move.block] == shard]
        last = {move.block: move for move in mine}
        self._undone = {block: move.time for block, move in last.items() if move.what == "undo"}
        self.config, self.pipeline = config, SimpleNamespace(command=self._command)
        self.engine = SimpleNamespace(config=config, blocks=blocks, shard=shard, block_ids=topology.block_ids, fusions=list(last.values()))
        self._module = ModuloSincronizacion()
        run_hook(self._module.inicializar(self))
        self.engine.fusions = [move for move in last.values() if move.what == "fuse"]
        lately = [(until - move.time) / 1000 for move in mine if move.what == "fuse" and until - move.time < 1000 * MINUTE_S]
        self._module.fused_before(lately)
        run_hook(self._module.ejecutar({"bloques": np.empty(0, HISTORY)}, 0.0))   # it sees what was undone

    def judge(self, rows: np.ndarray) -> None:
        """Windows in order of time; those of a block before its fusion was undone say nothing of it."""
        stale = np.zeros(len(rows), bool)
        for block, time in self._undone.items():
            stale |= (rows["block"] == block) & (rows["window"] < time)
        self._module.judge(rows[~stale])

    def propose(self) -> None:
        """Send what is due; a shard that nobody answers for is left alone."""
        try:
            self._module.propose(0.0)
        except ServerError:
            self.silent.append(self._shard)

    def _command(self, command: dict[str, Any]) -> Future:
        done: Future = Future()
        pair = {"shard": self._shard, "block": command["block"], "host": command["host"]}
        try:
            turn = self._send(self._shard, command)["turn"] if self._send else 0
        except UsageError as error:
            self.refused.append({**pair, "error": error.text})
            raise
        self.fusions.append({**pair, "why": command["why"], **({"turn": turn} if self._send else {})})
        done.set_result(turn)
        return done
