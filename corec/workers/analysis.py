"""Long work on stored rows: scores under other settings, settings fitted to scores, fine windows merged to minutes.

JSON in, JSON out; each function may run again without harm.  Workers whose `rol` is `analisis` run them: they take no shards, so
that long work delays no turn.
"""
import math
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from corec._core import dtypes
from corec.common.times import wall_ms
from corec.common.units import DAY_MS
from corec.config import Config
from corec.engine.audit import Audit
from corec.engine.topology import build
from corec.errors import UsageError
from corec.storage.open_store import open_reader
from corec.storage.postgres.compact import compact_month, fine_months

#: Span of windows judged at once, in ms; it bounds the memory.
SLICE_MS = 3_600_000
#: Blocks named in an answer.
MOST_NAMED = 20
#: Default data folder of an embedded node.
DATA = Path("data")


def rescore(config: Config, since: int, until: int, umbral: float | None = None, ventanas: int | None = None,
            data: Path = DATA) -> dict[str, Any]:  # fmt: skip
    """What `auditoria` would have found from *since* to *until* (ms) with other settings.

    Returns {"windows", "anomalies", "blocks": {id: anomalies}} of the blocks with most of them.
    """
    wanted = {name: value for name, value in (("umbral", umbral), ("ventanas", ventanas)) if value is not None}
    config = replace(config, auditoria=replace(config.auditoria, **wanted))
    names = build(config).block_ids
    windows, found = 0, np.zeros(len(names), np.int64)
    for rows, alerts in judged(config, since, until, data):
        windows += len(rows)
        np.add.at(found, alerts["block"], 1)
    worst = [int(block) for block in np.argsort(-found, kind="stable")[:MOST_NAMED] if found[block]]
    return {"windows": windows, "anomalies": int(found.sum()), "blocks": {names[block]: int(found[block]) for block in worst}}


def train(config: Config, since: int, until: int, por_dia: float = 1.0, data: Path = DATA) -> dict[str, Any]:
    """The least `umbral` under which `auditoria` would have found no more than *por_dia* anomalies a day from *since* to *until* (ms).

    The same stored windows give the same answer: {"auditoria": {"umbral": ...}} as corec_config.json takes it, and what it rests on.
    """
    def found(umbral: float) -> int:
        settings = replace(config, auditoria=replace(config.auditoria, umbral=umbral))
        return sum(len(alerts) for _, alerts in judged(settings, since, until, data))

    windows, highest, first, last, scores = _scores(config, since, until, data)
    if not windows:
        raise UsageError("expected stored windows to learn from, got none", hint="see that the node ran then: corec query --since 1d")
    days = max((last - first) / DAY_MS, 1 / 24)
    most = math.floor(por_dia * days)
    choices = sorted({0.0, *(math.ceil(score * 100) / 100 for score in (*scores, highest))})
    # Before the reference is learnt all scores are 0, which says nothing.
    umbral = choices[bisect_left(choices, True, key=lambda choice: found(choice) <= most)] if highest else config.auditoria.umbral
    return {"auditoria": {"umbral": umbral, "ventanas": config.auditoria.ventanas}, "anomalies": found(umbral), "por_dia": por_dia,
            "windows": windows, "days": round(days, 3), "highest_score": round(highest, 3), "from": first, "until": last}  # fmt: skip


def _scores(config: Config, since: int, until: int, data: Path) -> tuple[int, float, int, int, list[float]]:
    """(windows, highest score, first and last moment in ms, scores of all anomalies that an `umbral` of 0 gives)."""
    config = replace(config, auditoria=replace(config.auditoria, umbral=0.0))
    windows, highest, moments, scores = 0, 0.0, [], []
    for rows, alerts in judged(config, since, until, data):
        windows += len(rows)
        highest = max(highest, float(rows["score"].max()))
        moments = [min([*moments, int(rows["window"].min())]), int(rows["window"].max())]
        scores += alerts["valor"].tolist()
    return windows, highest, *(moments or [since, until]), scores


def judged(config: Config, since: int, until: int, data: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows with their scores, anomalies) of each moment from *since* to *until* at which windows ended, under *config*."""
    if since >= until:
        raise UsageError(f"expected a beginning before the end, got {since} and {until}", hint="both are ms since 1970")
    audit = Audit()
    audit.take_over(config, build(config))
    with open_reader(config, data) as reader:
        for start in range(since, until, SLICE_MS):
            rows = _aggregates(reader.history(since=start, until=min(start + SLICE_MS, until)))
            for at in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows["window"])) + 1):
                if len(at):
                    yield audit.judge(rows[at], np.empty(0, dtypes.ALERT), scored=config.audits)


def _aggregates(rows: np.ndarray) -> np.ndarray:
    """Rows of history as dtypes.AGGREGATE, in order of time.  A rolled-up row is judged as one window."""
    made = np.zeros(len(rows), dtypes.AGGREGATE)
    for name in dtypes.AGGREGATE.names:
        made[name] = rows[name]
    return made[np.argsort(made["window"], kind="stable")]


def compact(config: Config, days: float) -> dict[str, Any]:
    """Merge the windows of months that ended *days* ago or earlier to one row a minute; returns a result for each month."""
    before, done = wall_ms() - round(days * DAY_MS), {}
    for month in fine_months(config.db_config, before):
        done[month] = compact_month(config.db_config, month)
    return done
