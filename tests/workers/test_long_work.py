"""Long work whose worker is gone is given out again: on a real Redis, as Celery's broker and for the words of who works."""
import time
from types import SimpleNamespace

import pytest
from celery.signals import task_postrun, task_prerun

from corec.config import parse
from corec.workers import tasks
from corec.workers.celery_app import analysis_queue, app_of
from corec.workers.leases import Leases
from corec.workers.long_work import PATIENCE_S, LostWork, give_back
from tests.support.nodes import until

pytestmark = [pytest.mark.slow, pytest.mark.redis]


@pytest.fixture
def config(redis_server):
    return parse({"flota": "f", "redis_config": redis_server.section, "celery_config": {}, "db_config": {"dbname": "none"},
                  "bloques": [{"id": "s", "canal": 1, "entidades": 10}]})  # fmt: skip


@pytest.fixture
def leases(config):
    """Whoever works on a message and says nothing for 200 ms is silent."""
    leases = Leases(config.redis_config, config.flota, work_ms=200)
    yield leases
    leases.close()


@pytest.fixture
def fetched(config):
    """(application, message): a task that a worker has fetched and not done."""
    app = app_of(config)
    app.send_task("corec.rescore", (1, 2), queue=analysis_queue("f"), task_id="the-task")
    connection = app.connection_for_read()      # not closed before the test is over: kombu would give back what it has
    message = connection.default_channel.basic_get(analysis_queue("f"))
    yield app, message
    message.ack()
    connection.close()
    app.close()


def waiting(redis_server):
    return redis_server.client().llen(analysis_queue("f"))


def test_a_task_whose_worker_is_gone_is_given_out_again(config, leases, fetched, redis_server):
    # Given a worker that has fetched a task and said so, and says nothing any more
    app, message = fetched
    assert waiting(redis_server) == 0
    leases.work(message.delivery_tag)
    moment = 0.0
    lost = LostWork(leases, lambda tag: give_back(app, tag), now=lambda: moment)
    assert until(lambda: leases.work_in_silence() == [message.delivery_tag])
    # When its silence has lasted, and not before
    lost.step()
    moment = PATIENCE_S / 2
    lost.step()
    assert waiting(redis_server) == 0
    moment = PATIENCE_S + 1
    lost.step()
    # Then the same task is in its queue again, once, and will not come a third time
    assert waiting(redis_server) == 1 and leases.work_in_silence() == []
    again = app.connection_for_read().default_channel.basic_get(analysis_queue("f"))
    assert again.headers["id"] == "the-task"
    again.ack()
    lost.step()
    assert waiting(redis_server) == 0 and redis_server.client().hlen("unacked") == 0


def test_a_task_that_goes_on_stays_where_it_is(config, leases, fetched, redis_server, monkeypatch):
    # Given a worker that has a task, as Celery tells its processes
    monkeypatch.setattr(tasks, "configuration", lambda: config)
    app, message = fetched
    task = SimpleNamespace(request=SimpleNamespace(properties=message.properties))
    task_prerun.send(sender=None, task=task)
    try:
        key = f"{{corec:f}}:work:{message.delivery_tag}"
        assert until(lambda: redis_server.client().pttl(key) > 0)
        # When it was not heard for a moment, and is heard again, then nothing is given back
        moment = 0.0
        lost = LostWork(leases, lambda tag: give_back(app, tag), now=lambda: moment)
        redis_server.client().delete(key)
        lost.step()
        assert until(lambda: redis_server.client().exists(key))
        moment = PATIENCE_S + 1
        lost.step()
        assert waiting(redis_server) == 0
    finally:
        task_postrun.send(sender=None, task=task)
    # And when it is done nobody waits for its words
    assert leases.work_in_silence() == [] and not redis_server.client().exists(key)


def test_turns_are_not_long_work(config, redis_server, monkeypatch):
    # Given a worker with shards, when it is given a turn, then it says nothing of it: its lease does
    monkeypatch.setattr(tasks, "_worker", object())
    task = SimpleNamespace(request=SimpleNamespace(properties={"delivery_tag": "a"}))
    task_prerun.send(sender=None, task=task)
    time.sleep(0.1)
    assert redis_server.client().keys("*work*") == []
