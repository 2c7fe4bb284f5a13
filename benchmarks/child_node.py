"""A node embedded in a process of its own, under load; what it did, as lines of JSON.

python -m benchmarks.child_node sustain DATA ENTITIES SECONDS RATE
python -m benchmarks.child_node weigh DATA ENTITIES
python -m benchmarks.child_node fill DATA ENTITIES READINGS     (then sleeps, to be killed)
"""
import json
import sys
import time
from itertools import cycle
from pathlib import Path

import numpy as np

from benchmarks.workloads import frames_of
from corec.config import parse
from corec.node.status import rss_bytes
from corec.nucleus import CoreCNucleus

#: Readings a batch, as the budgets say; distinct batches that a load is made of.
BATCH, BATCHES = 1_000, 2_000


def config_of(entities):
    """One swarm, no source; room for ten million entities."""
    return {"instance_id": "bench", "max_ram_mb": 4096, "bloques": [{"id": "s", "canal": 1, "entidades": entities}]}


def now_ms():
    return time.time_ns() // 1_000_000


def say(**facts):
    print(json.dumps(facts), flush=True)


def started(data, entities):
    nucleus = CoreCNucleus(parse(config_of(entities)), data=Path(data), with_sources=False)
    nucleus.start()
    return nucleus


def until_committed(nucleus):
    """Wait until the store holds all that the journal has."""
    while nucleus.store.state.offset < nucleus.journal.last:
        time.sleep(0.005)


def touch_all(nucleus, entities):
    """One reading of every entity, in order, committed."""
    rng = np.random.default_rng(1)
    for first in range(0, entities, BATCH):
        ticket = nucleus.submit(frames_of(np.arange(first, min(first + BATCH, entities)), rng).tobytes(), time=now_ms())
    ticket.result()     # they become durable in order
    until_committed(nucleus)


def batches_of(entities):
    rng = np.random.default_rng(2)
    return [frames_of(rng.integers(0, entities, BATCH, np.uint32), rng).tobytes() for _ in range(BATCHES)]


def sustain(data, entities, seconds, rate):
    """*rate* readings a second for so long; how many a second were committed, the last one included."""
    nucleus, batches = started(data, entities), cycle(batches_of(entities))
    began, cpu, sent, ticket = time.monotonic(), time.process_time(), 0, None
    while (passed := time.monotonic() - began) < seconds:
        for _ in range(int(passed * rate / BATCH) - sent):
            ticket, sent = nucleus.submit(next(batches), time=now_ms()), sent + 1
        time.sleep(0.002)
    ticket.result()
    accepted = time.monotonic() - began
    until_committed(nucleus)
    committed = time.monotonic() - began
    status = nucleus.status()
    say(sent=sent * BATCH, accepted_s=accepted, committed_s=committed, cores=(time.process_time() - cpu) / committed, rss=rss_bytes(),
        ledger=status["ledger"], snapshots=status["snapshots"]["count"], trimmed=nucleus.journal.first > 1, journal=status["journal"],
        commit=status["commit"])
    nucleus.stop()


def weigh(data, entities):
    """Resident memory once every entity has had a reading."""
    nucleus = started(data, entities)
    touch_all(nucleus, entities)
    time.sleep(3.5)     # windows close, rows are written
    say(rss=rss_bytes())
    nucleus.stop()


def fill(data, entities, readings):
    """A reading of every entity, a snapshot, then *readings* more, which a start after a kill must replay."""
    nucleus = started(data, entities)
    touch_all(nucleus, entities)
    nucleus.pipeline.take_snapshot()
    for batch, _ in zip(cycle(batches_of(entities)), range(readings // BATCH)):
        ticket = nucleus.submit(batch, time=now_ms())
    ticket.result()
    until_committed(nucleus)
    status = nucleus.status()
    say(snapshots=status["snapshots"]["count"], turns=status["commit"]["turns"], readings=status["ledger"]["in"])
    time.sleep(600)


if __name__ == "__main__":
    work, data, *numbers = sys.argv[1:]
    {"sustain": sustain, "weigh": weigh, "fill": fill}[work](data, *map(int, numbers))
