"""A shard goes from one owner to the next, on a real Redis and a real PostgreSQL: what is left behind, and what is not."""
import threading
import time

import pytest

from corec.config import parse
from corec.errors import ServerAway, ServerError
from corec.publish import Publisher
from corec.storage.open_store import open_reader, open_shard_snapshots
from corec.storage.postgres.schema import migrate_if_allowed
from corec.streams.redis.keys import shard_key
from corec.workers.orders import order
from corec.workers.shard import open_shard
from tests.support.nodes import now_ms, readings, until


@pytest.fixture
def config(database, redis_server):
    config = parse({"flota": "f", "fragmentos": 2, "db_config": database, "redis_config": redis_server.section, "celery_config": {},
                    "bloques": [{"id": "s", "canal": 1, "entidades": 400, "entidades_por_bloque": 100}]})  # fmt: skip
    migrate_if_allowed(config.db_config)
    return config


def stepped(shard, done, seconds=60):
    return until(lambda: shard.step() and False or done(), seconds)


@pytest.fixture
def busy(config, tmp_path, redis_server):
    """A shard that has folded and committed a thousand readings."""
    shard = open_shard(config, 0, threading.Event())
    with Publisher(config, name="device", folder=tmp_path / "tail") as publisher:
        for _ in range(10):
            publisher.publish(readings(range(100)), time=now_ms())
        assert publisher.flush(60)
    assert stepped(shard, lambda: shard.counts()["readings"] == 1000)
    shard._pipeline.end_turn()
    return shard


def folded(shard):
    """Readings in all, by this owner and those before it."""
    return shard._pipeline.ledger["in"]


def leave(shard, seconds=0.0):
    """As a worker lets go of it."""
    shard.finish()
    shard.leave(time.monotonic() + seconds)


@pytest.mark.parametrize(("seconds", "replays"), [(20, False), (0, True)], ids=["in time", "too late"])
def test_a_shard_that_is_given_away_leaves_a_snapshot(config, busy, seconds, replays):
    # Given a shard that has folded a little: Redis may not have it any more when the next owner looks for it
    turn = busy._opened.store.state.turn
    # When it is left, with time for that or without
    leave(busy, seconds)
    # Then the next owner folds nothing again, or what it has to
    following = open_shard(config, 0, threading.Event())
    assert (following._opened.replayed > 0) == replays
    assert following._opened.store.state.turn == turn and folded(following) == 1000
    following.abandon()


def test_a_shard_that_another_has_taken_leaves_nothing(config, busy):
    # Given a shard that another worker has opened meanwhile
    following = open_shard(config, 0, threading.Event())
    before = open_shard_snapshots(config, 0).load().generation
    # When the earlier owner leaves it, then its snapshot does not come between those of the later one
    busy.leave(time.monotonic() + 20)
    assert open_shard_snapshots(config, 0).load().generation == before
    following.abandon()


def test_what_redis_forgot_before_the_next_owner_came_counts_once(config, tmp_path, redis_server, monkeypatch):
    # Given a shard whose owner is killed: senders have not heard of what it committed, and Redis forgets everything
    monkeypatch.setattr("corec.pipeline.redis_outputs.Outputs._mark", lambda outputs: None)
    shard = open_shard(config, 0, threading.Event())
    send(config, tmp_path, 30)
    assert stepped(shard, lambda: shard.counts()["readings"] == 3000)
    shard._pipeline.end_turn()
    clock = shard._opened.engine.clock
    shard.abandon()
    redis_server.client().flushall()
    # When another worker has it, and senders send again what they hold, and more
    following = open_shard(config, 0, threading.Event())
    assert following._opened.engine.clock >= clock and folded(following) == 3000
    send(config, tmp_path, 20)
    assert stepped(following, lambda: folded(following) >= 8000)
    following._pipeline.end_turn(now_ms() + 60_000)
    # Then each reading counts once, and no window is stored twice
    ledger = following._opened.store.state.ledger
    assert (ledger["in"], ledger["rejected_repeated"]) == (8000, 3000)
    assert following._opened.engine.marks.gaps == 0
    with open_reader(config, tmp_path) as reader:
        rows = reader.history()
    assert len(rows) == len({(row["block"], row["window"]) for row in rows}) > 0
    assert following._opened.snapshots.load().turn > 0
    following.abandon()


def send(config, tmp_path, batches):
    """So many of a hundred readings, a tenth of a second apart by their times."""
    with Publisher(config, name="device", folder=tmp_path / "tail") as publisher:
        for number in range(batches):
            publisher.publish(readings(range(100)), time=now_ms() - 100 * (batches - number))
        assert publisher.flush(10)


def test_an_order_that_was_taken_and_not_carried_out_is_the_next_owners(config, busy, redis_server):
    # Given an order that a shard has taken when it is let go
    answers = []
    sender = threading.Thread(target=lambda: answers.append(order(config.redis_config, 0, {"op": "repair", "block": "s/0"}, timeout=60)))
    sender.start()
    client, key = redis_server.client(), shard_key(0, "orders")
    assert until(lambda: client.llen(key) == 1)
    busy._orders._due = 0
    for taken in busy._orders.due():
        busy._obey(taken)
    assert client.llen(key) == 0
    leave(busy)
    # Then the next owner carries it out, and the sender hears in which turn
    following = open_shard(config, 0, threading.Event())
    assert stepped(following, lambda: not sender.is_alive())
    assert answers[0]["turn"] == following._opened.store.state.turn
    following.abandon()


def test_an_order_that_nobody_takes_is_taken_back(config, redis_server):
    # Given a shard that nobody has, when it is ordered something, then that is not carried out later, when nobody expects it
    with pytest.raises(ServerError, match="nobody answered for shard 1 within 0.1 s, and it is taken back"):
        order(config.redis_config, 1, {"op": "repair", "block": "s/1"}, timeout=0.1)
    client = redis_server.client()
    assert client.llen(shard_key(1, "orders")) == 0
    # And one that was taken may be
    taken = threading.Thread(target=lambda: until(lambda: client.lpop(shard_key(1, "orders")), 60))
    taken.start()
    with pytest.raises(ServerError, match="may still be carried out"):
        order(config.redis_config, 1, {"op": "repair", "block": "s/1"}, timeout=2)
    taken.join()


def test_a_commit_that_waits_for_the_store_ends_when_the_worker_does(config, busy, monkeypatch):
    # Given a shard that cannot commit its turn
    def away(*given, **named):
        raise ServerAway("it is away")

    monkeypatch.setattr(busy._opened.store, "commit", away)
    busy._pipeline.command({"op": "repair", "block": "s/0"})
    stepping, failed = busy.passes, []
    step = threading.Thread(target=lambda: failed.append(pytest.raises(ServerAway, busy.step)))
    step.start()
    # When it tries again and again, and its worker is asked to end, then it does not try for ever
    assert until(lambda: busy.passes > stepping + 2, 60)
    busy.give_up()
    step.join(60)
    assert "was not committed before the stop" in failed[0].value.text
    busy.abandon()


def test_a_shard_leaves_no_folder_behind(config, busy, tmp_path, monkeypatch):
    # Given a temporary folder of its own
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    # When a shard is opened and left, then nothing is in it
    busy.abandon()
    open_shard(config, 0, threading.Event()).abandon()
    assert list((tmp_path / "tmp").iterdir()) == []
