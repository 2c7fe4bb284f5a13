"""Somebody empties Redis, or a stream, while all connections stand: nothing that a sender keeps is lost, and it is told."""
import threading
import time

import pytest

from corec.publish import Publisher
from corec.streams.redis.position import Loss, Position, look
from tests.support.nodes import now_ms, readings, running, small, until

pytestmark = [pytest.mark.slow, pytest.mark.redis]


def once(nucleus) -> int:
    """Readings that were counted, each once."""
    ledger = nucleus.store.state.ledger
    return ledger.get("in", 0) - ledger.get("rejected_repeated", 0)


def emptied(client, how):
    """Empty Redis, or a stream of it."""
    {"FLUSHALL": client.flushall, "DEL": lambda: client.delete("{s00}:in"),
     "XTRIM": lambda: client.xtrim("{s00}:in", maxlen=0, approximate=False)}[how]()  # fmt: skip


@pytest.mark.parametrize("how", ["FLUSHALL", "DEL", "XTRIM"])
def test_what_a_sender_has_on_redis_is_sent_again(redis_server, tmp_path, how, caplog):
    # Given batches on a stream that no node has read
    config, client = small(redis_config=redis_server.section), redis_server.client()
    with Publisher(config, name="d", folder=tmp_path / "tail") as publisher:
        for _ in range(20):
            publisher.publish(readings(range(10)), time=now_ms())
        assert publisher.flush(10) and client.xlen("{s00}:in") == 20
        # When somebody empties it, then whoever asks is not told that all is there before it is there again
        emptied(client, how)
        assert publisher.flush(10) and client.xlen("{s00}:in") == 20
        # And a sender that nobody asks finds it by itself
        emptied(client, how)
        assert until(lambda: client.xlen("{s00}:in") == 20)
        assert caplog.text.count("Redis has lost {s00}:in: 20 batches are sent again") == 2
        # And what comes next is behind it
        publisher.publish(readings(range(10)), time=now_ms())
        # Then a node gets all, each once
        with running(config, tmp_path / "node") as nucleus:
            assert until(lambda: once(nucleus) == 210), nucleus.store.state
            assert nucleus.engine.marks.gaps == 0
            assert nucleus.store.state.ledger["rejected_repeated"] == 0


def test_redis_is_emptied_again_and_again_under_load(own_redis, tmp_path, caplog):
    # Given a node and two devices that send as fast as they can
    config, client = small(redis_config=own_redis.section), own_redis.client()
    sent, ends = [0, 0], threading.Event()

    def send(number, publisher):
        while not ends.is_set():
            publisher.publish(readings(range(10)), time=now_ms())
            sent[number] += 10

    with (running(config, tmp_path / "node") as nucleus, Publisher(config, name="a", folder=tmp_path / "a") as one,
          Publisher(config, name="b", folder=tmp_path / "b") as other):  # fmt: skip
        threads = [threading.Thread(target=send, args=each) for each in enumerate((one, other))]
        for thread in threads:
            thread.start()
        # When Redis is emptied twenty times
        for number in range(20):
            time.sleep(0.05 + 0.017 * (number % 7))
            client.flushall()
        ends.set()
        for thread in threads:
            thread.join()
        # Then every reading counts once
        assert until(lambda: once(nucleus) == sum(sent), 30), (once(nucleus), sent)
        assert nucleus.engine.marks.gaps == 0
        # And both sides have said it, the node not more often than it happened
        assert "are sent again" in caplog.text
        assert until(lambda: 1 <= nucleus.status()["redis"]["losses"] <= 40)


def test_a_new_stream_is_not_taken_for_committed(redis_server, tmp_path, monkeypatch):
    # Given a batch that no node has read, on a stream that is deleted, and another whose newer entries a node has committed
    monkeypatch.setattr("corec.streams.sending.redis_sender.LOOK_S", 3600.0)
    config, client = small(redis_config=redis_server.section), redis_server.client()
    with Publisher(config, name="d", folder=tmp_path / "tail") as publisher:
        publisher.publish(readings(range(10)), time=now_ms())
        assert publisher.flush(10)
        client.delete("{s00}:in")
        newer = client.xadd("{s00}:in", {"m": readings([1])})
        client.hset("{s00}:committed", mapping={"{s00}:in": newer, "run": client.info("server")["run_id"]})
        # When the sender looks, then it sends the batch again
        assert publisher.flush(10)
        assert client.xlen("{s00}:in") == 2 and publisher.sender.stats().kept == 1


def test_entries_that_a_node_took_to_its_own_disk_are_not_sent_again(redis_server, tmp_path, caplog):
    # Given batches of which a node takes all but the newest of the stream off Redis, uncommitted
    config, client = small(redis_config=redis_server.section), redis_server.client()
    with Publisher(config, name="d", folder=tmp_path / "tail") as publisher:
        publisher.publish(readings(range(10)), time=now_ms())
        assert publisher.flush(10)
        client.xadd("{s00}:in", {"m": readings([1])})
        client.xdel("{s00}:in", client.xrange("{s00}:in")[0][0])
        # When the sender looks and goes on, then it takes them for read
        publisher.publish(readings(range(10)), time=now_ms())
        assert publisher.flush(10) and client.xlen("{s00}:in") == 2
        assert "are sent again" not in caplog.text


def test_bare_frames_behind_an_emptied_bare_stream_are_counted(redis_server, tmp_path, caplog):
    # Given a node that has read the bare stream
    config, client = small(redis_config=redis_server.section), redis_server.client()
    with running(config, tmp_path) as nucleus:
        for _ in range(5):
            client.xadd("corec:in", {"m": readings([1])})
        assert until(lambda: once(nucleus) == 5)
        # When all is deleted over the standing connections, and when only the bare stream is
        for number, empty in enumerate((client.flushall, lambda: client.delete("corec:in"))):
            empty()
            assert until(lambda number=number: caplog.text.count("[Router-test1] corec:in is gone") == number + 1)
            for _ in range(5):
                client.xadd("corec:in", {"m": readings([1])})
            # Then what comes next is counted, once
            assert until(lambda number=number: once(nucleus) == 10 + 5 * number), nucleus.store.state
        assert nucleus.store.state.ledger["rejected"] == 0


class TestPosition:
    """What a reader sees over a standing connection."""

    @pytest.fixture
    def place(self, redis_server):
        client = redis_server.client()
        for _ in range(10):
            client.xadd("s", {"m": b"x"})
        place = Position("s")
        assert place.compare(client, "run") is None
        self.read(place, client)
        return place

    @staticmethod
    def read(place, client):
        for id, _ in client.xrange("s", f"({place.id}"):
            place.advance(id.decode(), 1)

    def test_a_stream_that_is_read_and_trimmed_is_the_same(self, place, redis_server):
        client = redis_server.client()
        for keep in (10, 3, 0):
            client.xtrim("s", maxlen=keep, approximate=False)
            assert place.compare(client, "run") is None
        client.xadd("s", {"m": b"x"})
        assert place.compare(client, "run") is None
        self.read(place, client)
        assert place.compare(client, "run") is None and place.seen == 11

    def test_what_was_trimmed_before_it_was_read_is_told_to_the_entry(self, place, redis_server):
        # Given seven more, five of which somebody trims; when reading has gone on before the look, it is told all the same
        client = redis_server.client()
        for _ in range(7):
            client.xadd("s", {"m": b"x"})
        client.xtrim("s", maxlen=2, approximate=False)
        self.read(place, client)
        assert place.compare(client, "run") == Loss("s", place.id, 5, "was trimmed by somebody else")
        assert place.compare(client, "run") is None

    @pytest.mark.parametrize("goes_on", [False, True])
    def test_a_stream_made_anew_is_told_once(self, place, redis_server, goes_on):
        client, before = redis_server.client(), place.id
        client.delete("s")
        client.xadd("s", {"m": b"x"})
        if goes_on:
            self.read(place, client)
        loss = place.compare(client, "run")
        assert (loss.why, loss.after) == ("was made anew", place.id if goes_on else before)
        self.read(place, client)
        assert place.compare(client, "run") is None and place.seen == look(client, "s").added == 1

    def test_a_stream_that_is_gone_is_told_once(self, place, redis_server):
        client = redis_server.client()
        client.flushall()
        assert place.compare(client, "run").why == "is gone"
        assert place.compare(client, "run") is None

    def test_who_does_not_know_how_many_it_read_tells_a_trimmed_stream_once(self, place, redis_server):
        client, place.seen = redis_server.client(), None
        client.xadd("s", {"m": b"x"})
        client.xtrim("s", maxlen=1, approximate=False)
        assert place.compare(client, "run").entries is None
        assert place.compare(client, "run") is None

