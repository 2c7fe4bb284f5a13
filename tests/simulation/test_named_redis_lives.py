"""What lives of a node on Redis have found, each by itself, in simulated time."""
import pytest

from corec._core.wire import pack_envelope, unpack_envelope
from corec.config import parse
from corec.node.router import LEASE, LEASE_MS, Router
from corec.publish import Publisher
from corec.simulation import SimulatedClock, World
from corec.streams.redis.reader import RedisReader
from corec.streams.redis.stamps import ServerClock
from corec.workers.leases import Leases
from tests.support.nodes import readings
from tests.support.redis_life import ADDRESS, CONFIG, START
from tests.support.redis_model import ModelServer, Network

STREAM = "{s00}:in"
#: An id of the future: behind it a server gives ids of the same millisecond, until its clock is there.
AHEAD = START + 3_600_000


class Bench:
    """A server whose stream ends with an id of the future, and what redis-py does with it."""

    def __init__(self):
        self.world = World(1)
        self.clock = SimulatedClock(self.world, wall_ms=START)
        self.server = ModelServer(self.clock)
        self.connect = Network(self.world, {ADDRESS: self.server}).connect()
        self.config = parse(CONFIG)
        self.client = self.connect(host="redis", port=6379)
        self.client.xadd(STREAM, {"m": entry(0)}, id=f"{AHEAD}-1")

    def forget(self, saved):
        """The server restarts with what was *saved*, and gives the id of what it lost to another entry."""
        self.server.restart(saved, 0)
        return self.client.xadd(STREAM, {"m": entry(1)})

    def reader(self, cursor=None):
        reader = RedisReader(self.config.redis_config, [STREAM], "sim", server_clock=ServerClock(self.clock), clock=self.clock,
                             connect=self.connect)  # fmt: skip
        if cursor:
            reader.seek({STREAM: cursor})
        reader.start()
        return reader

    def taken(self, reader):
        """What a reader has read in five seconds."""
        self.world.run_until(lambda: False, 5)
        return [payload for _, payload in reader.take(0, 1 << 20)[1]]


def entry(number):
    return pack_envelope(readings([number]), producer=1, epoch=1, sequence=number, time=START)


@pytest.fixture
def bench():
    return Bench()


def test_a_sender_sees_that_an_id_was_given_again(bench, tmp_path):
    # Given a batch on a server that forgets it, and gives its id to another entry
    publisher = Publisher(bench.config, name="gate", folder=tmp_path, clock=bench.clock, connect=bench.connect)
    saved = bench.server.copied()
    assert bench.world.run_until(publisher.submit(readings([2]), START).done, 1) and publisher.flush(5)
    assert bench.client.xlen(STREAM) == 2
    ((lost, _),) = bench.client.xrevrange(STREAM, count=1)
    assert bench.forget(saved) == lost
    # When the sender looks, then it sends its batch once more
    bench.world.run_until(lambda: False, 5)
    producers = [unpack_envelope(fields[b"m"]).producer for _, fields in bench.client.xrange(STREAM)]
    assert producers[:2] == [1, 1] and len(producers) == 3
    publisher.close()


@pytest.mark.parametrize("starts_again", [False, True])
def test_a_reader_sees_that_an_id_was_given_again(bench, starts_again):
    # Given a reader that has read an entry, which its server forgets
    reader, saved = bench.reader(), bench.server.copied()
    assert bench.taken(reader) == [entry(0)]
    lost = bench.client.xadd(STREAM, {"m": entry(7)})
    assert bench.taken(reader) == [entry(7)]
    if starts_again:
        reader.stop()
    # When another entry gets its id, then that is read too, and what comes behind it
    assert bench.forget(saved) == lost
    bench.client.xadd(STREAM, {"m": entry(2)})
    if starts_again:
        reader = bench.reader(reader.queues[0].taken)
    assert bench.taken(reader)[-2:] == [entry(1), entry(2)]
    assert "has lost its newest entries" in str(reader.losses[0]) or "was made anew" in str(reader.losses[0])
    reader.stop()


def test_a_reader_misses_nothing_that_came_to_another_server_before_it_looked(bench):
    # Given a stream with ids of the present, and a reader that has read to its end
    bench.client.delete(STREAM)
    bench.client.xadd(STREAM, {"m": entry(0)})
    reader = bench.reader()
    bench.taken(reader)
    saved = bench.server.copied()
    bench.client.xadd(STREAM, {"m": entry(1)})
    assert bench.taken(reader) == [entry(1)]
    # When a replica takes over that lacks the newest entry and whose clock is a minute behind, and gets one before the reader looks
    bench.clock.step_wall(-60_000)
    bench.server.restart(saved, 0)
    bench.client.xadd(STREAM, {"m": entry(2)})
    # Then that entry is read
    assert bench.taken(reader)[-1:] == [entry(2)]
    reader.stop()


def test_who_died_before_the_clock_of_redis_was_put_back_holds_up_nobody(bench):
    # Given a lead, and a router's lease, of processes that are gone, and a server whose clock is put back by an hour
    leases = Leases(bench.config.redis_config, "fleet", connect=bench.connect)
    assert leases.lead("n1") and not leases.lead("n2")
    bench.client.set(LEASE, "another", px=LEASE_MS)
    bench.clock.step_wall(-3_600_000)
    # Then another node leads, and another router routes
    assert leases.lead("n2")
    router = Router(bench.config, clock=bench.clock, connect=bench.connect)
    bench.client.xadd("corec:in", {"m": readings([1])})
    router.start()
    assert bench.world.run_until(lambda: bench.client.get("{s00}:routed") not in (None, b"0-0"), 5)
    router.stop()
