"""The status of a node as plain values, ready for JSON."""
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from corec._core import block
from corec._core.dtypes import SEGMENT_FROZEN, SEGMENT_HEARD
from corec.common.clock import Clock
from corec.config import Config
from corec.engine import Engine
from corec.engine.ledger import added
from corec.node.acceptance import Acceptance
from corec.node.alert_log import AlertLog
from corec.node.lifecycle import Lifecycle, clock_ahead
from corec.node.rates import StatusRates, percentiles
from corec.node.source_runner import SourceRunner
from corec.streams.journal.group_commit import CommitStats
from corec.version import VERSION

WEAKEST = 5
#: Seconds without a reading after which a block counts as idle.
IDLE_AFTER = 10
PAGE = os.sysconf("SC_PAGE_SIZE")


class NodeStatus:
    """Composes the status of a node from that of its parts."""

    def __init__(self, config: Config, data: Path, life: Lifecycle, acceptance: Acceptance, alerts: AlertLog,
                 runners: Sequence[SourceRunner], others: Callable[[], dict[str, Any]], clock: Clock) -> None:  # fmt: skip
        """others: returns the parts of the status that modules, plugins and subscriptions have."""
        self._config, self._data, self._life, self._acceptance, self._alerts = config, data, life, acceptance, alerts
        self._runners, self._others = runners, others
        self._clock, self._rates, self._began = clock, StatusRates(clock), clock.steady_s()

    def count_from_here(self) -> None:
        """Begin to count rates and the figures "since start"; called when the node begins to take readings."""
        ledger, _ = self._readings()
        self._rates.begin(**_totals(ledger, self._acceptance.committer.stats(), self._alerts.status()))

    def document(self) -> dict[str, Any]:
        """Everything `corec status --json` prints.

        `total` counts since the data folder was new, `since_start` since this start.
        """
        life, pipeline, engine, journal = self._life, self._life.pipeline, self._life.engine, self._life.opened.journal
        ledger, shed = self._readings()
        stats, alerts = self._acceptance.committer.stats(), self._alerts.status()
        totals = _totals(ledger, stats, alerts)
        per_s = self._rates.update(**totals)
        p50, p99 = percentiles(pipeline.commit_ms)
        counted = {name: {"total": totals[name], "since_start": self._rates.since(name, totals[name]), "per_s": per_s[name]}
                   for name in ("readings", "messages")}  # fmt: skip
        return {
            "instance_id": self._config.instance_id, "version": VERSION, "pid": os.getpid(), "state": life.state,
            "uptime_s": self._clock.steady_s() - self._began, "simd": block.SIMD, "load": pipeline.load, "rss_bytes": rss_bytes(),
            "data": str(self._data), "watermark": engine.arena.watermark,
            "readings": {**counted["readings"], "accepted_per_s": per_s["accepted"]}, "messages": counted["messages"],
            "alerts": {"since_start": totals["alerts"], "per_s": per_s["alerts"], "recent": alerts["recent"],
                       "provisional": alerts["provisional"], "muted": pipeline.totals["muted"],
                       "mutes": [{"subject": each.subject, "until": each.until, "why": each.why} for each in engine.mutes]},
            "blocks": blocks_of(engine), "ledger": ledger, "shed": shed,
            "commit": {"p50_ms": p50, "p99_ms": p99, "turns": life.turn, "rows_since_start": alerts["rows"]},
            "journal": {"bytes": journal.size_bytes, "pending": pipeline.pending, "last": journal.last,
                        "sync_p50_ms": stats.sync_p50_ms, "sync_p99_ms": stats.sync_p99_ms},
            "disk": self._disk(), "flash": pipeline.flash.status(),
            "clock": {"node": engine.clock, "ahead": clock_ahead(engine, self._config, self._clock.wall_ms()),
                      "waits": pipeline.waiting.status()},
            "store": self._store(),
            "snapshots": _snapshot_files(life.folder.snapshots) | pipeline.checkpoints.status(),
            **({"redis": life.redis.status()} if life.redis else {}), **self._others(),
            "sources": [runner.status() for runner in self._runners],
        }  # fmt: skip

    def _readings(self) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
        """The ledger, and the shed readings by cause and channel.  Refused readings count before a turn has counted them."""
        counted = self._life.pipeline.counted
        shed = added(self._life.shed_before or {}, self._acceptance.refused.since_start())
        waiting = max(0, _sum(shed) - _sum(counted.shed_by))
        ledger = counted.ledger
        return {**ledger, "in": ledger["in"] + waiting, "shed": ledger["shed"] + waiting}, shed

    def _store(self) -> dict[str, Any]:
        """The kind and place of the store; `away_since` in ms, None while its server answers."""
        server = self._config.db_config
        if server is None:
            return {"kind": "sqlite", "bytes": _size(self._life.folder.store)}
        problem = self._life.pipeline.trouble.status()
        away = problem["since"] if problem and problem["state"] == "away" else None
        return {"kind": "postgresql", "where": f"{server.host}:{server.port}", "away_since": away}

    def _disk(self) -> dict[str, Any]:
        """`state`: "ok", or the worst of "full", "failing" and "away"; `since`: ms; `met`: each part that has a problem."""
        life = self._life
        troubles = {"journal": self._acceptance.committer.trouble, "store": life.pipeline.trouble,
                    "snapshots": life.pipeline.checkpoints.trouble, **(life.redis.troubles() if life.redis else {})}  # fmt: skip
        problems = {name: found for name, trouble in troubles.items() if (found := trouble.status())}
        states = {found["state"] for found in problems.values()}
        state = next((each for each in ("full", "failing", "away") if each in states), "ok")
        return {"state": state, "since": min((found["since"] for found in problems.values()), default=None), "met": problems}


def _totals(ledger: dict[str, int], stats: CommitStats, alerts: dict[str, Any]) -> dict[str, int]:
    """Totals whose rates are shown.  Readings and messages count since the data folder was new; each `stored` is one message."""
    return {"readings": ledger["in"], "messages": ledger["stored"], "alerts": alerts["count"], "accepted": stats.accepted}


def _sum(by: dict[str, dict[str, int]]) -> int:
    return sum(sum(counts.values()) for counts in by.values())


def blocks_of(engine: Engine) -> dict[str, Any]:
    """Counts of blocks by state, and the WEAKEST least fit of those that have had readings."""
    names = engine.block_ids
    rows = engine.blocks[: len(names)]  # a new block has its entry first, then its row, then its name
    gone = np.array([entry.retirado for entry in engine.config.bloques], bool)[rows["policy"]]
    blocks, frozen, fused = rows[~gone], _asleep(engine, len(names))[~gone], engine.fused_into
    if gone.any():
        names = [name for name, is_gone in zip(names, gone, strict=True) if not is_gone]
    heard = blocks["heard"] > 0
    live = heard & (engine.arena.tick - blocks["last_tick"].astype(np.int64) <= IDLE_AFTER)
    fitness = blocks["fitness"][heard]
    order = np.flatnonzero(heard)[np.argsort(fitness, kind="stable")[:WEAKEST]]
    return {
        "total": len(blocks), "live": int(live.sum()), "hibernated": int(frozen.sum()), "never": int((~heard).sum()) - len(fused),
        "idle": int((heard & ~live & ~frozen).sum()),
        "fused": {engine.block_ids[block]: engine.block_ids[host] for block, host in fused.items()},
        "fitness_mean": float(fitness.mean()) if len(fitness) else 1.0,
        "fitness_min": float(fitness.min()) if len(fitness) else 1.0,
        "weakest": [{"id": names[i], "fitness": float(blocks[i]["fitness"]), "failing": int(blocks[i]["failing"]),
                     "entities": int(blocks[i]["entities"])} for i in order.tolist() if blocks[i]["fitness"] < 1],
    }  # fmt: skip


def _asleep(engine: Engine, blocks: int) -> np.ndarray:
    """bool[blocks]: all segments of the block that have had readings hibernate."""
    segments = engine.arena.segments
    asleep = np.zeros(blocks, bool)
    if engine.arena.frozen:
        asleep[segments["owner"][segments["flags"] & SEGMENT_FROZEN != 0]] = True
        asleep[segments["owner"][segments["flags"] & (SEGMENT_FROZEN | SEGMENT_HEARD) == SEGMENT_HEARD]] = False
    return asleep


def rss_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in (path, path.with_name(path.name + "-wal")) if file.exists())


def _snapshot_files(folder: Path) -> dict[str, int]:
    """How many files there are, and their bytes.  A file may vanish while this looks."""
    sizes = []
    for file in folder.glob("*.snap"):
        with suppress(FileNotFoundError):
            sizes.append(file.stat().st_size)
    return {"count": len(sizes), "bytes": sum(sizes)}
