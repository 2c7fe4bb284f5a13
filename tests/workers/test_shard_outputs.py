"""What a shard sends to output streams when its owner changes: each entry once."""
import threading

import pytest
from msgspec import structs

from corec.config import parse
from corec.pipeline.redis_outputs import Outputs, position_key
from corec.publish import Publisher
from corec.storage.postgres.schema import migrate_if_allowed
from corec.workers.shard import open_shard
from tests.support.nodes import now_ms, readings, until
from tests.support.servers.proxy import Proxy

pytestmark = [pytest.mark.slow, pytest.mark.redis, pytest.mark.postgres]

ALERTS = "corec:alerts"


@pytest.fixture
def config(database, redis_server):
    config = parse({"flota": "f", "fragmentos": 1, "db_config": database, "redis_config": redis_server.section, "celery_config": {},
                    "bloques": [{"id": "s", "canal": 1, "entidades": 400, "limites": {"alto": 50}}]})  # fmt: skip
    migrate_if_allowed(config.db_config)
    return config


def alerting(config, folder, ids):
    """A shard that has raised an alert for each of these, in turns of their own."""
    return more(open_shard(config, 0, threading.Event()), config, folder, ids)


def more(shard, config, folder, ids):
    with Publisher(config, name="device", folder=folder) as publisher:
        for id in ids:
            before = shard.counts()["alerts"]
            publisher.publish(readings([id], 99.0), time=now_ms())
            assert until(lambda before=before: (shard.step() and False) or shard.counts()["alerts"] > before)
    return shard


def alerts(redis_server):
    return [fields[b"m"][:4] for _, fields in redis_server.client().xrange(ALERTS)]


def sent(redis_server):
    """The number of the newest entry of the shard's outbox that is on a stream."""
    return max(int(redis_server.client().get(position_key(stream, "f.s00")) or 0) for stream in (ALERTS, "corec:messages:1"))


def names(ids):
    return [id.to_bytes(4, "big") for id in ids]


def test_each_alert_goes_out_once_whoever_has_the_shard(config, redis_server, tmp_path):
    # Given a shard that was left, one whose owner was killed, and one that is left again
    alerting(config, tmp_path, range(0, 5)).leave(0)
    alerting(config, tmp_path, range(5, 10)).abandon()
    last = alerting(config, tmp_path, range(10, 15))
    # Then every alert is on the stream once, in order
    assert until(lambda: len(alerts(redis_server)) >= 15), alerts(redis_server)
    last.abandon()
    assert alerts(redis_server) == names(range(15))


def test_a_redis_that_forgot_is_not_sent_the_whole_outbox_again_by_the_next_owner(config, redis_server, tmp_path):
    # Given a shard that has sent many alerts, and a Redis that forgets everything while it changes hands
    shard = alerting(config, tmp_path, range(0, 10))
    assert until(lambda: sent(redis_server) == 20), sent(redis_server)     # a message and an alert of each
    more(shard, config, tmp_path, [10])     # the record of this turn says that those are sent
    shard.leave(0)
    redis_server.client().flushall()
    # When the next owner raises one, then that comes, and of those before at most what no turn has noted as sent
    following = alerting(config, tmp_path / "other", [20])
    assert until(lambda: names([20])[0] in alerts(redis_server))
    following.abandon()
    assert set(alerts(redis_server)) <= set(names([10, 20])), alerts(redis_server)


class Store:
    """An outbox of five entries."""

    def reader(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        pass

    def outbox_behind(self, number, limit):
        return [(each, ALERTS, 0, readings([each])) for each in range(number + 1, 6)]


def test_two_owners_at_once_send_each_entry_once(redis_server):
    # Given an owner on a slow line, and one that comes at its nth exchange with Redis: between its look at the position and its sending too
    client, overtaken = redis_server.client(), 0
    for nth in range(1, 20):
        client.flushall()
        with Proxy(redis_server.port) as proxy:
            proxy.delay = 0.02
            slow = structs.replace(redis_server.address, port=proxy.port)
            earlier, later = (Outputs(server, Store, dict, folder=None, instance="f.s00") for server in (slow, redis_server.address))
            # When both send what there is, as at their end
            earlier.start()
            earlier.ask_to_stop()
            assert until(lambda proxy=proxy, nth=nth: proxy.exchanges >= nth)
            later.start()
            later.stop()
            earlier.stop()
        # Then each entry is there once
        assert alerts(redis_server) == names(range(1, 6)), nth
        assert client.get(position_key(ALERTS, "f.s00")) == b"5"
        assert sorted((earlier.sent, later.sent)) == [0, 5] and earlier.position == later.position == 5
        overtaken += earlier.sent == 0
        if earlier.sent:
            break
    assert overtaken > 3 and earlier.sent
