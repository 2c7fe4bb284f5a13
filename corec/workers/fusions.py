"""Fusions of a whole fleet, planned from what is stored: the fusion rule at work on the windows of all shards.

A worker counts weak windows only since it got the shard; this plan reads the whole history.  It sends its proposals as commands
to the worker of the shard, whose engine decides.  JSON in, JSON out.
"""
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from corec.config import Config
from corec.engine.topology import Topology, build
from corec.errors import ConfigError, ServerError, UsageError
from corec.pipeline.fusion_rule import MINUTE_S, FusionRule
from corec.storage.historia import Happening
from corec.storage.open_store import open_reader
from corec.workers.orders import order

#: Span of windows judged at once, in ms.
SLICE_MS = 600_000

Send = Callable[[int, dict[str, Any]], dict[str, Any]]  # a command to a shard -> what its worker answered


def plan(config: Config, since: int, until: int, dry_run: bool = False, send: Send | None = None) -> dict[str, Any]:
    """Propose to fuse weak blocks into strong ones of their channel and shard, by their windows from *since* to *until* (ms).

    Fusions of an earlier run count: their blocks are left alone, and they use up the bound of their minute.  dry_run: send nothing.
    Returns {"windows": n, "fusions": [...], "refused": [...], "silent": [shards that did not answer]}.
    """
    if config.db_config is None or config.redis_config is None:
        raise ConfigError("expected a redis_config and a db_config, got none", hint="an embedded node plans its fusions by itself")
    topology, windows = build(config), 0
    deliver = send or (lambda shard, command: order(config.redis_config, shard, command))
    with open_reader(config, config.folder) as reader:
        moves = [each for each in reader.happenings() if each.what in ("fuse", "undo")]
        plans = [ShardPlan(config, topology, shard, moves, None if dry_run else deliver) for shard in range(config.fragmentos)]
        for start in range(since, until, SLICE_MS):
            rows = reader.history(since=start, until=min(start + SLICE_MS, until))
            rows = rows[rows["block"] < len(topology.block_ids)]
            windows += len(rows)
            for each in plans:
                each.judge(rows)
    for each in plans:
        each.propose(until)
    found = {name: [item for each in plans for item in getattr(each, name)] for name in ("fusions", "refused", "silent")}
    return {"windows": windows, **found}


class ShardBlocks(NamedTuple):
    """The blocks of one shard, as the fusion rule takes them."""

    config: Config
    blocks: np.ndarray
    block_ids: Sequence[str]
    shard: int


class ShardPlan:
    """Applies the fusion rule to one shard, whose engine is in another process, and collects the results."""

    def __init__(self, config: Config, topology: Topology, shard: int, moves: list[Happening], send: Send | None) -> None:
        """moves: fusions and undoings of the fleet, oldest first.  send: None where nothing is to be sent."""
        self.fusions: list[dict[str, Any]] = []
        self.refused: list[dict[str, Any]] = []
        self.silent: list[int] = []     # the shard, where no worker answered
        self._shard, self._send = shard, send
        blocks, names = topology.arena.blocks, topology.block_ids
        self._moves = [move for move in moves if move.block < len(blocks) and blocks["shard"][move.block] == shard]
        last = {move.block: move for move in self._moves}
        self._undone = {block: move.time for block, move in last.items() if move.what == "undo"}
        at = ShardBlocks(config, blocks, names, shard)
        self._rule = FusionRule(config.sincronizacion, lambda: at, fused=[names[block] for block in last])
        self._rule.see_fused([names[block] for block, move in last.items() if move.what == "fuse"])

    def judge(self, rows: np.ndarray) -> None:
        """Judge windows in order of time, without those of a block from before its fusion was undone."""
        stale = np.zeros(len(rows), bool)
        for block, time in self._undone.items():
            stale |= (rows["block"] == block) & (rows["window"] < time)
        self._rule.judge(rows[~stale])

    def propose(self, now: int) -> None:
        """Send the fusions that are due at *now* (ms).  Where no worker answers, stop and note the shard as silent."""
        self._rule.fused_before(move.time / 1000 for move in self._moves if move.what == "fuse" and now - move.time < 1000 * MINUTE_S)
        try:
            self._rule.propose(0.0, now / 1000, self._ask)
        except ServerError:
            self.silent.append(self._shard)

    def _ask(self, block: str, host: str, why: str) -> bool:
        pair = {"shard": self._shard, "block": block, "host": host}
        command = {"op": "fuse", "block": block, "host": host, "why": why}
        try:
            turn = {"turn": self._send(self._shard, command)["turn"]} if self._send else {}
        except UsageError as error:
            self.refused.append({**pair, "error": error.text})
            return False
        self.fusions.append({**pair, "why": why, **turn})
        return True
