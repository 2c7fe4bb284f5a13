"""The router and `max_mb`: a large backlog of bare frames waits in `corec:in`, and no shard's stream grows beyond its bound."""
import numpy as np
import psutil
import pytest

from corec._core.wire import FRAME_BYTES, encode_frames, unpack_envelope
from corec.common.units import MB
from corec.node.router import Router
from corec.streams.redis.keys import BARE_STREAM, FIELD, fast_stream, normal_stream
from tests.support.nodes import small, until

pytestmark = [pytest.mark.slow, pytest.mark.redis]

FRAMES = 350_000
STREAMS = [stream(shard) for shard in range(2) for stream in (fast_stream, normal_stream)]
#: What the router adds between two looks at the sizes, in MB.
BETWEEN_MB = 1.0


@pytest.fixture
def client(redis_server):
    """A Redis with a backlog of bare frames in `corec:in`."""
    client = redis_server.client()
    values = np.random.default_rng(7).normal(size=10_000).astype(np.float32)      # which no compression makes smaller
    frames = encode_frames(np.arange(10_000) % 2_500, 1, values, True)
    for _ in range(FRAMES // len(values)):
        with client.pipeline(transaction=False) as pipe:
            for at in range(0, len(frames), FRAME_BYTES):
                pipe.xadd(BARE_STREAM, {FIELD: frames[at : at + FRAME_BYTES]})
            pipe.execute()
    return client


@pytest.fixture
def router(redis_server, client):
    router = Router(small(redis_config={**redis_server.section, "max_mb": 1}, fragmentos=2))
    router.start()
    yield router
    router.stop()


def size(client):
    return max(client.memory_usage(stream, samples=0) or 0 for stream in STREAMS) / MB


def test_a_backlog_waits_where_it_is_until_the_streams_have_room(client, router, caplog):
    # Given a backlog of several times max_mb, and nobody who reads the streams of the shards
    before = psutil.Process().memory_info().rss
    # When the router has filled them, Then they stay at their bound, and it says so
    assert until(lambda: "redis_config.max_mb allows 1 MB" in router.full, 60)
    sizes = [size(client) for _ in range(20) if not router._stop.wait(0.05)]
    assert 0.8 < max(sizes) < 1 + BETWEEN_MB and max(sizes) == sizes[0], sizes
    assert psutil.Process().memory_info().rss - before < 32 * MB
    # And when somebody reads and trims, it goes on, and every frame comes, once
    found, largest = 0, 0.0
    while found < FRAMES:
        for stream in STREAMS:
            rows = client.xrange(stream, count=200)
            found += sum(unpack_envelope(fields[FIELD]).count for _, fields in rows)
            if rows:
                client.xdel(stream, *(id for id, _ in rows))
        largest = max(largest, size(client))
    assert found == FRAMES and largest < 1 + BETWEEN_MB
    assert until(lambda: not router.full, 60)
    # And the log had it, at its beginning and at its end
    lines = [record.getMessage() for record in caplog.records if "[Router" in record.getMessage()]
    assert "what came to corec:in waits there" in lines[0] and "routes again" in lines[1], lines
