"""Keys of CoreC's on Redis that hold what others wrote there, and text of others on its way to a log or a terminal."""
import logging
import time

import pytest

from corec.common.logs import NamedFormatter
from corec.common.text import printable
from corec.config import parse
from corec.streams.redis.keys import BARE_STREAM, FIELD, mark_of
from corec.workers.leases import Lease, Leases
from tests.support.nodes import SMALL, now_ms, readings, running, until

JUNK = b"\xff\x1b[31mjunk\n[Fake] all is well"


@pytest.fixture
def formatted(caplog):
    """The log as it is shown."""
    caplog.set_level(logging.INFO)
    formatter = NamedFormatter()
    return lambda: "\n".join(formatter.format(record) for record in caplog.records)


@pytest.mark.slow
def test_a_node_goes_on_whatever_stands_in_its_keys(tmp_path, redis_server, formatted):
    # Given a node on Redis that has sent, read, committed and routed
    client = redis_server.client()
    with running(parse({**SMALL, "redis_config": redis_server.section}), tmp_path / "data") as nucleus:
        nucleus.submit(readings([1, 2, 3]), time=now_ms()).result(60)
        client.xadd(BARE_STREAM, {FIELD: readings([4])})
        assert until(lambda: nucleus.engine.ledger["in"] == 4, 60)
        # When each key that is a value or a hash holds junk, one after the other
        for key in ("{s00}:committed", "{s00}:routed", "{s00}:life"):
            assert until(lambda: client.exists(key), 60), key  # noqa: B023
            if client.type(key) == b"hash":
                client.hset(key, mapping={**dict.fromkeys(client.hkeys(key), JUNK), JUNK: JUNK})
            else:
                client.set(key, JUNK)
            time.sleep(0.5)
            # Then what is sent goes on to count, once
            before = nucleus.engine.ledger["in"] - nucleus.engine.ledger.get("rejected", 0)
            nucleus.submit(readings([1, 2, 3]), time=now_ms()).result(60)
            client.xadd(BARE_STREAM, {FIELD: readings([4])})
            assert until(lambda: nucleus.engine.ledger["in"] - nucleus.engine.ledger.get("rejected", 0) >= before + 4, 60), key  # noqa: B023
    # And nothing of it is a bug of CoreC's, nor comes into the log as it is
    text = formatted()
    assert "bug in CoreC" not in text and "Traceback" not in text, text
    assert "\x1b" not in text and "b'" not in text


@pytest.mark.parametrize("junk", [None, JUNK, b"17", b"1-2\n", b"-1-2", b""])
def test_a_mark_is_an_id_or_the_beginning(junk):
    assert (mark_of(b"17-3"), mark_of(junk)) == ("17-3", "0-0")


@pytest.mark.slow
def test_leases_that_are_none_count_as_gone(redis_server):
    # Given a worker's lease, and junk in the keys beside it
    leases = Leases(redis_server.address, "planta")
    client = redis_server.client()
    leases.renew(Lease("w1", "queue", 1, "here"))
    key = next(key for key in client.keys() if key.endswith(b":workers"))
    client.sadd(key, b"w2", JUNK)
    client.set(key.replace(b":workers", b":worker:w2"), JUNK)
    # When who lives is asked, Then it is the one
    assert list(leases.live()) == ["w1"]


def test_what_is_unprintable_is_escaped_in_the_log():
    # Given a line with colours, a bell, a bidirectional mark and a lone surrogate in it
    record = logging.makeLogRecord({"name": "p", "levelno": 20, "msg": "[P] %s\tend\nnext", "args": ("\x1b[31mred\x07\u202e\udcff",)})
    # Then it is shown without any of them
    assert NamedFormatter().format(record) == "[P] \\x1b[31mred\\x07\\u202e\\udcff\tend\nnext"
    assert printable("plain ü °C") == "plain ü °C"
