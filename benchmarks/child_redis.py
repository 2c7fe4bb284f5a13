"""A node on Redis and what feeds it, each in a process of its own; what they did, as lines of JSON.

python -m benchmarks.child_redis node PORT DATA ENTITIES        (until standard input ends)
python -m benchmarks.child_redis offer PORT ENTITIES SECONDS RATE
python -m benchmarks.child_redis alerts PORT ENTITIES SECONDS RATE
"""
import struct
import sys
import threading
import time
from itertools import count, cycle
from pathlib import Path

import numpy as np
import redis

from benchmarks.child_node import BATCH, batches_of, config_of, now_ms, say
from corec._core.wire import encode_frames, pack_envelope
from corec.config import parse
from corec.node.status import rss_bytes
from corec.nucleus import CoreCNucleus

IN, ALERTS = "{s00}:in", "corec:alerts"
#: Commands that a producer sends in one go.
PIPELINE = 16
#: Seconds between two readings beyond their limit.
EVERY_S = 0.02
LIMIT = 1_000.0


def on_redis(port, entities):
    config = config_of(entities) | {"redis_config": {"host": "127.0.0.1", "port": port, "max_mb": 512}}
    config["bloques"][0]["limites"] = {"alto": LIMIT}
    return parse(config)


def node(port, data, entities):
    """Run a node; answer each line of input with its figures."""
    nucleus = CoreCNucleus(on_redis(int(port), int(entities)), data=Path(data), with_sources=False)
    nucleus.start()
    say(ready=True)
    for _ in sys.stdin:
        status = nucleus.status()
        say(readings=nucleus.store.state.ledger.get("in", 0), cpu=time.process_time(), rss=rss_bytes(), ledger=status["ledger"],
            commit=status["commit"], redis=status["redis"], load=status["load"])
    nucleus.stop()


def offer(port, entities, seconds, rate):
    """*rate* readings a second, packed and numbered here, 1,000 an entry."""
    client, batches = redis.Redis(port=port), cycle(batches_of(entities))
    numbers = count(0, BATCH)
    began, cpu, sent = time.monotonic(), time.process_time(), 0
    while (passed := time.monotonic() - began) < seconds:
        due = int(passed * rate / BATCH) - sent
        if due <= 0:
            time.sleep(0.001)
            continue
        with client.pipeline(transaction=False) as pipe:
            for _ in range(min(due, PIPELINE)):
                pipe.execute_command("XADD", IN, "*", b"m", pack_envelope(next(batches), producer=1, epoch=1, sequence=next(numbers),
                                                                         time=now_ms()))
                sent += 1
            pipe.execute()
    taken = time.monotonic() - began
    say(sent=sent * BATCH, seconds=taken, cores=(time.process_time() - cpu) / taken)


def alerts(port, entities, seconds, rate):
    """The same load, and now and then a reading beyond its limit: ms from its XADD to its alert in the stream."""
    client, batches = redis.Redis(port=port), cycle(batches_of(entities))
    numbers, marks = count(0, BATCH), count()
    sent_at, took = {}, []
    listener = threading.Thread(target=listen, args=(redis.Redis(port=port), sent_at, took), daemon=True)
    listener.start()
    time.sleep(0.2)
    began, sent, alert_due = time.monotonic(), 0, 0.5
    while (passed := time.monotonic() - began) < seconds:
        if int(passed * rate / BATCH) <= sent:
            time.sleep(0.0005)
            continue
        frames = next(batches)
        if passed >= alert_due:
            mark, alert_due = next(marks), passed + EVERY_S
            frames = frames[:-10] + encode_frames(np.array([mark], np.uint32), 1, LIMIT + 1 + mark, True)
            sent_at[mark] = time.monotonic()
        client.execute_command("XADD", IN, "*", b"m", pack_envelope(frames, producer=1, epoch=1, sequence=next(numbers), time=now_ms()))
        sent += 1
    time.sleep(1.0)
    say(sent=sent * BATCH, marks=len(sent_at), took_ms=[round(1000 * each, 2) for each in took])


def listen(client, sent_at, took):
    """Read alerts and record how long each took."""
    after = "$"
    while True:
        for _, entries in client.xread({ALERTS: after}, block=1000) or ():
            now = time.monotonic()
            after = entries[-1][0]
            for _, fields in entries:
                for id, _, value, _ in struct.iter_unpack("!Ibf?", fields[b"m"]):
                    if id in sent_at and value > LIMIT:     # not a block's anomaly, which names the block's first entity
                        took.append(now - sent_at[id])


if __name__ == "__main__":
    work, port, *rest = sys.argv[1:]
    if work == "node":
        node(port, *rest)
    else:
        {"offer": offer, "alerts": alerts}[work](int(port), *map(int, rest))
