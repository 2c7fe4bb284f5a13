"""A shard's alerts while PostgreSQL does not take their turn: turns at once, marked, and once."""
import logging
import threading

import pytest

from corec.config import parse
from corec.nucleus import CoreCNucleus
from corec.pipeline.recent_rows import WorkerTurn
from corec.publish import Publisher
from corec.storage.open_store import open_reader
from corec.storage.postgres.schema import migrate_if_allowed
from corec.workers.fleet_news import NewsReader
from corec.workers.shard import open_shard
from tests.support.nodes import now_ms, readings, until
from tests.support.servers.postgres import running as running_postgres
from tests.support.servers.redis import running as running_redis

pytestmark = [pytest.mark.slow, pytest.mark.redis, pytest.mark.postgres]

ALERTS = "corec:alerts"


@pytest.fixture(scope="module")
def servers():
    with running_postgres() as postgres, running_redis() as redis:
        yield postgres, redis


@pytest.fixture
def config(servers):
    postgres, redis = servers
    config = parse({"flota": "f", "fragmentos": 1, "db_config": postgres.address(postgres.new_database()), "redis_config": redis.section,
                    "celery_config": {}, "bloques": [{"id": "s", "canal": 1, "entidades": 100, "limites": {"alto": 50}}]})  # fmt: skip
    migrate_if_allowed(config.db_config)
    return config


@pytest.fixture
def turns(config, servers):
    """What a node of the fleet hears."""
    received = []
    reader = NewsReader(config.redis_config, config.flota, received.append)
    reader.start()
    assert until(lambda: any(client["cmd"] == "xread" for client in servers[1].client().client_list()))
    yield received
    reader.stop()


@pytest.fixture
def stepping(config):
    """A shard that is stepped as by a worker's turns."""
    shard, over = open_shard(config, 0, threading.Event()), threading.Event()
    thread = threading.Thread(target=lambda: [shard.step() for _ in iter(over.is_set, True)])
    thread.start()
    yield shard
    over.set()
    shard.give_up()
    thread.join(20)
    shard.abandon()


def test_alerts_of_a_turn_that_postgresql_does_not_take_are_told_at_once_and_once(config, servers, turns, stepping, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    with Publisher(config, name="device", folder=tmp_path / "tail") as publisher:
        # Given a shard whose store ends
        publisher.publish(readings([1], 20.0), time=now_ms())
        assert until(lambda: stepping.counts()["turns"] > 0)
        servers[0].stop()
        try:
            # When readings raise alerts
            publisher.publish(readings([1, 2], 99.0), time=now_ms())
            # Then nodes hear of them, as provisional
            assert until(lambda: any(len(each.alerts) for each in turns), 30)
        finally:
            servers[0].start()
        # And of their commit when the store is back, as of something that they know
        assert until(lambda: len([each for each in turns if len(each.alerts)]) == 2, 60)
    first, then = [each for each in turns if len(each.alerts)]
    assert (first.provisional, first.alerted_before, len(first.rows)) == (True, False, 0)
    assert (then.provisional, then.alerted_before) == (False, True)
    assert first.alerts["id"].tolist() == then.alerts["id"].tolist() == [1, 2]
    # And the worker's log has each once, the store too
    lines = [record.getMessage() for record in caplog.records if "provisional" in record.getMessage()]
    assert len(lines) == 2 and lines[0].startswith("[Worker-f.s00] high: s/0:1 at 99, limit 50; provisional"), lines
    with open_reader(config, tmp_path) as reader:
        assert sorted(reader.alerts()["id"].tolist()) == [1, 2]


def test_subscribers_on_a_node_hear_of_a_workers_alerts_once(config, turns, stepping, tmp_path):
    # Given a subscriber of a node, and what it hears of a turn that waits, of its commit, and of one that did not wait
    with Publisher(config, name="device", folder=tmp_path / "tail") as publisher:
        publisher.publish(readings([1], 99.0), time=now_ms())
        assert until(lambda: any(len(each.alerts) for each in turns), 30)
    alerts = next(each.alerts for each in turns if len(each.alerts))
    nucleus, received = CoreCNucleus(config, data=tmp_path / "node"), []
    subscription = nucleus.subscriptions.add(ALERTS, received.append)
    subscription.put = received.append
    turns = WorkerTurn(alerts[:0], alerts)
    for each in (turns._replace(provisional=True), turns._replace(alerted_before=True), turns):
        nucleus.take_worker_turn(each)
    # Then it has the alert of each turn once, and knows which was provisional
    assert [entry.fields.get(b"provisional") for entry in received] == [b"1", None]
    assert len({entry.frames for entry in received}) == 1
