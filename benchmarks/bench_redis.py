"""A node on a real Redis: readings it keeps up with, and milliseconds from a reading to its alert.

The server is the tests' own (tests/support/servers/redis.py), on loopback; node, producer and server are processes of their own.
"""
import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.servers.redis import running

ROOT = Path(__file__).parent.parent
ENTITIES = 1_000_000
SUSTAINED, OFFERED = 1_000_000, 1_050_000
ALERT_RATE = 100_000
P50_MS, P99_MS = 5.0, 20.0
#: Cores that server, node and producer may take together.
CORES = 2.0
BINS_MS = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100)


def child(*arguments, **options):
    return subprocess.Popen([sys.executable, "-m", "benchmarks.child_redis", *map(str, arguments)], cwd=ROOT, text=True,
                            stdout=subprocess.PIPE, **options)  # fmt: skip


class RedisNode:
    """The node in a process of its own, which answers a line with its figures."""

    def __init__(self, port, data):
        self.process = child("node", port, data, ENTITIES, stdin=subprocess.PIPE)
        assert json.loads(self.process.stdout.readline())["ready"]

    def ask(self):
        print("?", file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def stop(self):
        self.process.stdin.close()
        self.process.wait(30)


@pytest.fixture
def server():
    with running() as found:
        yield found


@pytest.fixture
def node(server, tmp_path):
    found = RedisNode(server.port, tmp_path / "data")
    yield found
    found.stop()


def cpu_of(server):
    times = psutil.Process(server._process.pid).cpu_times()
    return times.user + times.system


def test_readings_it_keeps_up_with(server, node, report, quick):
    # Given a node on Redis, when a producer offers uniform random ids, 1,000 an entry, for a minute
    seconds = 10 if quick else 60
    before, redis_before = node.ask(), cpu_of(server)
    report_of_load = json.loads(child("offer", server.port, ENTITIES, seconds, OFFERED).communicate()[0])
    at_end, redis_cores = node.ask(), (cpu_of(server) - redis_before) / report_of_load["seconds"]
    # Then all but the last moment is committed when it ends
    rate = at_end["readings"] / report_of_load["seconds"]
    cores = (at_end["cpu"] - before["cpu"]) / report_of_load["seconds"]
    share = f"{cores:.2f} cores of the node, {redis_cores:.2f} of Redis; the producer took {report_of_load['cores']:.2f}"
    report.judge("redis", f"readings committed a second, {seconds} s at {OFFERED:,} offered", f"{rate:,.0f}/s", f">= {SUSTAINED:,}",
                 rate >= SUSTAINED and cores + redis_cores <= CORES, yardstick=share)
    stream = at_end["redis"]["streams"][1]
    report.note("redis", "bytes a reading on Redis, in entries of 1,000", f"{stream['bytes'] / max(stream['entries'], 1) / 1000:.1f}")
    report.note("redis", "RAM of Redis, and traffic", f"{at_end['redis']['ram_bytes'] / 1e6:.0f} MB",
                f"documented: 50-100 MB; {at_end['redis']['bytes_per_s'] / 1e6:.1f} MB/s at a thousand times its 1,000 messages/s")


def test_milliseconds_from_reading_to_alert(server, node, report, quick):
    # Given a load of 100,000 readings a second, some of them beyond their limit
    report_of_load = json.loads(child("alerts", server.port, ENTITIES, 10 if quick else 60, ALERT_RATE).communicate()[0])
    took = sorted(report_of_load["took_ms"])
    # Then each gives an alert in corec:alerts, once
    assert len(took) == report_of_load["marks"]
    p50, p99 = took[len(took) // 2], took[int(0.99 * len(took))]
    report.table("ms from XADD of a reading to its alert in corec:alerts, at 100,000 readings/s", histogram(took))
    report.judge("redis", "reading in to alert out, p50 / p99", f"{p50:.1f} / {p99:.1f} ms", f"< {P50_MS:g} / < {P99_MS:g} ms",
                 p50 < P50_MS and p99 < P99_MS)


def histogram(took):
    """Lines of a table: how many took up to so long."""
    lines, low = [["up to ms", "alerts", ""]], 0.0
    for high in (*BINS_MS, float("inf")):
        count = sum(low <= each < high for each in took)
        lines.append([f"{high:g}", str(count), "#" * round(60 * count / len(took))])
        low = high
    return lines
