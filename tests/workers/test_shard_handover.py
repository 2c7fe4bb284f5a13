"""A shard goes from one owner to the next, on a real Redis and a real PostgreSQL: what is left behind, and what is not."""
import json
import threading
import time
from contextlib import closing

import pytest

from corec.config import parse
from corec.engine import Engine
from corec.errors import ServerAway, ServerError, UsageError
from corec.publish import Publisher
from corec.storage.open_store import open_reader, open_shard_snapshots
from corec.storage.postgres.read import PostgresReader
from corec.storage.postgres.schema import migrate_if_allowed
from corec.streams.redis.keys import shard_key
from corec.workers.orders import order
from corec.workers.shard import open_shard
from tests.support.nodes import now_ms, readings, until
from tests.support.postgres_stores import server_of
from tests.support.servers.proxy import Proxy

pytestmark = [pytest.mark.slow, pytest.mark.redis, pytest.mark.postgres]

ORDERS = shard_key(0, "orders")


@pytest.fixture
def line(database):
    """The line of the workers to PostgreSQL."""
    with Proxy(database["port"], database["host"]) as proxy:
        yield proxy


@pytest.fixture
def config(database, line, redis_server):
    config = parse({"flota": "f", "fragmentos": 2, "redis_config": redis_server.section, "celery_config": {},
                    "db_config": {**database, "host": "127.0.0.1", "port": line.port},
                    "bloques": [{"id": "s", "canal": 1, "entidades": 400, "entidades_por_bloque": 100}]})  # fmt: skip
    migrate_if_allowed(config.db_config)
    return config


@pytest.fixture
def stored(config, database):
    """The rows of shard 0, read by a line of their own."""
    with closing(PostgresReader(server_of(database), instance="f", shard=0)) as reader:
        yield reader


def stepped(shard, done, seconds=60):
    return until(lambda: shard.step() and False or done(), seconds)


@pytest.fixture
def busy(config, stored, tmp_path):
    """A shard that has folded and committed a thousand readings."""
    shard = open_shard(config, 0, threading.Event())
    send(config, tmp_path, 10)
    assert stepped(shard, lambda: stored.state.ledger.get("in") == 1000)
    return shard


def leave(shard, seconds=0.0):
    """As a worker lets go of it."""
    shard.finish()
    shard.leave(time.monotonic() + seconds)


@pytest.mark.parametrize(("seconds", "replays"), [(20, False), (0, True)], ids=["in time", "too late"])
def test_a_shard_that_is_given_away_leaves_a_snapshot(config, busy, stored, seconds, replays):
    # Given a shard that has folded a little: Redis may not have it any more when the next owner looks for it
    # When it is left, with time for that or without
    leave(busy, seconds)
    # Then there is a snapshot of its last turn, or one behind which turns are to be folded again
    state = stored.state
    assert (open_shard_snapshots(config, 0).load().turn < state.turn) == replays
    # And the next owner stands where it ended, and counts nothing again
    following = open_shard(config, 0, threading.Event())
    leave(following, 20)
    assert (stored.state.ledger, following.counts()["readings"]) == (state.ledger, 0)


def test_a_shard_that_another_has_taken_leaves_nothing(config, busy):
    # Given a shard that another worker has opened meanwhile
    following = open_shard(config, 0, threading.Event())
    before = open_shard_snapshots(config, 0).load().generation
    # When the earlier owner leaves it, then its snapshot does not come between those of the later one
    busy.leave(time.monotonic() + 20)
    assert open_shard_snapshots(config, 0).load().generation == before
    following.abandon()


def test_what_redis_forgot_before_the_next_owner_came_counts_once(config, stored, tmp_path, redis_server):
    # Given a shard whose owner is killed: senders have not heard of what it committed, and Redis forgets everything
    shard = open_shard(config, 0, threading.Event())
    send(config, tmp_path, 30)
    assert stepped(shard, lambda: stored.state.ledger.get("in") == 3000)
    shard.abandon()
    redis_server.client().flushall()
    # When another worker has it, and senders send again what they hold, and more
    following = open_shard(config, 0, threading.Event())
    send(config, tmp_path, 20)
    assert stepped(following, lambda: stored.state.ledger["in"] >= 8000 and len(rows_of(config, tmp_path)))
    leave(following, 20)
    # Then each reading counts once, none is missed, and no window is stored twice
    ledger = stored.state.ledger
    assert (ledger["in"], ledger["rejected_repeated"]) == (8000, 3000)
    snapshot = open_shard_snapshots(config, 0).load()
    assert snapshot.turn > 0 and Engine.assemble(snapshot.meta, snapshot.segments).marks.gaps == 0
    rows = rows_of(config, tmp_path)
    assert len(rows) == len({(row["block"], row["window"]) for row in rows}) > 0


def rows_of(config, folder):
    with open_reader(config, folder) as reader:
        return reader.history()


def send(config, tmp_path, batches):
    """So many of a hundred readings, a tenth of a second apart by their times."""
    with Publisher(config, name="device", folder=tmp_path / "tail") as publisher:
        for number in range(batches):
            publisher.publish(readings(range(100)), time=now_ms() - 100 * (batches - number))
        assert publisher.flush(10)


# --- orders ----------------------------------------------------------------------------------------


@pytest.fixture
def ordered(config):
    """Orders something of shard 0 in a thread; (the thread, the list with the answer or the error it gets)."""
    def send_order(command):
        answers = []

        def ask():
            try:
                answers.append(order(config.redis_config, 0, command, timeout=60))
            except UsageError as error:
                answers.append(error)

        sender = threading.Thread(target=ask)
        sender.start()
        return sender, answers

    return send_order


def test_an_order_is_answered_with_its_turn(busy, stored, ordered):
    # Given a shard, when it is ordered something that its next turn does
    sender, answers = ordered({"op": "repair", "block": "s/0"})
    assert stepped(busy, lambda: not sender.is_alive())
    # Then the sender hears which turn that was
    assert [turn.turn for turn in stored.turns() if any(command["op"] == "repair" for command in turn.commands)] == [answers[0]["turn"]]
    busy.abandon()


def test_an_order_that_the_turn_refused_is_answered_at_once(busy, ordered):
    # Given a shard whose block joined another
    sender, answers = ordered({"op": "fuse", "block": "s/0", "host": "s/2", "force": True})
    assert stepped(busy, lambda: not sender.is_alive()) and "turn" in answers[0]
    # When it is ordered that once more, then the sender hears why not
    sender, answers = ordered({"op": "fuse", "block": "s/0", "host": "s/2", "force": True})
    assert stepped(busy, lambda: not sender.is_alive())
    assert isinstance(answers[0], UsageError) and "fused" in answers[0].text
    busy.abandon()


def taken(busy, line, redis_server, ordered, command):
    """The shard has taken an order, and cannot commit the turn that would carry it out; its step goes on in a thread."""
    line.down()
    sender, answers = ordered(command)
    failed = []
    step = threading.Thread(target=lambda: failed.append(pytest.raises(ServerAway, stepped, busy, lambda: False)))
    step.start()
    passes = busy.passes
    assert until(lambda: busy.passes > passes + 2 and not redis_server.client().exists(ORDERS))
    busy.give_up()
    step.join(60)
    assert "was not committed before the stop" in failed[0].value.text
    return sender, answers


def test_an_order_that_the_shard_leaves_undone_is_put_back(busy, line, redis_server, ordered):
    # Given a shard that took an order and could not carry it out, when it is let go
    sender, answers = taken(busy, line, redis_server, ordered, {"op": "repair", "block": "s/0"})
    busy.abandon()
    # Then the order waits on Redis as before, and its sender for the answer
    client = redis_server.client()
    (waiting,) = client.lrange(ORDERS, 0, -1)
    assert json.loads(waiting)["command"] == {"op": "repair", "block": "s/0"}
    assert answers == [] and sender.is_alive()
    client.rpush(f"{ORDERS}:{json.loads(waiting)['id']}", b'{"turn": 1}')
    sender.join(60)


def test_an_order_that_was_taken_and_not_carried_out_is_the_next_owners(config, busy, line, stored, redis_server, ordered):
    # Given an order that a shard has taken when it is let go
    sender, answers = taken(busy, line, redis_server, ordered, {"op": "repair", "block": "s/0"})
    busy.abandon()
    line.up()
    # Then the next owner carries it out, and the sender hears in which turn
    following = open_shard(config, 0, threading.Event())
    assert stepped(following, lambda: not sender.is_alive())
    assert [turn.turn for turn in stored.turns() if any(command["op"] == "repair" for command in turn.commands)] == [answers[0]["turn"]]
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


def test_a_commit_that_waits_for_the_store_ends_when_the_worker_does(config, busy, line, tmp_path):
    # Given a shard that cannot commit what it folds
    line.down()
    send(config, tmp_path, 1)
    stepping, failed = busy.passes, []
    step = threading.Thread(target=lambda: failed.append(pytest.raises(ServerAway, stepped, busy, lambda: False)))
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
