"""What a node says of itself: plain numbers, ready for JSON."""
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from corec._core import block
from corec.common.text import duration
from corec.common.times import iso
from corec.engine.fusion import fused_into
from corec.node.rates import percentiles
from corec.version import VERSION

if TYPE_CHECKING:
    from corec.nucleus import CoreCNucleus

WEAKEST = 5
#: Seconds without a reading after which a block counts as idle.
IDLE_AFTER = 10
#: A clock further ahead than a batch may be, and this much, is worth a warning.
AHEAD_S = 60
PAGE = os.sysconf("SC_PAGE_SIZE")


def begin(nucleus: "CoreCNucleus") -> None:
    """The node takes readings from now on: rates, and what is told as since the start, count from here."""
    nucleus.rates.begin(**_totals(nucleus))


def _totals(nucleus: "CoreCNucleus") -> dict[str, int]:
    """What grows; readings and messages since the data folder was new, as its ledger has them: one message left for each `stored`."""
    ledger = nucleus.pipeline.ledger
    return {"readings": ledger["in"], "messages": ledger["stored"], "alerts": nucleus.alerts.count,
            "accepted": nucleus.committer.stats().accepted}  # fmt: skip


def status_of(nucleus: "CoreCNucleus") -> dict[str, Any]:
    """Everything `corec status --json` prints.

    `total` counts since the data folder was new, `since_start` since this start.
    """
    pipeline, engine = nucleus.pipeline, nucleus.engine
    ledger, stats, totals, rates = pipeline.ledger, nucleus.committer.stats(), _totals(nucleus), nucleus.rates
    per_s = rates.update(**totals)
    p50, p99 = percentiles(pipeline.commit_ms)
    counted = {name: {"total": totals[name], "since_start": rates.since(name, totals[name]), "per_s": per_s[name]}
               for name in ("readings", "messages")}  # fmt: skip
    return {
        "instance_id": nucleus.config.instance_id, "version": VERSION, "pid": os.getpid(), "state": nucleus.state,
        "uptime_s": time.monotonic() - nucleus.started, "simd": block.SIMD, "load": pipeline.load, "rss_bytes": rss_bytes(),
        "data": str(nucleus.data), "watermark": engine.arena.watermark,
        "readings": {**counted["readings"], "accepted_per_s": per_s["accepted"]}, "messages": counted["messages"],
        "alerts": {"since_start": totals["alerts"], "per_s": per_s["alerts"], "recent": list(nucleus.alerts.recent),
                   "provisional": nucleus.alerts.held, "muted": pipeline.totals["muted"],
                   "mutes": [{"subject": each.subject, "until": each.until, "why": each.why} for each in engine.mutes]},
        "blocks": blocks_of(nucleus), "ledger": ledger, "shed": nucleus.refused.status(pipeline.shed_by),
        "commit": {"p50_ms": p50, "p99_ms": p99, "turns": nucleus.store.state.turn, "rows_since_start": nucleus.alerts.rows},
        "journal": {"bytes": nucleus.journal.size_bytes, "last": nucleus.journal.last, "pending": pipeline.pending,
                    "sync_p50_ms": stats.sync_p50_ms, "sync_p99_ms": stats.sync_p99_ms},
        "disk": disk_of(nucleus), "flash": pipeline.flash.status(),
        "clock": {"node": engine.clock, "ahead": clock_ahead(nucleus)},
        "store": store_of(nucleus),
        "snapshots": _snapshots(nucleus.folder.snapshots) | {"since_start": pipeline.checkpoints.count,
                      "last_ms": pipeline.checkpoints.last_ms, "last_bytes": pipeline.checkpoints.last_bytes},
        "plugins": nucleus.plugins.status(), "subscriptions": [each.status() for each in nucleus.subscriptions.all()],
        **({"redis": nucleus.redis.status()} if nucleus.redis else {}), **fleet_of(nucleus),
        "sources": [runner.status() for runner in nucleus.runners],
    }  # fmt: skip


def store_of(nucleus: "CoreCNucleus") -> dict[str, Any]:
    """Where results are kept, and since when that cannot be reached, if so."""
    if nucleus.config.db_config is None:
        return {"kind": "sqlite", "bytes": _size(nucleus.folder.store)}
    met = nucleus.pipeline.trouble.status()
    away = met["since"] if met and met["state"] == "away" else None
    return {"kind": "postgresql", "where": f"{nucleus.config.db_config.host}:{nucleus.config.db_config.port}", "away_since": away}


def fleet_of(nucleus: "CoreCNucleus") -> dict[str, Any]:
    """The workers that fold the shards, if there are any."""
    module = nucleus.modulos.get("ejecucion")
    fleet = module.estado() if module and hasattr(module, "estado") else None
    return {"fleet": fleet} if fleet else {}


def disk_of(nucleus: "CoreCNucleus") -> dict[str, Any]:
    """Whether journal, store, snapshots, tail and spool can be written: `ok`, or what the worst of them has met, and since when."""
    troubles = {"journal": nucleus.committer.trouble, "store": nucleus.pipeline.trouble, "snapshots": nucleus.pipeline.checkpoints.trouble,
                **(nucleus.redis.troubles() if nucleus.redis else {})}  # fmt: skip
    met = {name: found for name, trouble in troubles.items() if (found := trouble.status())}
    states = {found["state"] for found in met.values()}
    state = next((each for each in ("full", "failing", "away") if each in states), "ok")
    return {"state": state, "since": min((found["since"] for found in met.values()), default=None), "met": met}


def clock_ahead(nucleus: "CoreCNucleus") -> str | None:
    """What to say of a clock that readings of a far future have moved; None where all is well."""
    clock, now = nucleus.engine.clock, time.time_ns() // 1_000_000
    ahead = (clock - now) / 1000
    if ahead <= nucleus.config.max_adelanto + AHEAD_S:
        return None
    return (f"the node's clock stands at {iso(clock)[:-4]} UTC, {_span(ahead)} ahead of this machine's; readings will be late until then\n"
            "HINT: set this machine's clock right if that is what is wrong, else go on in a new folder (--data): this one can still be"
            " queried")  # fmt: skip


def _span(seconds: float) -> str:
    days = seconds / 86_400
    return f"{days:,.0f} days" if days >= 2 else duration(seconds)


def blocks_of(nucleus: "CoreCNucleus") -> dict[str, Any]:
    """Blocks by state, and the weakest of those heard."""
    engine = nucleus.engine
    gone = np.array([entry.retirado for entry in engine.config.bloques])[engine.blocks["policy"]]
    blocks, frozen, fused = engine.blocks[~gone], _asleep(engine)[~gone], fused_into(engine)
    names = [name for name, is_gone in zip(engine.block_ids, gone, strict=True) if not is_gone] if gone.any() else engine.block_ids
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


def _asleep(engine: Any) -> np.ndarray:
    """Blocks all of whose heard segments hibernate."""
    segments = engine.arena.segments
    asleep = np.zeros(len(engine.block_ids), bool)
    if engine.arena.frozen:
        asleep[segments["owner"][segments["flags"] & 4 != 0]] = True
        asleep[segments["owner"][segments["flags"] & 5 == 1]] = False
    return asleep


def rss_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in (path, path.with_name(path.name + "-wal")) if file.exists())


def _snapshots(folder: Path) -> dict[str, int]:
    """How many files there are, and their bytes; the writer may be replacing one."""
    sizes = []
    for file in folder.glob("*.snap"):
        with suppress(FileNotFoundError):
            sizes.append(file.stat().st_size)
    return {"count": len(sizes), "bytes": sum(sizes)}
