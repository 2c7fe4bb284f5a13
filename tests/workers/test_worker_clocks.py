"""Workers whose clocks are wrong, and a Redis master that is away: no reading is late, whoever folds it."""
import os
import time

import pytest

from tests.support.celery_fleet import SHARDS, CeleryFleet
from tests.support.crash import fleet_evidence as evidence
from tests.support.servers.postgres import running as running_postgres
from tests.support.servers.redis import cluster
from tests.support.servers.redis import running as running_redis

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.redis, pytest.mark.postgres]

#: Until a replica takes over from a master that was killed.
FAILOVER_S = 15 if os.environ.get("COREC_CHAOS") else 4


@pytest.fixture(scope="module")
def postgres():
    with running_postgres() as server:
        yield server


def new_fleet(folder, postgres, redis, **keys):
    name = postgres.new_database()
    fleet = CeleryFleet(folder, postgres.address(name), redis, **keys)
    fleet.connected = lambda: postgres.connected(name)
    return fleet


def assert_none_refused(fleet):
    """All are in rows, and none was late or refused."""
    fleet.stop_sending()
    evidence.assert_all_there(fleet)
    for ledger in evidence.ledgers(fleet):
        assert (ledger["late"], ledger["rejected"] - ledger["rejected_repeated"]) == (0, 0), ledger


@pytest.mark.parametrize("ahead_s", [6, -3600])
def test_a_workers_wall_clock_is_wrong(wall_clock, tmp_path, postgres, ahead_s):
    # Given two workers, the clock of one of which is wrong, and windows that close 1.5 s after their end
    wall_clock.set(ahead_s)
    with running_redis() as redis:
        fleet = new_fleet(tmp_path, postgres, redis)
        try:
            fleet.node("corec1")
            fleet.worker("w1", **wall_clock.environment)
            fleet.worker("w2")
            fleet.wait(lambda: fleet.shared_by("w1", "w2"), 60)
            # When a sender goes on for some seconds, and each worker's shards go to the other in turn
            fleet.start_sending()
            fleet.wait(fleet.go_on(5), 30)
            fleet.processes["w2"].kill()
            fleet.wait(lambda: fleet.folded_by(fleet.pid("w1")), 60)
            fleet.wait(fleet.go_on(5), 30)
            fleet.worker("w3")
            fleet.wait(lambda: fleet.shared_by("w1", "w3"), 60)
            fleet.wait(fleet.go_on(5), 30)
            # Then nobody's readings are late
            assert_none_refused(fleet)
        finally:
            fleet.stop()


def test_a_master_is_away_until_a_replica_takes_over(tmp_path, postgres):
    # Given a fleet on three masters
    with cluster(node_timeout_ms=1000 * FAILOVER_S) as servers, running_redis() as broker:
        fleet = new_fleet(tmp_path, postgres, servers[0], celery_config={"broker": f"redis://127.0.0.1:{broker.port}/0"})
        with fleet.with_two_workers(within=60):
            fleet.wait(fleet.go_on(), 30)
            # When one of them is killed
            before, began = fleet.turns(), time.monotonic()
            servers[1].stop()
            # Then the shards on the others go on meanwhile, and all of them when a replica has taken over
            fleet.wait(lambda: sum(turn >= before[shard] + 3 for shard, turn in fleet.turns().items()) >= SHARDS // 2, FAILOVER_S)
            fleet.wait(lambda: time.monotonic() - began > FAILOVER_S, 2 * FAILOVER_S)
            fleet.wait(fleet.go_on(), 30)
            # And nobody's readings are late, wherever they had to wait
            assert_none_refused(fleet)
