"""Redis goes away, comes back empty, loses replies, loses a master: nothing is lost and nothing counts twice."""
import os
import signal
import time

import numpy as np
import pytest

from corec._core.wire import envelope_head, unpack_envelope
from corec.errors import CoreCError, DiskFull, StorageError
from corec.nucleus import CoreCNucleus
from corec.publish import Publisher
from corec.streams.redis.intake import RedisIntake
from tests.support.nodes import now_ms, patient, read_little_ahead, readings, running, small, until
from tests.support.servers.proxy import Proxy
from tests.support.servers.redis import cluster, linked, master_of
from tests.support.servers.redis import running as server_running

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.redis]

CHAOS = bool(os.environ.get("COREC_CHAOS"))
AWAY_S = 60 if CHAOS else 4
#: Of the cluster.
NODE_TIMEOUT_S = 1


def on(section, **changes):
    return small(redis_config=section, **changes)


def once(nucleus) -> int:
    """Readings that were counted, each once."""
    ledger = nucleus.store.state.ledger
    return ledger.get("in", 0) - ledger.get("rejected_repeated", 0)


def publish(publisher, count, size=10, every=0.0):
    """So many batches; returns how many readings they are."""
    for number in range(count):
        publisher.publish(readings(range(number % 100, number % 100 + size)), time=now_ms())
        time.sleep(every)
    return count * size


def test_readings_wait_while_redis_is_away_and_drain_when_it_is_back(own_redis, tmp_path):
    # Given a node and a device on a Redis
    config = on(own_redis.section)
    with running(config, tmp_path / "node") as nucleus, Publisher(config, name="d", folder=tmp_path / "tail") as publisher:
        sent = publish(publisher, 20)
        assert until(lambda: once(nucleus) == sent)
        for _ in range(4):      # what else a machine does only adds to a time
            # When it stops for a while, with all it held, and the device and the node's own sources go on
            sent, connected, counted = outage(own_redis, nucleus, publisher, sent)
            # Then both are connected again within a second, and every reading counts once
            assert nucleus.engine.marks.gaps == 0
            if connected < 1.0 and counted < AWAY_S / 2:
                break
        else:
            raise AssertionError((connected, counted))


def outage(server, nucleus, publisher, sent):
    """Readings sent by its end, and the seconds from there until both are connected, and until all is counted."""
    server.stop()
    end = time.monotonic() + AWAY_S
    while time.monotonic() < end:
        sent += publish(publisher, 5)
        nucleus.submit(readings(range(500, 510)), time=now_ms()).result()
        sent += 10
        time.sleep(0.05)
    assert nucleus.status()["redis"]["problem"]
    assert now_ms() - nucleus.engine.clock > 1000 * (AWAY_S - 2)  # time stands still where nobody can tell what waits
    server.start()
    back = time.monotonic()
    assert until(lambda: not nucleus.redis.intake.reader.problem and not publisher.sender.problem)
    connected = time.monotonic()
    assert until(lambda: once(nucleus) == sent), (once(nucleus), sent)
    return sent, connected - back, time.monotonic() - back


def test_a_redis_that_forgot_everything_is_filled_again_by_senders(own_redis, tmp_path):
    # Given batches on Redis that no node has read
    config = on(own_redis.section)
    with Publisher(config, name="d", folder=tmp_path / "tail") as publisher:
        with running(config, tmp_path / "node") as nucleus:
            sent = publish(publisher, 20)
            assert until(lambda: once(nucleus) == sent)
        sent += publish(publisher, 30)
        assert publisher.flush(60)
        # When Redis ends and starts empty
        own_redis.stop()
        own_redis.start()
        # Then the sender sends again what was not committed, and the node counts it, once
        with running(config, tmp_path / "node") as nucleus:
            assert until(lambda: once(nucleus) == sent, 60), (once(nucleus), sent)
            assert nucleus.engine.marks.gaps == 0
            # And the node has said that the stream is another one
            assert nucleus.status()["redis"]["losses"] == 1
            assert "{s00}:in" in nucleus.status()["redis"]["lost"][0]


def test_what_nobody_holds_any_more_is_told_exactly(own_redis, tmp_path):
    # Given a node that is away while bare frames come
    config, client = on(own_redis.section), own_redis.client()
    with running(config, tmp_path) as nucleus:
        client.xadd("{s00}:in", {"m": readings([1])})
        assert until(lambda: once(nucleus) == 1)
    for _ in range(7):
        client.xadd("{s00}:in", {"m": readings([2])})
    # When somebody trims five of them before it reads them
    client.xtrim("{s00}:in", maxlen=2, approximate=False)
    # Then the rest is counted, and the gap is told to the entry
    with running(config, tmp_path) as nucleus:
        assert until(lambda: once(nucleus) == 3)
        (loss,) = nucleus.redis.intake.losses
        assert (loss.entries, loss.why) == (5, "was trimmed by somebody else")
        assert until(lambda: any("lost" in command for turn in nucleus.store.turns(0) for command in turn.commands))


@pytest.mark.parametrize(("nth", "every"), [*((nth, False) for nth in range(1, 60 if CHAOS else 7)), (19, True)])
def test_a_lost_reply_loses_and_doubles_nothing(redis_server, tmp_path, nth, every):
    # Given a node and a device that reach Redis over a line which carries a command out and loses its reply
    with Proxy(redis_server.port) as proxy:
        config = on({"host": "127.0.0.1", "port": proxy.port})
        with running(config, tmp_path / "node") as nucleus, Publisher(config, name="d", folder=tmp_path / "tail") as publisher:
            proxy.lose_reply(nth, every=every)
            # When batches are sent
            sent = publish(publisher, 6, every=0.01)
            # Then each reading counts once
            assert until(lambda: once(nucleus) == sent, 60), (once(nucleus), sent, proxy.replies_lost)
            proxy.lose_none()
            assert nucleus.engine.marks.gaps == 0


def test_a_line_that_is_half_open_is_given_up(redis_server, tmp_path):
    # Given a node over a line that goes silent without ending
    with Proxy(redis_server.port) as proxy, running(on({"host": "127.0.0.1", "port": proxy.port}), tmp_path) as nucleus:
        nucleus.submit(readings([1]), time=now_ms()).result()
        assert until(lambda: once(nucleus) == 1)
        proxy.go_silent()
        assert until(lambda: nucleus.status()["redis"]["problem"], 60)
        # When it passes bytes again, then the node goes on
        proxy.cut()
        proxy.up()
        nucleus.submit(readings([1]), time=now_ms()).result()
        assert until(lambda: once(nucleus) == 2, 60)


def test_a_master_of_a_cluster_is_killed(tmp_path):
    # Given a node and a device on a cluster
    with cluster(node_timeout_ms=1000 * NODE_TIMEOUT_S) as servers:
        config = on(servers[2].section)  # the third master, which the configuration names, has the slot of {s00} and is killed
        with running(config, tmp_path / "node") as nucleus, Publisher(config, name="d", folder=tmp_path / "tail") as publisher:
            times = []
            for victim in range(3):
                sent = once(nucleus) + publish(publisher, 20, every=0.005)
                assert until(lambda sent=sent: once(nucleus) == sent)
                # When the master that has the shard is killed, while batches come
                owner = master_of(servers, "{s00}:in")
                owner.stop()
                killed, before = time.monotonic(), sent
                sent += publish(publisher, 10)
                # Then a replica takes over, within the node timeout and three seconds, and each reading counts once
                assert until(lambda before=before: once(nucleus) > before, 60), victim
                times.append(time.monotonic() - killed)
                sent += publish(publisher, 100, every=0.01)
                assert until(lambda sent=sent: once(nucleus) == sent, 60), (once(nucleus), sent)
                assert nucleus.engine.marks.gaps == 0
                if times[-1] < NODE_TIMEOUT_S + 3 and not CHAOS:
                    break
                owner.start()
                assert until(lambda owner=owner: linked(owner.client()))  # it becomes a replica of its replica
            assert min(times) < NODE_TIMEOUT_S + 3, times


SHARDS = 8


def numbers_on(owner, shard):
    """The number of each batch on the stream of a shard, in its order."""
    return [envelope_sequence(fields[b"m"]) for _, fields in owner.client().xrange(f"{{s{shard:02d}}}:in")]


def publish_to_all(publisher, rounds):
    """A batch for all shards, so many times."""
    for _ in range(rounds):
        publisher.publish(readings(range(0, 1000 * SHARDS, 100)), time=now_ms())


@pytest.mark.parametrize("victim", [0, 1], ids=["the configured one", "another one"])
@pytest.mark.parametrize("silent", [False, True], ids=["killed", "silent"])
def test_shards_on_other_masters_do_not_wait_for_one_that_is_away(tmp_path, victim, silent, caplog):
    # Given a device that sends to shards on three masters, none of which a replica takes over from soon
    with cluster(node_timeout_ms=60_000) as servers:
        config = on(servers[0].section, fragmentos=SHARDS, bloques=[{"id": "b", "canal": 1, "entidades": 1000 * SHARDS}])
        owners = [master_of(servers, f"{{s{shard:02d}}}:in") for shard in range(SHARDS)]
        others = [shard for shard, owner in enumerate(owners) if owner is not servers[victim]]
        assert len(others) < SHARDS
        with Publisher(config, name="d", folder=tmp_path) as publisher:
            publish_to_all(publisher, 5)
            assert publisher.flush(20)
            # When one of them is away
            servers[victim].pause() if silent else servers[victim].stop()
            publish_to_all(publisher, 20)
            # Then the others get all of theirs within seconds, again and again, and the sender says which one is away
            for rounds in (25, 30, 35):
                assert until(lambda rounds=rounds: all(len(numbers_on(owners[shard], shard)) == rounds for shard in others), 10)
                publish_to_all(publisher, 5)
            assert str(servers[victim].port) in publisher.sender.stats().problem
            assert not publisher.flush(0.1)
            # And when it is back, it gets what waited, in order, and nobody anything twice that it had
            servers[victim].go_on() if silent else servers[victim].start()
            assert publisher.flush(30)
            for shard in range(SHARDS):
                found = numbers_on(owners[shard], shard)
                assert found == sorted(set(found)) and len(found) == 40, (shard, found)
            assert until(lambda: not publisher.sender.stats().problem)
        lines = [record.getMessage() for record in caplog.records if record.name == "corec.streams.sender"]
        assert len([line for line in lines if "others go on" in line]) == 1, lines


@pytest.mark.parametrize("ends", [False, True], ids=["comes back", "node restarts"])
def test_entries_wait_on_disk_while_the_store_is_away(redis_server, tmp_path, monkeypatch, ends):
    # Given a node that reads little ahead, whose store takes no turn
    # And two senders, whose entries may come in either order
    config, client = patient(redis_config=redis_server.section), redis_server.client()
    nucleus = CoreCNucleus(config, data=tmp_path / "node", with_sources=False)
    nucleus.start()
    read_little_ahead(nucleus, 5_000, 0.2)
    commit = nucleus.store.commit
    with Publisher(config, name="d", folder=tmp_path / "tail") as publisher:
        sent = publish(publisher, 10)
        assert until(lambda: once(nucleus) == sent)
        monkeypatch.setattr(nucleus.store, "commit", refuse)
        # When batches and bare frames go on coming
        for number in range(200):
            sent += publish(publisher, 1, size=100)
            client.xadd("{s00}:in", {"m": readings([number])})
            sent += 1
            time.sleep(0.5 if number == 50 else 0)
        # Then Redis does not keep them
        spooled = until(lambda: client.xlen("{s00}:in") < 150, 60) and nucleus.status()["redis"]["spool_bytes"]
        if ends:
            with pytest.raises(CoreCError, match="was not committed before the stop"):
                nucleus.stop()
            nucleus = CoreCNucleus(config, data=tmp_path / "node", with_sources=False)
            nucleus.start()
        else:
            monkeypatch.setattr(nucleus.store, "commit", commit)
        assert spooled
        # When the store takes turns again, then they are folded in order, those that come now behind them, each once
        sent += publish(publisher, 10)
        assert until(lambda: once(nucleus) == sent, 60), (once(nucleus), sent)
        assert nucleus.engine.marks.gaps == 0
        assert nucleus.engine.ledger["late"] == 0
        # And committed turns can be folded again
        fresh = RedisIntake(redis_server.address, spool=nucleus.redis.new_intake().reader.spool)
        runs = [turn for turn in nucleus.store.turns(0) if turn.to_offset > turn.from_offset]
        assert any("spool:" in str(turn.commands) for turn in runs)
        assert sum(envelope_head(envelope)[1] for turn in runs for envelope, _ in fresh.again(turn)) >= sent
    nucleus.stop()


def refuse(*_, **__):
    raise StorageError("the store is away")


def test_a_node_starts_while_redis_is_away(own_redis, tmp_path):
    # Given a Redis that is down
    own_redis.stop()
    # When a new node starts, then it takes readings, and counts them when Redis is there
    with running(on(own_redis.section), tmp_path) as nucleus:
        nucleus.submit(readings(range(10)), time=now_ms()).result(60)
        assert nucleus.status()["redis"]["tail"]["waiting"] == 1
        own_redis.start()
        assert until(lambda: once(nucleus) == 10, 5)


def test_what_falls_off_the_bound_is_counted_by_channel_and_cause(own_redis, tmp_path):
    # Given a node with little disk whose Redis is away, and sources that go on
    own_redis.stop()
    with running(on(own_redis.section, max_disk_mb=1), tmp_path) as nucleus:
        rng = np.random.default_rng(1)
        tickets = [nucleus.submit(readings(range(1000), rng.normal(size=1000), 1 + number % 2), time=now_ms()) for number in range(400)]
        done = [ticket.exception(60) for ticket in tickets]
        refused = sum(isinstance(each, DiskFull) for each in done)
        # Then each reading is kept or counted, by its channel, a moment after its sender is told
        assert until(lambda: refused and sum(nucleus.status()["shed"]["no room on disk"].values()) == 1000 * refused), refused
        shed = nucleus.status()["shed"]["no room on disk"]
        assert set(shed) <= {"1", "2"}
        # And the ledger has them all once Redis is back
        own_redis.start()
        assert until(lambda: nucleus.redis.publisher.flush(0.1), 60)
        assert until(lambda: nucleus.report_refused() or nucleus.store.state.ledger.get("in") == 400_000, 60), nucleus.store.state
        assert nucleus.store.state.ledger["shed"] == 1000 * refused


def test_a_node_that_died_starts_while_redis_is_away(tmp_path, monkeypatch):
    # Given a node that died behind its last snapshot, and then a Redis that stopped, keeping what it had
    with server_running("--appendonly", "yes") as server:
        config = on(server.section)
        with running(config, tmp_path) as nucleus:
            nucleus.submit(readings(range(10)), time=now_ms()).result()
            assert until(lambda: once(nucleus) == 10)
            monkeypatch.setattr(nucleus.redis, "stop_reading", lambda pipeline: nucleus.redis.intake.close())   # no snapshot
        server.stop(signal.SIGTERM)
        # When it starts, then it takes readings meanwhile
        with running(config, tmp_path) as nucleus:
            assert nucleus.state == "waiting"
            nucleus.submit(readings(range(20)), time=now_ms()).result(60)
            # And goes on where it stood when Redis is back
            server.start()
            assert until(lambda: nucleus.state == "running" and once(nucleus) == 30, 60), (nucleus.state, nucleus.store.state)
            assert nucleus.engine.marks.gaps == 0


def test_a_node_that_was_killed_finds_redis_emptied(own_redis, tmp_path, monkeypatch):
    # Given a node that has committed what a device sent, and was killed before the device heard of it, and a Redis that forgot all
    config = on(own_redis.section)
    with Publisher(config, name="d", folder=tmp_path / "tail") as publisher:
        sent = publish(publisher, 30, every=0.03)
        assert publisher.flush(20)
    with running(config, tmp_path / "node") as nucleus:
        assert until(lambda: once(nucleus) == sent)
        clock = nucleus.engine.clock
        monkeypatch.setattr(nucleus.redis, "stop_reading", lambda pipeline: nucleus.redis.intake.close())   # no snapshot
    own_redis.stop()
    own_redis.start()
    # When it starts, and the device sends all of that again, and more
    with running(config, tmp_path / "node") as nucleus, Publisher(config, name="d", folder=tmp_path / "tail") as publisher:
        assert nucleus.engine.clock >= clock
        sent += publish(publisher, 20, every=0.03)
        # Then every reading counts once, what was counted before is known, and no window is stored twice
        assert until(lambda: once(nucleus) == sent), (once(nucleus), sent)
        assert until(lambda: nucleus.store.state.ledger["rejected_repeated"] == 300), nucleus.store.state
        assert nucleus.engine.marks.gaps == 0
        assert until(lambda: windows(nucleus)["window"].max() > clock)
        rows = windows(nucleus)
        assert len(rows) == len({(row["block"], row["window"]) for row in rows})


def windows(nucleus):
    with nucleus.store.reader() as reader:
        return reader.history()


def test_a_sender_that_was_idle_sends_first_what_redis_has_forgotten(own_redis, tmp_path):
    # Given a sender whose batches are on Redis, and a Redis that forgets them while it has nothing to send
    with Publisher(on(own_redis.section), name="d", folder=tmp_path) as publisher:
        for _ in range(5):
            publish(publisher, 3)
            assert publisher.flush(20)
            own_redis.stop()
            own_redis.start()
            # When it has more, then that comes behind what it sent before: the other way round, that would count as repeats
            publish(publisher, 3)
            assert publisher.flush(20)
            kept = publisher.sender.stats().kept
            assert until(lambda kept=kept: own_redis.client().xlen("{s00}:in") == kept)
            sent = [envelope_sequence(fields[b"m"]) for _, fields in own_redis.client().xrange("{s00}:in")]
            assert sent == sorted(set(sent)) and len(sent) == kept


def envelope_sequence(envelope):
    return unpack_envelope(envelope).sequence
