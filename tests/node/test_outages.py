"""An outage of a server is one log line when it begins and one when it is over, however many parts of a node need that server."""
import logging
import time

import pytest

from corec.common.outages import QUIET_S, Outage
from corec.common.trouble import Trouble
from corec.config import parse
from corec.errors import ServerError
from tests.support.nodes import SMALL, now_ms, readings, running, until
from tests.support.servers.postgres import running as running_postgres
from tests.support.servers.redis import running as running_redis

#: Longer than each part of a node needs to notice, and to try again.
AWAY_S = 3.0


def lines(caplog):
    return [record.getMessage().splitlines()[0] for record in caplog.records if record.levelno >= logging.WARNING]


def send_for(nucleus, seconds):
    """Readings all the while, so that every part has something to do."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        nucleus.submit(readings([1, 2, 3]), time=now_ms())
        time.sleep(0.1)


@pytest.mark.slow
def test_each_outage_of_redis_and_of_postgresql_is_two_lines(tmp_path, caplog):
    # Given a node on both servers: reader, sender, router, outputs and lease need Redis
    caplog.set_level(logging.WARNING)
    with running_postgres() as postgres, running_redis("--appendonly", "yes") as redis:
        config = parse({**SMALL, "redis_config": redis.section, "db_config": postgres.address("postgres")})
        with running(config, tmp_path / "data") as nucleus:
            send_for(nucleus, 1)
            for server, name in ((redis, "Redis at "), (postgres, "PostgreSQL at ")):
                caplog.clear()
                # When one of them is away for a while, and comes back
                server.stop()
                send_for(nucleus, AWAY_S)
                assert len(lines(caplog)) == 1, lines(caplog)
                server.start()
                assert until(lambda: (send_for(nucleus, 0.2), len(lines(caplog)) == 2)[1], 60), lines(caplog)
                send_for(nucleus, 2)
                # Then one line says that it went, and one that it is back
                first, last = lines(caplog)
                assert name in first and "b'" not in first, first
                assert name in last and "answers again, after" in last


class Hand:
    """A clock that is set by hand."""

    def __init__(self):
        self.now = 100.0

    def steady_s(self):
        return self.now

    def wall_ms(self):
        return int(self.now * 1000)


def test_who_notices_late_does_not_begin_another_outage():
    # Given two who need a server, of which one notices its broken connection only when the other has reached it again
    outage, clock, a, b = Outage(), Hand(), Hand(), Hand()
    assert outage.begin(a, clock)
    clock.now += 5
    assert outage.end(a, clock) == 5
    clock.now += 1
    assert not outage.begin(b, clock) and outage.end(b, clock) is None
    # Then one that lasts is an outage all the same
    assert not outage.begin(b, clock)
    clock.now += QUIET_S
    assert outage.begin(b, clock)
    clock.now += 1
    assert outage.end(b, clock) == QUIET_S + 1


def test_the_last_who_reaches_the_server_says_so_and_who_has_ended_is_not_waited_for():
    outage, clock, (a, b, c) = Outage(), Hand(), [Hand() for _ in range(3)]
    assert outage.begin(a, clock) and not outage.begin(b, clock) and not outage.begin(c, clock)
    assert outage.end(a, clock) is None
    outage.forget(c)
    clock.now += 1
    assert outage.end(b, clock) == 1


def test_a_server_that_answers_with_a_refusal_is_back(caplog):
    # Given somebody for whom a server was away
    log, clock = logging.getLogger("test"), Hand()
    trouble = Trouble(log, "Part-x", clock=clock)
    trouble.failed("", ServerError("no answer", away="Redis at here"))
    clock.now += 2
    # When it answers, and refuses, Then both are said
    trouble.failed("", ServerError("OOM"))
    assert [record.getMessage() for record in caplog.records] == [
        "[Part-x] no answer", "[Part-x] Redis at here answers again, after 2.0 s", "[Part-x] OOM"]  # fmt: skip
    assert trouble.status()["state"] == "failing"
