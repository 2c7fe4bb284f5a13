"""A real node, and what once cost it readings: clocks that are wrong, slow starts, a Redis that refuses. Nothing is lost any more."""
import threading
import time

import numpy as np
import pytest

from corec.nucleus import CoreCNucleus
from corec.plugins.runner import ExtensionRunner
from corec.publish import Publisher
from tests.support.machine_clock import MachineClock
from tests.support.nodes import SMALL, now_ms, readings, running, small, until

pytestmark = [pytest.mark.slow, pytest.mark.redis]

HOUR_MS = 3_600_000


def counted(nucleus):
    """Readings by the ledger of committed turns, without repeats."""
    ledger = nucleus.store.state.ledger
    return ledger.get("in", 0) - ledger.get("rejected_repeated", 0)


def in_rows(nucleus):
    """Readings in committed rows."""
    with nucleus.store.reader() as reader:
        return int(reader.history()["count"].sum())


def nothing_lost(nucleus, sent):
    """All that was sent is counted, and comes to be in rows."""
    assert until(lambda: counted(nucleus) == sent, 30), (nucleus.store.state.ledger, sent)
    ledger = nucleus.store.state.ledger
    assert (ledger["late"], ledger["rejected"] - ledger["rejected_repeated"], ledger["shed"]) == (0, 0, 0), ledger
    return until(lambda: in_rows(nucleus) == sent, 30)


def silences(nucleus):
    with nucleus.store.reader() as reader:
        return [alert for alert in reader.alerts() if alert["kind"] == 3]


class Load:
    """A device that sends, from a thread of its own, until it is stopped."""

    def __init__(self, publisher, every_s=0.02):
        self.sent, self._publisher, self._every = 0, publisher, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *failure):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while not self._stop.wait(self._every):
            self._publisher.publish(readings(range(10)), time=now_ms())
            self.sent += 10


def no_memory(client):
    client.config_set("maxmemory", 1)
    return lambda: client.config_set("maxmemory", 0)


def no_replicas(client):
    client.config_set("min-replicas-to-write", 3)
    return lambda: client.config_set("min-replicas-to-write", 0)


@pytest.mark.parametrize("refuse", [no_memory, no_replicas])
def test_redis_refuses_writes_for_eight_seconds_under_load(own_redis, tmp_path, refuse):
    # Given a node and a device under load, which has a reading above its limit while Redis refuses
    config, client = small(redis_config=own_redis.section, retraso_max=2), own_redis.client()
    with running(config, tmp_path / "node") as nucleus, Publisher(config, name="d", folder=tmp_path / "tail") as publisher:
        with Load(publisher) as load:
            assert until(lambda: counted(nucleus) > 100)
            allow, clock = refuse(client), nucleus.engine.clock
            time.sleep(4)
            publisher.publish(readings([20], 101.0), time=now_ms())
            time.sleep(4)
            # When it takes them again, then time stood still meanwhile
            assert nucleus.engine.clock - clock < 3_000
            allow()
            time.sleep(1)
        # And nothing is lost, and the limit is told
        assert nothing_lost(nucleus, load.sent + 1)
        assert until(lambda: nucleus.pipeline.totals["alerts"] == 1)


def test_a_node_that_starts_again_under_load_with_a_slow_plugin(tmp_path, monkeypatch):
    # Given a device that goes on sending while its node starts again, and a plugin that takes 3 s to import
    config, start, clocks = small(), ExtensionRunner.start, []

    def slowly(extensions):
        clocks.append(nucleus.engine.clock)
        time.sleep(3)
        clocks.append(nucleus.engine.clock)
        start(extensions)

    with Publisher(config, name="d", data=tmp_path) as publisher, Load(publisher) as load:
        with running(config, tmp_path) as nucleus:
            assert until(lambda: counted(nucleus) > 100)
        monkeypatch.setattr(ExtensionRunner, "start", slowly)
        nucleus = CoreCNucleus(config, data=tmp_path, with_sources=False)
        nucleus.start()
        # Then its time does not go on before it takes readings
        assert clocks[0] == clocks[1]
        time.sleep(1)
        load.__exit__()
        # And nothing is lost
        assert nothing_lost(nucleus, load.sent)
        nucleus.stop()


@pytest.mark.parametrize("ahead", [4_000, 6_000, 2 * HOUR_MS])
def test_a_reader_of_redis_whose_own_clock_is_ahead(redis_server, tmp_path, ahead):
    # Given a node on Redis whose machine's clock is ahead, and a batch now and then, with silence between them
    config = small(redis_config=redis_server.section)
    node = running(config, tmp_path / "node", MachineClock(-ahead))
    with node as nucleus, Publisher(config, name="d", folder=tmp_path / "tail") as publisher:
        for _ in range(4):
            publisher.publish(readings(range(100)), time=now_ms())
            time.sleep(2)
        # Then its clock has no say: nothing is late, and every row is the first of its window
        assert nothing_lost(nucleus, 400)
        assert abs(nucleus.engine.clock - now_ms()) < 3_000
        with nucleus.store.reader() as reader:
            assert not np.isnan(reader.history()["fitness"]).any()


@pytest.mark.parametrize("behind", [-2 * HOUR_MS, -100 * HOUR_MS, 2 * HOUR_MS])
def test_a_gateway_whose_clock_was_wrong_at_its_start_and_is_put_right(tmp_path, behind):
    # Given a gateway whose clock is wrong, with sensors that have none of their own: their readings have its time
    clock = MachineClock(behind)
    config = small(bloques=[{**block, "silencio_max": 4} for block in SMALL["bloques"]])
    with running(config, tmp_path, clock) as nucleus:
        for _ in range(20):
            nucleus.submit(readings(range(100)), time=clock.wall_ms()).result()
            time.sleep(0.05)
        assert until(lambda: counted(nucleus) == 2000)
        # When the clock is put right, and they go on
        clock.behind = 0
        assert until(lambda: abs(nucleus.engine.clock - now_ms()) < 3_000)
        for _ in range(20):
            nucleus.submit(readings(range(100)), time=clock.wall_ms()).result()
            time.sleep(0.05)
        # Then nothing is lost, before or after, and nobody fell silent
        assert nothing_lost(nucleus, 4000)
        assert silences(nucleus) == []
        # Until they do
        assert until(lambda: len(silences(nucleus)) == 100, 20)
