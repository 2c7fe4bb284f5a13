"""Small nodes for tests: short windows, few entities, a clock that tests may move."""
import time
from contextlib import contextmanager

import numpy as np

from corec._core.wire import encode_frames
from corec.common.clock import MACHINE
from corec.config import parse
from corec.nucleus import CoreCNucleus

SMALL = {
    "instance_id": "test1", "retraso_max": 0.2, "max_skew": 60,
    "bloques": [
        {"id": "sensores", "canal": 1, "entidades": 2500, "ventana": 0.2, "limites": {"bajo": 0, "alto": 100}},
        {"id": "puertas", "canal": 2, "entidades": 50, "entidades_por_bloque": 25, "ventana": 0.2},
    ],
}  # fmt: skip


def small(**changes):
    """The small configuration, with top-level keys changed."""
    return parse({**SMALL, **changes})


def patient(**changes):
    """The same with windows of a minute: readings that a busy machine holds up are not late."""
    return small(retraso_max=30, **{"bloques": [{**block, "ventana": 60} for block in SMALL["bloques"]], **changes})


@contextmanager
def running(config, data, clock=MACHINE):
    """A node on *data*; its ledger is balanced when it stops."""
    nucleus = CoreCNucleus(config, data=data, with_sources=False, clock=clock)
    nucleus.start()
    try:
        yield nucleus
    finally:
        nucleus.stop()
        ledger = nucleus.engine.ledger
        assert ledger["in"] == sum(ledger[part] for part in ("stored", "filtered", "late", "shed", "rejected"))


def read_little_ahead(nucleus, ahead_bytes, spool_after_s):
    """A node on Redis keeps little of what it reads in memory, and spools soon."""
    reader = nucleus.redis.intake.reader
    reader.ahead_bytes, reader.spool_after_s = ahead_bytes, spool_after_s


def now_ms():
    return time.time_ns() // 1_000_000


def readings(ids, values=20.0, canal=1, states=True):
    """Frames of these ids, packed."""
    return encode_frames(np.asarray(ids, np.uint32), canal, values, states)


def quickest(attempt, seconds, tries=6):
    """The seconds of the quickest of some attempts, up to the first below *seconds*: what else a machine does only adds to a time."""
    best = float("inf")
    for _ in range(tries):
        began = time.monotonic()
        attempt()
        best = min(best, time.monotonic() - began)
        if best < seconds:
            break
    return best


def until(condition, seconds=60.0):
    """Wait for *condition*; its last value."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return value
