"""Redis, PostgreSQL and Celery's broker go away while workers fold, each in turn: the fleet goes on by itself when they are back.

0 readings lost, 0 doubled, and the committed rows are what the oracle makes of the streams.
"""
import os
import shutil
import time

import pytest

from tests.support.celery_fleet import SHARDS, CeleryFleet
from tests.support.crash import fleet_evidence as evidence
from tests.support.nodes import until
from tests.support.servers.postgres import running as running_postgres
from tests.support.servers.redis import running as running_redis

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.redis, pytest.mark.postgres]

#: How long each of them is away: longer than a lease and than a stall last.
AWAY_S = 60 if os.environ.get("COREC_CHAOS") else 3.5
#: Once it is back; a second or two as a rule.
BACK_S = 60


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """A node and two workers; the broker is a Redis of its own, and the Redis of the streams keeps what it is told."""
    with running_postgres() as postgres, running_redis("--appendonly", "yes") as redis, running_redis() as broker:
        name = postgres.new_database()
        fleet = CeleryFleet(tmp_path_factory.mktemp("fleet"), postgres.address(name), redis,
                      celery_config={"broker": f"redis://127.0.0.1:{broker.port}/0"})  # fmt: skip
        fleet.connected = lambda: postgres.connected(name)
        fleet.postgres, fleet.redis, fleet.broker = postgres, redis, broker
        with fleet.with_two_workers(within=60):
            fleet.wait(fleet.go_on(), 30)
            yield fleet


def away(fleet, server, what=lambda: None):
    """Stop it, wait, start it again: all shards commit anew, each where it was, and *what* is as before.

    A machine that stands still for as long as a lease lasts takes the shards from a worker too: once more, then.
    """
    for _ in range(3):
        owners, before = fleet.owners(), what()
        server.stop()
        time.sleep(AWAY_S)
        server.start()
        seconds = fleet.wait(fleet.go_on(), BACK_S)
        print(f"all shards commit again {seconds:.1f} s after it was back")
        if until(lambda owners=owners: fleet.owners() == owners, 15) and what() == before:
            return
        fleet.wait(lambda: fleet.shared_by("w1", "w2"), BACK_S)
    raise AssertionError((owners, fleet.owners(), before, what()))


def test_while_the_broker_is_away_readings_wait_on_redis(fleet):
    # Given workers that fold, when the broker ends and comes back empty, then they go on, each with its shards
    away(fleet, fleet.broker)


def test_while_postgresql_is_away_turns_are_not_committed(fleet):
    # Given workers that fold, when their store ends and comes back, then they go on, and no shard has changed hands
    away(fleet, fleet.postgres, lambda: epochs(fleet))


def epochs(fleet):
    """How often each shard has changed hands."""
    with fleet.connected() as cursor:
        cursor.execute("SELECT shard, epoch FROM shards WHERE shard < %s ORDER BY 1", (SHARDS,))
        return cursor.fetchall()


def test_while_redis_is_away_senders_keep_what_they_could_not_send(fleet):
    # Given workers that fold, when the Redis of streams and leases ends and comes back with what it had, then they go on
    away(fleet, fleet.redis)


def test_rows_are_what_the_oracle_makes_of_the_streams(fleet):
    fleet.wait(fleet.go_on(), 30)
    fleet.stop_sending()
    evidence.assert_all_there(fleet)
    with fleet.connected() as cursor:
        assert sum(evidence.compare(cursor, fleet.redis.client(), fleet.config, shard) for shard in range(SHARDS)) > 300


def test_a_redis_that_comes_back_empty_is_sent_again_what_was_not_committed(fleet):
    # Given a fleet on a Redis that has lost all that it was told
    fleet.stop_sending()
    fleet.start_sending()
    fleet.wait(fleet.go_on(), 30)
    fleet.redis.stop()
    shutil.rmtree(fleet.redis.folder / "appendonlydir", ignore_errors=True)
    fleet.redis.start()
    # When it is back, then the workers go on
    assert_counted_once(fleet)
    # And each is in a window, unless a shard's earlier owner had not the time for a snapshot (docs/guarantees.md)
    if "cannot be folded again" not in fleet.all_logs():
        evidence.assert_all_there(fleet)


def test_the_same_when_a_worker_is_killed_meanwhile(fleet):
    # Given a Redis that has lost everything, and a worker that cannot leave its shards as they are
    fleet.start_sending()
    fleet.wait(fleet.go_on(), 30)
    fleet.redis.stop()
    fleet.processes["w1"].kill()
    shutil.rmtree(fleet.redis.folder / "appendonlydir", ignore_errors=True)
    fleet.redis.start()
    # When the other has them all, then it cannot fold again what was committed, and what senders send again of that is known to it
    fleet.wait(lambda: fleet.folded_by(fleet.pid("w2")), 60)
    assert_counted_once(fleet)


def assert_counted_once(fleet):
    """Every reading is counted, no window is there twice, whoever has the shards now."""
    fleet.wait(fleet.go_on(), BACK_S)
    fleet.stop_sending()
    fleet.wait(lambda: evidence.counted(fleet) >= fleet.sent, 60, lambda: f"{evidence.counted(fleet)} of {fleet.sent}")
    assert evidence.counted(fleet) == fleet.sent
    assert len(set(evidence.in_rows(fleet)[1:])) == 1
