"""Entries on Redis whose ids are far apart, or no times at all: each counts once, and the node starts again behind them."""
import pytest

from corec._core.wire import pack_envelope, unpack_envelope
from tests.support.nodes import now_ms, readings, running, small, until

pytestmark = [pytest.mark.slow, pytest.mark.redis]


DAY_MS = 86_400_000
STREAMS = ("{s00}:in", "corec:in")


def counted(nucleus):
    """Readings by the ledger of committed turns, without repeats."""
    ledger = nucleus.store.state.ledger
    return ledger.get("in", 0) - ledger.get("rejected_repeated", 0)


def add(client, stream, id, frame):
    client.xadd(stream, {"m": frame}, id=id)


def killed(nucleus, monkeypatch):
    """Have the next start fold again what is committed: without a snapshot."""
    monkeypatch.setattr(nucleus.redis, "stop_reading", lambda pipeline: nucleus.redis.intake.close())


@pytest.mark.parametrize("stream", STREAMS)
def test_bare_frames_further_apart_than_24_days(redis_server, tmp_path, monkeypatch, stream):
    # Given bare frames that waited for 60, 30 and no days
    config, client, now = small(redis_config=redis_server.section), redis_server.client(), now_ms()
    for days in (60, 30, 0):
        add(client, stream, f"{now - days * DAY_MS}-0", readings([days]))
    # When a node reads them, then it counts all three
    with running(config, tmp_path) as nucleus:
        assert until(lambda: counted(nucleus) == 3), nucleus.store.state
        assert nucleus.store.state.ledger["rejected_malformed"] == 0
        killed(nucleus, monkeypatch)
        ledger = nucleus.store.state.ledger
    # And each went to the shard at its own time
    batches = [unpack_envelope(fields[b"m"]) for _, fields in client.xrange("{s00}:in")] if stream == "corec:in" else []
    assert [batch.time for batch in batches] in ([], [now - days * DAY_MS for days in (60, 30, 0)])
    # And the next start, which folds the turn again, stands where it stood
    with running(config, tmp_path) as nucleus:
        assert nucleus.engine.ledger == ledger
        add(client, stream, "*", readings([1]))
        assert until(lambda: counted(nucleus) == 4)


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("id", [f"{2**63}-0", f"{2**64 - 1}-5", "5-0", f"{10**15}-{2**63}"])
def test_ids_that_are_no_times(redis_server, tmp_path, monkeypatch, caplog, stream, id):
    # Given a node
    config, client = small(redis_config=redis_server.section), redis_server.client()
    with running(config, tmp_path) as nucleus:
        # When somebody gives an entry such an id, and others follow: the server counts on from there
        if id != "5-0":
            add(client, stream, "*", readings([1]))
            assert until(lambda: counted(nucleus) == 1)
        add(client, stream, id, readings([2]))
        for number in range(10):
            add(client, stream, "*", readings([3]))
            if number == 5:
                assert until(lambda: counted(nucleus) >= 7)
            add(client, stream, "*", pack_envelope(readings([4]), producer=7, epoch=1, sequence=number, time=now_ms()))
        # Then each counts once, and is in time
        sent = 21 + (id != "5-0")
        assert until(lambda: counted(nucleus) == sent), (counted(nucleus), sent)
        ledger = nucleus.store.state.ledger
        assert (ledger["rejected"], ledger["late"]) == (0, 0), ledger
        assert abs(nucleus.engine.clock - now_ms()) < 60_000
        killed(nucleus, monkeypatch)
    # And the next start, which folds the turns again, stands where the last one stood and goes on
    with running(config, tmp_path) as nucleus:
        assert nucleus.engine.ledger == ledger
        assert "off by" not in caplog.text
        add(client, stream, "*", readings([5]))
        assert until(lambda: counted(nucleus) == sent + 1)
        assert nucleus.store.state.ledger["rejected"] == 0


def test_many_entries_of_one_millisecond_have_numbers_of_their_own(redis_server, tmp_path):
    # Given a bare stream on which ids differ only behind the 20 bits that a number has for them
    config, client, now = small(redis_config=redis_server.section), redis_server.client(), now_ms()
    with running(config, tmp_path) as nucleus:
        for place in (0, 2**20 - 1, 2**20, 2**20 + 1, 2**30, 2**63):
            add(client, "corec:in", f"{now}-{place}", readings([1]))
            assert until(lambda: not nucleus.redis.router.problem and nucleus.store.state.ledger.get("in", 0) > 0)
        # Then none counts as a repeat
        assert until(lambda: nucleus.store.state.ledger.get("in") == 6), nucleus.store.state
        assert nucleus.store.state.ledger["rejected"] == 0


def test_a_batch_whose_numbers_end_does_not_end_the_bare_stream(redis_server, tmp_path):
    # Given a batch of both kinds of channel whose numbers run beyond 64 bits
    config, client = small(redis_config=redis_server.section), redis_server.client()
    mixed = pack_envelope(readings([1]) + readings([2500], canal=2), producer=7, epoch=1, sequence=2**64 - 1, time=now_ms())
    with running(config, tmp_path) as nucleus:
        # When it comes to the bare stream, then it is counted as malformed, and what comes behind it is taken
        client.xadd("corec:in", {"m": mixed})
        client.xadd("corec:in", {"m": readings([1])})
        assert until(lambda: nucleus.store.state.ledger.get("in") == 3), nucleus.store.state
        assert nucleus.store.state.ledger["rejected_malformed"] == 2
