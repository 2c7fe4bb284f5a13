"""The disk of a node on servers is full: what it keeps there fails, what goes by way of the servers flows, and nothing is lost."""
import json
import os
import subprocess
import sys

import pytest

from tests.support.faults import shim

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.redis, pytest.mark.postgres]

STEP = 1 if os.environ.get("COREC_CHAOS") else 4
FULL_FOR_GOOD = """
import ctypes, json, sys
import redis
from corec.errors import DiskFull
from corec.nucleus import CoreCNucleus
from tests.support.crash.redis_evidence import bare
from tests.support.nodes import now_ms, readings, small, until

disk, data, servers = ctypes.CDLL(None), sys.argv[1], json.loads(sys.argv[2])
disk.iotrace_start(data.encode(), b"/dev/null")
received = []
with CoreCNucleus(small(**servers), data=data, with_sources=False) as nucleus:
    client = redis.Redis(**servers["redis_config"])
    nucleus.suscribir("corec:alerts", received.append)
    disk.iotrace_fail(ctypes.c_char(b"w"), 1, 1 << 30)
    assert isinstance(nucleus.submit(readings([1]), time=now_ms()).exception(60), DiskFull)
    for number in range(20):
        client.xadd("corec:in", {"m": bare(number, 1, 500.0 + number)})
    assert until(lambda: sum(len(entry.frames) for entry in received) == 200, 60), received
    assert until(lambda: sum(len(fields[b"m"]) for _, fields in client.xrange("corec:alerts")) == 200, 60)
    assert len(nucleus.store.alerts()) == 20 and not any(b"provisional" in entry.fields for entry in received)
    assert nucleus.status()["disk"]["state"] == "full"
    disk.iotrace_fail(ctypes.c_char(b"w"), 0, 0)
    assert nucleus.submit(readings([1]), time=now_ms()).exception(60) is None
    assert until(lambda: nucleus.report_refused() or nucleus.store.state.ledger["in"] == 22), nucleus.store.state
    assert nucleus.store.state.ledger["shed"] == 1
    assert until(lambda: not nucleus.status()["disk"]["met"], 60), nucleus.status()["disk"]
"""


@pytest.fixture(scope="module")
def failing_disk(tmp_path_factory):
    """An environment in which a disk can be made to fill up."""
    if shim.compiler() is None:
        pytest.skip("needs a C compiler")
    return shim.environment(shim.build(tmp_path_factory.mktemp("shim")))


def test_a_disk_that_fills_up_at_the_nth_write_for_each_n(failing_disk, redis_server, tmp_path):
    # Given a node and a device whose tails, spool and store are on a disk that fills up at their nth write, for each n
    command = [sys.executable, "-m", "tests.support.faults.redis_disk", str(tmp_path), str(redis_server.port), str(STEP)]
    # When readings go on coming; the program asserts that each counts once after each of these, in one life of the node
    done = subprocess.run(command, env=failing_disk, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    # Then there were writes of all of them to fail, each was said, and no thread ended
    assert found["writes"] > 20 and found["alerts"] == len(range(1, found["writes"] + 1, STEP))
    assert "Traceback" not in done.stderr
    if STEP == 1:
        assert all(f"[{part}-test1]" in done.stderr for part in ("GroupCommitter", "Spool", "Tail")), done.stderr
    # And what it left behind is sound
    checked = subprocess.run([sys.executable, "-m", "corec", "check", "--data", str(tmp_path / "node"), "--embedded"],
                             capture_output=True, text=True, check=False)  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alerts_flow_by_way_of_the_servers_while_this_disk_is_full(failing_disk, redis_server, database, tmp_path):
    # Given a node on Redis and PostgreSQL whose own disk is full, when devices send to the bare stream, then their alerts are
    # committed, on Redis and received; what the node itself gathers is refused and counted; with room again all goes on
    servers = {"redis_config": redis_server.section, "db_config": database}
    done = subprocess.run([sys.executable, "-c", FULL_FOR_GOOD, str(tmp_path), json.dumps(servers)], env=failing_disk,
                          capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
