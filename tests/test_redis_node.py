"""A node on Redis: what it reads, in which order, what it writes, and that it counts everything once."""


from corec._core.wire import pack_envelope
from tests.nodes import now_ms, readings, running, small, until

pytest_plugins = ["tests.servers.redis"]


def on(server, **changes):
    """The small configuration on a server."""
    return small(redis_config=server.section, **changes)


def envelope(ids, sequence=0, *, producer=7, epoch=1, canal=1, values=20.0, time=None):
    """A numbered batch."""
    return pack_envelope(readings(ids, values, canal), producer=producer, epoch=epoch, sequence=sequence, time=time or now_ms())


def test_batches_are_folded_and_committed(redis_server, tmp_path):
    # Given a node on Redis
    with running(on(redis_server), tmp_path) as nucleus:
        # When a device sends two batches and repeats the first
        client = redis_server.client()
        for batch in (one := envelope(range(100)), envelope(range(100), 100), one):
            client.xadd("{s00}:in", {"m": batch})
        # Then all came, and none counted twice
        assert until(lambda: nucleus.store.state.ledger.get("in") == 300), nucleus.store.state
        assert nucleus.engine.ledger["rejected_repeated"] == 100
    # And the next start goes on behind them
    with running(on(redis_server), tmp_path) as nucleus:
        client.xadd("{s00}:in", {"m": envelope(range(50), 200)})
        assert until(lambda: nucleus.store.state.ledger["in"] == 350), nucleus.store.state
