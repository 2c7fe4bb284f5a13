"""What waited on its way (in a publisher's tail, on the bare stream) for hours or days counts when it comes."""
import pytest

from corec.common.clock import Clock
from corec.publish import Publisher
from tests.support.nodes import now_ms, readings, running, small, until

pytestmark = [pytest.mark.slow, pytest.mark.redis]

HOUR_MS = 3_600_000
DAY_S = 86_400
#: (hours that the node was away, `max_skew` in s)
AWAY = [(2, 60), (2, DAY_S), (48, DAY_S)]


class TailClock(Clock):
    """The clocks of a publisher's machine: *ahead* (ms) of the real ones; *boot* names the machine's start."""

    def __init__(self, ahead):
        self.ahead, self.boot = ahead, "1"

    def wall_ms(self):
        return super().wall_ms() + self.ahead

    def boot_ms(self):
        return super().boot_ms() + self.ahead

    def boot_id(self):
        return self.boot


def all_taken(publisher):
    receipt = publisher.wait(30, result=True)
    return receipt.sent == receipt.taken


@pytest.mark.parametrize(("hours", "max_skew"), AWAY)
@pytest.mark.parametrize("started_again", [False, True])
def test_a_durable_tail_whose_node_was_away(tmp_path, hours, max_skew, started_again):
    # Given a publisher that took readings for ten seconds while no node ran, hours ago
    config = small(max_skew=max_skew)
    clock = TailClock(-hours * HOUR_MS)
    began = now_ms() - hours * HOUR_MS
    publisher = Publisher(config, name="gate", data=tmp_path, clock=clock)
    for second in range(10):
        publisher.publish(readings(range(100)), time=began - 1000 * second)
    if started_again:
        publisher.close(0)
        clock.boot = "2"
    # When the node runs at last
    clock.ahead = 0
    if started_again:
        publisher = Publisher(config, name="gate", data=tmp_path, clock=clock)
    with running(config, tmp_path) as nucleus, publisher:
        # Then all 1,000 count
        assert until(lambda: nucleus.store.state.ledger.get("in") == 1000)
        ledger = nucleus.store.state.ledger
        assert (ledger["rejected"], ledger["late"]) == (0, 0), ledger
        assert started_again or all_taken(publisher)


@pytest.mark.parametrize(("hours", "max_skew"), AWAY)
def test_a_durable_tail_whose_redis_was_away(own_redis, tmp_path, hours, max_skew):
    # Given a publisher that took readings for ten seconds while no Redis answered, hours ago
    config = small(max_skew=max_skew, redis_config=own_redis.section)
    clock = TailClock(-hours * HOUR_MS)
    own_redis.stop()
    publisher = Publisher(config, name="gate", data=tmp_path, clock=clock)
    for second in range(10):
        publisher.publish(readings(range(100)), time=now_ms() - hours * HOUR_MS - 1000 * second)
    # When it answers at last
    clock.ahead = 0
    own_redis.start()
    with running(config, tmp_path / "node") as nucleus, publisher:
        # Then all 1,000 count
        assert all_taken(publisher)
        ledger = nucleus.store.state.ledger
        assert (ledger["in"] - ledger["rejected_repeated"], ledger["rejected_skew"], ledger["late"]) == (1000, 0, 0), ledger


def test_a_tail_whose_wall_clock_went_back_over_a_start_of_its_machine(tmp_path):
    # Given a publisher whose machine starts again with a clock an hour behind
    clock, config = TailClock(0), small()
    with Publisher(config, name="gate", data=tmp_path, clock=clock) as publisher:
        publisher.publish(readings([1]), time=now_ms())
        publisher.close(0)
    clock.ahead, clock.boot = -HOUR_MS, "2"
    # Then what waited has no age instead of a negative one, and counts
    with running(config, tmp_path) as nucleus, Publisher(config, name="gate", data=tmp_path, clock=clock):
        assert until(lambda: nucleus.store.state.ledger.get("stored") == 1), nucleus.store.state


@pytest.mark.parametrize("stream", ["corec:in", "{s00}:in"])
def test_bare_frames_that_waited_on_redis(redis_server, tmp_path, stream):
    # Given a bare frame of 20 days, 180 of an hour and a half, one of each half minute, and 100 fresh ones
    client, now = redis_server.client(), now_ms()
    client.xadd(stream, {"m": readings([0])}, id=now - 20 * 24 * HOUR_MS)
    for number in range(180, 0, -1):
        client.xadd(stream, {"m": readings([1])}, id=now - 30_000 * number)
    for _ in range(100):
        client.xadd(stream, {"m": readings([2])})
    # When a node reads them that was away, then all of them count, though `max_skew` is a minute
    with running(small(redis_config=redis_server.section), tmp_path) as nucleus:
        assert until(lambda: nucleus.store.state.ledger.get("in") == 281), nucleus.store.state
        ledger = nucleus.store.state.ledger
        assert (ledger["rejected"], ledger["late"]) == (0, 0), ledger
