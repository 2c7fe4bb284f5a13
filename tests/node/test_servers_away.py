"""PostgreSQL is stopped, the process itself, while readings come by way of a real Redis: they wait on disk and drain in order."""
import os
import threading
import time

import numpy as np
import pytest

from corec.config import parse
from corec.errors import DiskFull
from corec.node.status import rss_bytes
from corec.publish import Publisher
from tests.support.nodes import now_ms, read_little_ahead, readings, running, until
from tests.support.servers.postgres import running as postgres_running

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.redis, pytest.mark.postgres]

CHAOS = bool(os.environ.get("COREC_CHAOS"))
AWAY_S = 60 if CHAOS else 6
RATE = 50_000 if CHAOS else 20_000
BATCH = 500
#: The share of what waits that may be on Redis: 8 MB are read ahead in the long form, and 2 MB are in the turn that waits.
ON_REDIS = 0.8 if CHAOS else 0.5
#: Long, so that a batch which a busy machine holds up is not late.
LATENESS_S = 3.0
CHANNELS = {1: 2500, 4: 1000, 2: 50}
FIRST = {1: 0, 4: 2500, 2: 3500}


@pytest.fixture(scope="module")
def own_postgres():
    """A server to stop and start."""
    with postgres_running() as server:
        yield server


@pytest.fixture
def config(own_postgres, redis_server):
    """The configuration of a node with both servers."""
    blocks = [{"id": f"c{canal}", "canal": canal, "entidades": count, "ventana": 0.5} for canal, count in CHANNELS.items()]
    db = {**own_postgres.address(own_postgres.new_database()), "password": own_postgres.password}
    return {"instance_id": "away1", "retraso_max": LATENESS_S, "bloques": blocks, "redis_config": redis_server.section, "db_config": db}


def once(nucleus) -> int:
    """Readings that were counted and committed, each once."""
    ledger = nucleus.store.state.ledger
    return ledger.get("in", 0) - ledger.get("rejected_repeated", 0)


def stored(server, config) -> tuple[int, int]:
    """What is in bloques: readings over all rows, and rows that stand twice."""
    with server.connected(config["db_config"]["dbname"]) as cursor:
        cursor.execute('SELECT coalesce(sum("count" + errors), 0)::bigint FROM bloques')
        (total,) = cursor.fetchone()
        cursor.execute('SELECT count(*) FROM (SELECT FROM bloques GROUP BY block, "timestamp", turn HAVING count(*) > 1) AS twice')
        return total, cursor.fetchone()[0]


class Flow(threading.Thread):
    """A device that sends RATE readings a second until it is told to end."""

    def __init__(self, publisher: Publisher) -> None:
        super().__init__(name="flow", daemon=True)
        self._publisher, self._over = publisher, threading.Event()
        self.sent = 0

    def run(self) -> None:
        ids, rng, began = np.arange(BATCH), np.random.default_rng(1), time.monotonic()
        while not self._over.is_set():
            self._publisher.submit(readings((ids + self.sent) % 2500, rng.normal(size=BATCH)), now_ms()).result(60)
            self.sent += BATCH
            self._over.wait(max(0.0, began + self.sent / RATE - time.monotonic()))

    def finish(self) -> int:
        self._over.set()
        self.join(60)
        return self.sent


def test_postgresql_is_stopped_while_readings_flow_through_redis(config, own_postgres, redis_server, tmp_path):
    # Given a node on both servers, and a device that sends all the time
    parsed = parse(config)
    with running(parsed, tmp_path / "node") as nucleus, Publisher(parsed, name="d", folder=tmp_path / "tail") as publisher:
        if not CHAOS:  # as much ahead as five seconds fill
            read_little_ahead(nucleus, 100_000, 0.2)
        flow = Flow(publisher)
        flow.start()
        assert until(lambda: once(nucleus) > RATE, 60)
        for _ in range(3):      # what else a machine does only makes it slower
            # When PostgreSQL is stopped, then the node says since when, and entries wait in the spool
            drained, seconds = outage(nucleus, own_postgres, redis_server, flow)
            # And when it is back, then what waited is committed at five times the live rate or more, while new readings come
            if drained / seconds >= 5 * RATE:
                break
        else:
            raise AssertionError((drained, seconds))
        # And each reading is in one row, none late
        sent = flow.finish()
        assert until(lambda: once(nucleus) == sent, 60), (once(nucleus), sent)
        assert nucleus.engine.ledger["late"] == nucleus.engine.marks.gaps == 0
        assert until(lambda: stored(own_postgres, config) == (sent, 0), 60), (stored(own_postgres, config), sent)
        print(f"drained {drained} in {seconds:.2f} s: {drained / seconds / RATE:.0f} times the live rate")


def outage(nucleus, server, redis_server, flow) -> tuple[int, float]:
    """Readings that were committed when it was over, until a second's worth of the live ones waited, and the seconds of that."""
    before, at_stop = rss_bytes(), once(nucleus)
    server.stop()
    try:
        time.sleep(AWAY_S)
        status = nucleus.status()
        assert status["store"]["away_since"] and status["disk"]["state"] == "away"
        # entries wait in the spool and not on Redis, and memory does not grow
        assert nucleus.redis.intake.reader.spool.waiting
        assert redis_server.client().xlen("{s00}:in") * BATCH < (flow.sent - at_stop) * ON_REDIS
        assert rss_bytes() - before < 50e6
    finally:
        server.start()
    turn, waiting = nucleus.store.state.turn, flow.sent - at_stop
    assert until(lambda: nucleus.store.state.turn > turn)
    began, first = time.monotonic(), once(nucleus)
    assert until(lambda: flow.sent - once(nucleus) < RATE, 60 + waiting / RATE)
    assert first < at_stop + waiting / 2 and flow.sent - at_stop > waiting
    return once(nucleus) - first, time.monotonic() - began


def test_what_falls_off_a_full_spool_is_counted_by_channel_and_cause(config, own_postgres, tmp_path):
    # Given a node with little room on disk and on Redis, and a PostgreSQL that stops
    config = config | {"max_disk_mb": 1, "redis_config": config["redis_config"] | {"max_mb": 1}}
    rng, sent, refused = np.random.default_rng(1), dict.fromkeys(CHANNELS, 0), dict.fromkeys(CHANNELS, 0)

    def send(nucleus, count: int) -> None:
        for number in range(count):
            canal = (1, 4, 1, 4, 1, 4, 2)[number % 7]
            ids = FIRST[canal] + rng.integers(0, CHANNELS[canal], 1000)
            ticket = nucleus.submit(readings(ids, rng.normal(size=1000), canal), time=now_ms())
            sent[canal] += 1000
            refused[canal] += 1000 * isinstance(ticket.exception(60), DiskFull)

    def is_full(nucleus) -> bool:
        send(nucleus, 7)
        met = nucleus.status()["disk"]["met"]
        return sum(refused.values()) > 0 and met.get("spool", {}).get("state") == "full"

    with running(parse(config), tmp_path) as nucleus:
        read_little_ahead(nucleus, 10_000, 0.1)
        send(nucleus, 7)
        assert until(lambda: once(nucleus) == 7000, 60)
        own_postgres.stop()
        try:
            # When readings go on coming until the spool, the stream and the tail are full
            assert until(lambda: is_full(nucleus), 60), nucleus.status()["disk"]
            # Then what was refused is counted, by channel and cause, and the status says what is full
            counted = {str(canal): count for canal, count in refused.items() if count}
            assert until(lambda: nucleus.status()["shed"].get("no room on disk") == counted, 60), (nucleus.status()["shed"], refused)
            assert {name: each["state"] for name, each in nucleus.status()["disk"]["met"].items()} | {"store": "away"} == \
                {"store": "away", "spool": "full", "journal": "full"}
        finally:
            own_postgres.start()
        # And when PostgreSQL is back, all that was accepted is committed, once and in order, and the ledger balances
        accepted = sum(sent.values()) - sum(refused.values())
        assert until(lambda: once(nucleus) == accepted, 60), (nucleus.store.state, accepted)
        send(nucleus, 7)
        total = sum(sent.values())
        assert until(lambda: nucleus.report_refused() or nucleus.store.state.ledger["in"] == total), (nucleus.store.state, sent)
        ledger = nucleus.store.state.ledger
        assert ledger["shed"] == sum(refused.values())
        assert ledger["late"] == ledger["rejected"] == 0
        assert until(lambda: not nucleus.status()["disk"]["met"], 60), nucleus.status()["disk"]
        assert until(lambda: stored(own_postgres, config) == (sum(sent.values()) - sum(refused.values()), 0), 60)
