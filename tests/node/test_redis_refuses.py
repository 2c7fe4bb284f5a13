"""Redis answers and refuses to write: what waits keeps its order and is sent when that is over, and the log stays short."""
import logging
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from corec._core.wire import unpack_envelope
from corec.publish import Publisher
from tests.support.nodes import now_ms, readings, running, small, until

pytestmark = [pytest.mark.slow, pytest.mark.redis]


WITHIN_S = 2.5


def no_memory(client):
    client.config_set("maxmemory", 1)
    return lambda: client.config_set("maxmemory", 0)


def no_right(client):
    client.acl_setuser("default", enabled=True, commands=["-xadd"])
    return lambda: client.acl_setuser("default", enabled=True, commands=["+@all"])


def no_replicas(client):
    client.config_set("min-replicas-to-write", 3)
    return lambda: client.config_set("min-replicas-to-write", 0)


def read_only(client):
    client.execute_command("REPLICAOF", "127.0.0.1", 1)
    return lambda: client.execute_command("REPLICAOF", "NO", "ONE")


def no_snapshot(client):
    """Redis cannot save to its disk, and refuses to write for that (MISCONF)."""
    in_its_way = Path(client.config_get("dir")["dir"], client.config_get("dbfilename")["dbfilename"])
    in_its_way.mkdir()
    client.config_set("save", "3600 1")
    client.bgsave()
    assert until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")

    def allow():
        in_its_way.rmdir()
        client.bgsave()

    return allow


def once(nucleus) -> int:
    """Readings that were counted, each once."""
    ledger = nucleus.store.state.ledger
    return ledger.get("in", 0) - ledger.get("rejected_repeated", 0)


@pytest.mark.parametrize(("refuse", "reason"), [(no_memory, "raise it"), (no_right, "docs/redis.md has the ACL"),
                                                (no_replicas, "its replicas"), (read_only, "name the master"),
                                                (no_snapshot, "that its disk")])  # fmt: skip
def test_a_server_that_refuses_to_write(own_redis, tmp_path, caplog, refuse, reason):
    # Given a node and a device on a Redis
    config, client = small(redis_config=own_redis.section), own_redis.client()
    with running(config, tmp_path / "node") as nucleus, Publisher(config, name="d", folder=tmp_path / "tail") as publisher:
        publisher.publish(readings(range(10)), time=now_ms())
        nucleus.submit(readings(range(10)), time=now_ms()).result()
        assert until(lambda: once(nucleus) == 20)
        # When it refuses writes for a while, in which both go on
        caplog.clear()
        allow, end, sent = refuse(client), time.monotonic() + WITHIN_S, 20
        while time.monotonic() < end:
            publisher.publish(readings(range(10)), time=now_ms())
            nucleus.submit(readings(range(10)), time=now_ms()).result()
            sent += 20
            time.sleep(0.02)
        assert publisher.sender.stats().problem and nucleus.status()["redis"]["problem"]
        allow()
        # Then all is counted, once, in the order in which it was sent
        assert until(lambda: once(nucleus) == sent, 30), (once(nucleus), sent)
        assert nucleus.engine.marks.gaps == 0
        numbers = defaultdict(list)
        for _, fields in client.xrange("{s00}:in"):
            batch = unpack_envelope(fields[b"m"])
            numbers[batch.producer].append(batch.sequence)
        assert len(numbers) == 2 and all(found == sorted(set(found)) for found in numbers.values())
        # And each part of the node and the device has said when it began and when it was over
        assert until(lambda: not publisher.sender.problem and not nucleus.redis.outputs.problem)
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING and record.name.startswith("corec")]
    assert all(line.isprintable() for message in lines for line in message.splitlines()), lines
    assert any(reason in line for line in lines), lines
    by_part = Counter(line.partition("]")[0] for line in lines)
    assert by_part["[Sender-test1"] == 4, lines     # the device and the node: one each when it begins, one when it is over
    assert max((count for part, count in by_part.items() if part != "[Sender-test1"), default=0) <= 2, lines


def test_what_was_committed_meanwhile_is_told_to_senders_when_it_is_over(own_redis, tmp_path):
    # Given a node that has committed what a device sent while Redis took no word of it
    config, client = small(redis_config=own_redis.section), own_redis.client()
    with running(config, tmp_path / "node") as nucleus, Publisher(config, name="d", folder=tmp_path / "tail") as publisher:
        publisher.publish(readings(range(10)), time=now_ms())
        assert until(lambda: once(nucleus) == 10 and publisher.sender.stats().kept == 0)
        client.acl_setuser("default", enabled=True, commands=["-hset"])
        publisher.publish(readings(range(10)), time=now_ms())
        assert until(lambda: once(nucleus) == 20 and nucleus.redis.outputs.problem)
        # When it takes it again, though nothing more is committed, then the device lets go
        client.acl_setuser("default", enabled=True, commands=["+@all"])
        assert until(lambda: publisher.sender.stats().kept == 0)
