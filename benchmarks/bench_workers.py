"""Celery: block turns a second and what they cost, and milliseconds from a reading to its alert through a worker.

Redis, PostgreSQL, a node, workers and the sender are processes of their own, on this machine.
"""
import json
import time

import numpy as np
import psutil
import pytest

from benchmarks.bench_redis import child, histogram
from benchmarks.child_redis import LIMIT
from corec._core.wire import encode_frames
from corec.config import load
from corec.publish import Publisher
from tests.support.celery_fleet import CeleryFleet
from tests.support.servers.postgres import running as running_postgres
from tests.support.servers.redis import running as running_redis

ENTITIES, BLOCKS = 1_000_000, 1_000
#: Readings a second: about twenty for each block.
RATE, BATCH = 20_000, 1_000
TURNS, CORES = 1_000, 0.5
ALERT_RATE, P99_MS = 100_000, 60.0


@pytest.fixture
def fleet(tmp_path, request):
    """One of as many workers and shards as asked for."""
    with running_redis() as redis, running_postgres() as postgres:
        database = {"host": postgres.host, "port": postgres.port, "user": postgres.user, "password": postgres.password,
                    "dbname": postgres.new_database()}  # fmt: skip
        blocks = [{"id": "s", "canal": 1, "entidades": ENTITIES, "limites": {"alto": LIMIT}}]
        fleet = CeleryFleet(tmp_path, database, redis, fragmentos=request.param["shards"], bloques=blocks, conservar_diario_mb=0)
        fleet.redis = redis
        try:
            fleet.node("corec1")
            names = [f"w{number}" for number in range(request.param["workers"])]
            for name in names:
                fleet.worker(name)
            fleet.wait(lambda: fleet.folded_by(fleet.pid(*names)), 60)
            yield fleet
        finally:
            fleet.stop()


def spent(fleet):
    """CPU seconds of the workers, their turns, block turns and readings."""
    leases = fleet.leases.live().values()
    cpu = sum(sum(psutil.Process(lease.pid).cpu_times()[:2]) for lease in leases)
    totals = {name: sum(lease.stats[name] for lease in leases) for name in ("block_turns", "readings", "turns")}
    return {"cpu": cpu, "messages": sum(lease.began for lease in leases), **totals}


@pytest.mark.parametrize("fleet", [{"shards": 16, "workers": 2}], indirect=True)
def test_block_turns_a_second(fleet, report, quick):
    # Given a thousand blocks in 16 shards of two workers, each block with some twenty readings a second
    dice, seconds = np.random.default_rng(5), 10 if quick else 30
    with Publisher(load(fleet.folder / "configs"), name="bench", folder=fleet.folder / "tail") as publisher:
        began, sent, before = time.monotonic(), 0, None
        while (passed := time.monotonic() - began) < seconds + 5:
            if before is None and passed > 5:   # every block has had readings: now it counts
                before, since = spent(fleet), time.monotonic()
            if sent < passed * RATE:
                ids = dice.integers(0, ENTITIES, BATCH).astype(np.uint32)
                publisher.submit(encode_frames(ids, 1, dice.normal(20, 1, BATCH).astype(np.float32), 1), time.time_ns() // 1_000_000)
                sent += BATCH
            else:
                time.sleep(0.005)
        after, took = spent(fleet), time.monotonic() - since
    # Then each block has its turn every second
    rate = {name: (after[name] - before[name]) / took for name in after}
    report.judge("celery", "block turns a second, 1,000 blocks in 16 shards of 2 workers", f"{rate['block_turns']:,.0f}/s in {rate['cpu']:.2f} cores",
                 f">= {TURNS:,} in <= {CORES} cores", rate["block_turns"] >= 0.98 * TURNS and rate["cpu"] <= CORES)
    report.note("celery", "Celery messages a second, and commits", f"{rate['messages']:.1f}/s", f"{rate['turns']:.1f} commits/s, "
                f"{rate['readings']:,.0f} readings/s")


@pytest.mark.parametrize("fleet", [{"shards": 1, "workers": 1}], indirect=True)
def test_milliseconds_from_reading_to_alert(fleet, report, quick):
    # Given 100,000 readings a second through one worker, some of them beyond their limit
    report_of_load = json.loads(child("alerts", fleet.redis.port, ENTITIES, 10 if quick else 60, ALERT_RATE).communicate()[0])
    took = sorted(report_of_load["took_ms"])
    # Then each gives an alert, once
    assert len(took) == report_of_load["marks"]
    p50, p99 = took[len(took) // 2], took[int(0.99 * len(took))]
    report.table("ms from XADD of a reading to its alert, through a Celery worker, at 100,000 readings/s", histogram(took))
    report.judge("celery", "reading in to alert out, p50 / p99", f"{p50:.1f} / {p99:.1f} ms", f"p99 < {P99_MS:g} ms", p99 < P99_MS)
