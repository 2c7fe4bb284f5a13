"""The parts of a fleet of workers that need no server: who has what, when a worker counts as gone, where the broker is."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corec.config import parse
from corec.config.servers import RedisServer, Secret
from corec.errors import ConfigError
from corec.simulation import SimulatedClock, World
from corec.streams.redis.link import connection_options
from corec.workers.assignment import MOST_SHARE, assign
from corec.workers.celery_app import broker_url, redis_url
from corec.workers.coordinator import LOST_S, QUEUED, STALLED_S, Coordinator
from corec.workers.leases import LEASE_MS, RENEW_S, Assignment, Lease

NAMES = st.sets(st.text("abcdef", min_size=1, max_size=4), min_size=1, max_size=9)


@given(st.integers(1, 64), NAMES)
def test_every_shard_has_one_worker_and_no_worker_too_many(shards, names):
    chosen = assign(shards, names)
    assert sorted(chosen) == list(range(shards)) and set(chosen.values()) <= names
    most = max(list(chosen.values()).count(name) for name in names)
    assert most <= MOST_SHARE * shards / len(names) + 1


@given(st.sets(st.text("abcdef", min_size=1, max_size=4), min_size=3, max_size=3))
def test_of_three_workers_none_is_without_one_of_eight_shards(names):
    assert set(assign(8, names).values()) == names


@given(NAMES, st.text("xyz", min_size=1, max_size=4))
def test_a_worker_that_comes_moves_little_but_what_it_gets(names, comer):
    # Given 64 shards among some workers, when one more comes
    before, after = assign(64, names), assign(64, names | {comer})
    # Then most of what moves goes to it
    moved = [shard for shard in before if before[shard] != after[shard]]
    assert sum(after[shard] != comer for shard in moved) <= 64 / 4


def test_without_workers_nobody_has_anything():
    assert assign(16, []) == {}


class Leases:
    """Stands in for the leases on Redis."""

    def __init__(self):
        self.workers, self.decided, self.leader = {}, Assignment(), None

    def lead(self, name):
        self.leader = self.leader or name
        return self.leader == name

    def live(self):
        return dict(self.workers)

    def assignment(self):
        return self.decided

    def assign(self, assignment):
        self.decided = assignment


class Bench:
    """A coordinator, its leases, what it sent and dropped, and a clock."""

    def __init__(self):
        self.sent, self.dropped, self.leases = [], [], Leases()
        self.world = World(1)
        self.coordinator = Coordinator(self.leases, "corec1", shards=4, config={}, send=lambda lease, number: self.sent.append(lease.queue),
                                       drop=self.dropped.append, clock=SimulatedClock(self.world, wall_ms=0))  # fmt: skip

    def step(self, seconds=0.0, **began):
        """After so many seconds of steps, the last of which finds these workers and what they have begun."""
        for _ in range(round(seconds / RENEW_S) - 1):
            self.world.now += RENEW_S
            self.coordinator.step()
        return self.jump(min(seconds, RENEW_S), **began)

    def jump(self, seconds, **began):
        """The same, without steps in between."""
        self.world.now += seconds
        self.sent.clear()
        self.leases.workers = {name: Lease(name, f"q-{name}", 1, "h", began=count) for name, count in began.items()}
        self.coordinator.step()
        return sorted(self.sent)


@pytest.fixture
def bench():
    return Bench()


def test_each_worker_has_two_turns_waiting(bench):
    assert bench.step(a=0, b=0) == ["q-a"] * QUEUED + ["q-b"] * QUEUED
    # When one of them began one, then it gets one more
    assert bench.step(0.3, a=1, b=0) == ["q-a"]


def test_a_worker_that_begins_no_turn_loses_its_shards_and_gets_them_back(bench):
    bench.step(a=0, b=0)
    bench.step(0.3, a=1, b=1)
    assert set(bench.leases.decided.shards.values()) == {"a", "b"}
    # When one renews its lease and begins nothing
    bench.step(STALLED_S, a=2, b=1)
    assert set(bench.leases.decided.shards.values()) == {"a"}
    # Then it is sent turns again after a while, and has shards again once it begins one
    assert "q-b" in bench.step(LOST_S - STALLED_S + 0.1, a=3, b=1)
    bench.step(0.3, a=4, b=2)
    assert set(bench.leases.decided.shards.values()) == {"a", "b"}


def test_workers_that_all_stand_still_keep_what_they_have(bench):
    bench.step(a=0, b=0)
    bench.step(0.3, a=1, b=1)
    before = bench.leases.decided
    # When both renew their leases and begin nothing: the store is away, say, or the broker forgot what was sent
    bench.step(STALLED_S + 0.6, a=1, b=1)
    # Then nothing moves, and turns are sent again after a while
    assert bench.leases.decided == before
    assert any("q-a" in bench.step(RENEW_S, a=1, b=1) for _ in range(round(2 * LOST_S / RENEW_S)))
    assert bench.leases.decided == before


def test_after_a_silence_workers_get_the_time_to_say_that_they_live(bench):
    bench.step(a=0, b=0)
    before = bench.step(0.3, a=1, b=1) and bench.leases.decided
    # When Redis was away for longer than a lease lasts, and one worker is quicker than the other to say that it lives
    bench.jump(2 * LEASE_MS / 1000, a=1)
    # Then the other keeps its shards
    assert bench.leases.decided == before
    bench.step(0.3, a=2, b=2)
    assert bench.leases.decided == before
    # And loses them when it does not come back
    bench.step(LEASE_MS / 1000, a=3)
    assert set(bench.leases.decided.shards.values()) == {"a"}


def test_the_queue_of_a_worker_that_is_gone_is_dropped(bench):
    bench.step(a=0, b=0)
    bench.step(0.3, a=1)
    assert bench.dropped == ["q-b"]


def test_a_node_that_does_not_lead_decides_nothing(bench):
    bench.leases.leader = "corec9"
    assert bench.step(a=0) == [] and bench.leases.decided == Assignment()
    assert not bench.coordinator.leads


# --- configuration ---------------------------------------------------------------------------------

SERVERS = {"redis_config": {"host": "r", "port": 7000, "username": "u", "password": "p/w"}, "db_config": {"password": "x"}}


def test_broker_is_the_redis_of_redis_config_unless_named():
    assert broker_url(parse({**SERVERS, "celery_config": {}})) == "redis://u:p%2Fw@r:7000/0"
    assert broker_url(parse({**SERVERS, "celery_config": {"broker": "redis://other:1/2"}})) == "redis://other:1/2"


def test_celery_gives_sixteen_shards_unless_said_otherwise():
    assert parse({**SERVERS, "celery_config": {}}).fragmentos == 16
    assert parse({**SERVERS, "celery_config": {}, "fragmentos": 5}).fragmentos == 5
    assert parse({}).fragmentos == 1 and parse({"instance_id": "n7"}).flota == "n7"


@pytest.mark.parametrize("missing", ["redis_config", "db_config"])
def test_celery_needs_both_servers(missing):
    with pytest.raises(ConfigError, match=rf"expected {missing} beside it"):
        parse({name: section for name, section in SERVERS.items() if name != missing} | {"celery_config": {}})


@pytest.mark.parametrize(
    ("server", "url"),
    [
        (RedisServer(host="h", port=1), "redis://h:1/0"),
        (RedisServer(host="h", port=1, password=Secret("a b")), "redis://:a%20b@h:1/0"),
        (RedisServer(unix_socket="/run/r.sock"), "redis+socket:///run/r.sock"),
        (RedisServer(host="h", port=1, tls=True, ca="/c.pem"), "rediss://h:1/0?ssl_cert_reqs=required&ssl_check_hostname=true&ssl_ca_certs=/c.pem"),
        (RedisServer(host="::1", port=1), "redis://[::1]:1/0"),
    ],
)
def test_redis_as_a_url(server, url):
    assert redis_url(server) == url


#: Whatever has a meaning in a URL, and what has none.
ODD = "p@s:s/w#?%41&=+ []\"'é"


@pytest.mark.parametrize("server", [
    RedisServer(host="::1", port=1, password=Secret(ODD)), RedisServer(host="fe80::1%eth0", port=1, username=ODD, password=Secret(ODD)),
    RedisServer(host="h", port=1, username=ODD),
    RedisServer(unix_socket="/run/my redis#?%41é/@:s.sock", username="u", password=Secret("@:/")),
    RedisServer(host="2001:db8::1", port=1, tls=True, ca="/my certs/a#?&.pem", password=Secret(ODD)),
])  # fmt: skip
def test_broker_and_results_are_found_whatever_characters_their_parts_have(server):
    # Given a server whose parts have characters that mean something in a URL
    from celery import Celery

    app = Celery("test", broker=redis_url(server), backend=redis_url(server))
    # Then Celery's store of results gets each part as it was
    found = app.backend.connparams
    parts = {"username": server.username, "password": server.password and server.password.reveal(), "path": server.unix_socket,
             "host": None if server.unix_socket else server.host, "ssl_ca_certs": server.ca}  # fmt: skip
    assert {name: found.get(name) for name in parts} == parts
    # And so does its broker
    broker = app.connection_for_write()
    if not server.unix_socket:
        assert (broker.hostname, broker.port, broker.userid, broker.password) == (server.host, 1, server.username, parts["password"])
    assert not server.tls or broker.ssl["ssl_check_hostname"]


def test_tls_checks_the_name_of_the_host_with_every_redis_py():
    options = connection_options(RedisServer(host="h", tls=True))
    assert options["ssl_check_hostname"] is True and options["ssl_cert_reqs"] == "required"


def test_broker_with_its_password_shows_nowhere():
    config = parse({**SERVERS, "celery_config": {"broker": "redis://:secret@h/0"}})
    assert "secret" not in repr(config) + str(config.to_mapping()) + repr(config.celery_config)
