"""Work on what is stored: anomaly scores anew under other settings, months of fine windows to minutes.

JSON in, JSON out; each may run again without harm.  For workers whose `rol` is `analisis`: they take no shards, so that
long work holds nothing up.
"""
import time
from typing import Any

import numpy as np
from msgspec.structs import replace

from corec._core import dtypes
from corec.config import Config
from corec.engine.audit import Audit
from corec.engine.topology import build
from corec.errors import UsageError
from corec.storage.opening import open_reader
from corec.storage.postgres_compact import compact_month, fine_months

#: Windows judged at once: a day of a thousand blocks in slices that fit any worker.
SLICE_MS = 3_600_000
#: Blocks named in an answer.
MOST_NAMED = 20


def rescore(config: Config, since: int, until: int, umbral: float | None = None, ventanas: int | None = None) -> dict[str, Any]:
    """What `auditoria` would have found from *since* to *until* (ms) with other settings.

    Returns {"windows", "anomalies", "blocks": {id: anomalies}} of the blocks with most of them.
    """
    if since >= until:
        raise UsageError(f"expected a beginning before the end, got {since} and {until}", hint="both are ms since 1970")
    wanted = {name: value for name, value in (("umbral", umbral), ("ventanas", ventanas)) if value is not None}
    config = replace(config, auditoria=replace(config.auditoria, **wanted))
    audit, topology = Audit(), build(config)
    audit.take_over(config, topology)
    windows, found = 0, np.zeros(len(topology.block_ids), np.int64)
    with open_reader(config, config.folder) as reader:
        for start in range(since, until, SLICE_MS):
            rows = _aggregates(reader.history(since=start, until=min(start + SLICE_MS, until)))
            windows += len(rows)
            for at in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows["window"])) + 1):
                _, alerts = audit.judge(rows[at], np.empty(0, dtypes.ALERT), scored=config.audits)
                np.add.at(found, alerts["block"], 1)
    worst = [int(block) for block in np.argsort(-found, kind="stable")[:MOST_NAMED] if found[block]]
    return {"windows": windows, "anomalies": int(found.sum()), "blocks": {topology.block_ids[block]: int(found[block]) for block in worst}}


def _aggregates(rows: np.ndarray) -> np.ndarray:
    """Rows of history as a turn gives them; one that was rolled up is judged as the window that it is."""
    made = np.zeros(len(rows), dtypes.AGGREGATE)
    for name in dtypes.AGGREGATE.names:
        made[name] = rows[name]
    return made[np.argsort(made["window"], kind="stable")]


def compact(config: Config, days: float) -> dict[str, Any]:
    """Months of which no window is younger than *days* keep a row a minute; what became of each."""
    before, done = round((time.time() - days * 86_400) * 1000), {}
    for month in fine_months(config.db_config, before):
        done[month] = compact_month(config.db_config, month)
    return done
