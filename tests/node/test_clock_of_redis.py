"""The clock of a Redis is wrong, and is put right: no reading is lost, and the node's clock is right again."""
import pytest

from corec.publish import Publisher
from tests.support.nodes import now_ms, readings, running, small, until
from tests.support.servers import redis as servers

pytestmark = [pytest.mark.slow, pytest.mark.redis]

HOUR_S = 3_600
YEARS_S = 10 * 365 * 24 * HOUR_S


def ledger_of(nucleus):
    return nucleus.store.state.ledger


def folded(nucleus):
    """Readings that are in windows, or left out of them by the filter."""
    return ledger_of(nucleus).get("stored", 0) + ledger_of(nucleus).get("filtered", 0)


def in_rows(nucleus):
    with nucleus.store.reader() as reader:
        return int(reader.history()["count"].sum())


def set_clocks(nucleus):
    """Reasons of the history for clocks that were set."""
    with nucleus.store.reader() as reader:
        return [each.reason for each in reader.happenings() if each.what == "clock"]


def near_now(ms):
    return abs(ms - now_ms()) < 20_000


@pytest.mark.parametrize("ahead_s", [-24 * HOUR_S, YEARS_S, HOUR_S])
def test_its_clock_was_wrong_when_it_started_and_is_put_right(wall_clock, tmp_path, caplog, ahead_s):
    # Given a Redis with a wrong clock, a node on it, and a device whose clock is right
    wall_clock.set(ahead_s)
    with servers.running(environment=wall_clock.environment) as redis:
        config = small(redis_config=redis.section)
        with running(config, tmp_path / "node") as nucleus, Publisher(config, name="d", folder=tmp_path / "unsent") as publisher:
            for _ in range(5):
                publisher.publish(readings(range(100)), time=now_ms())
            publisher.publish(readings([1], 101.0), time=now_ms())
            assert until(lambda: ledger_of(nucleus).get("in") == 501), ledger_of(nucleus)
            # When its clock is put right
            wall_clock.set(0)
            # Then all that came before counts, the exceeded limit is told, and the node's clock is right
            assert until(lambda: folded(nucleus) == 501), ledger_of(nucleus)
            assert until(lambda: nucleus.pipeline.totals["alerts"] == 1)
            assert until(lambda: near_now(nucleus.engine.clock))
            # And what comes now counts at once, on the bare stream too, though ids of a clock that was ahead do not go back
            publisher.publish(readings(range(100)), time=now_ms())
            redis.client().xadd("corec:in", {"m": readings([7])})
            assert until(lambda: folded(nucleus) == 602), ledger_of(nucleus)
            assert (ledger_of(nucleus)["rejected"], ledger_of(nucleus)["late"]) == (0, 0)
            assert publisher.wait(10, result=True).taken == 601
            # And the log and the history say once that it was set
            assert until(lambda: len(set_clocks(nucleus)) == 1), set_clocks(nucleus)
            assert caplog.text.count("the clock of Redis was set by") + caplog.text.count("off that of Redis") == 1, caplog.text
            ledger = ledger_of(nucleus)
        # And the next start goes on
        with running(config, tmp_path / "node") as nucleus:
            assert nucleus.engine.ledger == ledger
            redis.client().xadd("{s00}:in", {"m": readings([8])})
            assert until(lambda: folded(nucleus) == 603), ledger_of(nucleus)
            assert until(lambda: near_now(nucleus.engine.clock))
            assert until(lambda: in_rows(nucleus) == 603)


def test_ids_stand_still_behind_one_of_the_future_and_a_killed_node_folds_the_same(redis_server, tmp_path, monkeypatch):
    # Given a stream with an id of ten years from now: the server gives ids of that moment until then
    config, client = small(redis_config=redis_server.section), redis_server.client()
    monkeypatch.setattr("corec.pipeline.checkpoints.FEW_READINGS", 1 << 60)
    for stream in ("{s00}:in", "corec:in"):
        client.xadd(stream, {"m": readings([1])}, id=f"{now_ms() + 1000 * YEARS_S}-0")
    with running(config, tmp_path) as nucleus:
        # When frames come
        for number in range(10):
            client.xadd("{s00}:in", {"m": readings([number])})
            client.xadd("corec:in", {"m": readings([number])})
            assert until(lambda number=number: folded(nucleus) == 4 + 2 * number), ledger_of(nucleus)
        # Then each is in a row of its own time
        assert near_now(nucleus.engine.clock)
        assert ledger_of(nucleus)["rejected"] == 0
        ledger = ledger_of(nucleus)
        monkeypatch.setattr(nucleus.redis, "stop_reading", lambda pipeline: nucleus.redis.intake.close())
    # And a start that folds the turns again comes to the same
    with running(config, tmp_path) as nucleus:
        assert nucleus.engine.ledger == ledger
        assert near_now(nucleus.engine.clock)
        client.xadd("{s00}:in", {"m": readings([3])})
        assert until(lambda: in_rows(nucleus) == 23)
