"""The node as a user runs it: memory and load at rest, start, recovery after a kill, sustained rate of readings."""
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.child_node import config_of
from benchmarks.harness import best_of
from corec.control.client import NodeNotRunning, ask
from corec.errors import CoreCError

ROOT = Path(__file__).parent.parent
MB = 1 << 20
MILLION = 1_000_000
IDLE_MB, IDLE_SHARE = 60, 0.01
START_S, RECOVERY_S = 1.0, 2.0
#: Resident memory of a node all of whose entities have had readings.
NODE_MB = {MILLION: 120, 10 * MILLION: 450}
SUSTAINED = 500_000
#: Readings a second that the load offers, above what a node can fold.
OFFERED = 550_000
#: Readings to replay after a kill: five seconds at the sustained rate.
REPLAYED = 5 * SUSTAINED


def spawn(*arguments):
    """A process of this Python in the project's folder."""
    return subprocess.Popen([sys.executable, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def corec_run(config, data, seconds):
    return spawn("-m", "corec", "run", "--config", config, "--data", data, "--for", seconds)


def ended(process):
    """Stop a node politely and wait for it."""
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def last_line_of(*arguments):
    """The last line that a child prints, parsed as JSON."""
    output, _ = spawn(*arguments).communicate(timeout=600)
    try:
        return json.loads(output.splitlines()[-1])
    except (ValueError, IndexError):
        raise AssertionError(f"expected a line of JSON from {arguments}, got:\n{output}") from None


def seconds_until(data, is_there, began, limit=30.0):
    """Seconds from *began* until the node's status satisfies *is_there*."""
    while time.monotonic() - began < limit:
        try:
            if is_there(ask(data, {"op": "status"}, timeout=2.0)):
                return time.monotonic() - began
        except (NodeNotRunning, CoreCError):
            pass
        time.sleep(0.005)
    raise AssertionError(f"the node on {data} was not there within {limit} s")


@pytest.fixture
def config_folder(tmp_path):
    """Writes a configuration of so many entities; its folder."""

    def write(entities):
        folder = tmp_path / f"config-{entities}"
        folder.mkdir()
        (folder / "corec_config.json").write_text(json.dumps(config_of(entities)))
        (folder / "plugins_config.json").write_text("{}")
        return folder

    return write


def test_idle(report, quick, tmp_path):
    """The documented configuration, a million entities, and this machine's own sensors once a second: what `make run` starts."""
    process = corec_run(ROOT / "configs", tmp_path / "data", 600)
    try:
        seconds_until(tmp_path / "data", lambda status: status["commit"]["turns"] > 0, time.monotonic())
        time.sleep(1)
        node = psutil.Process(process.pid)
        share = best_of(lambda _: share_of_a_core(node, 5 if quick else 20), wanted=IDLE_SHARE, least=1, most=4)
        rss = node.memory_info().rss
        assert process.poll() is None, "the node ended while it was measured"
    finally:
        ended(process)
    report.judge("node", "idle, memory", f"{rss / MB:.0f} MB RSS", f"<= {IDLE_MB} MB", rss <= IDLE_MB * MB)
    report.judge("node", "idle, load", f"{share:.2%} of a core", f"< {IDLE_SHARE:.0%}", share < IDLE_SHARE)


def share_of_a_core(process, seconds):
    """What the process used while so long went by."""
    began, before = time.monotonic(), sum(process.cpu_times()[:2])
    time.sleep(seconds)
    return (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began)


def test_start(report, quick, tmp_path):
    """From exec to the first committed readings of this machine's sensors, on a new data folder."""
    best = best_of(lambda number: started_in(tmp_path / f"data{number}"), wanted=START_S, least=2 if quick else 8, most=8)
    report.judge("node", "start, 1 M entities, to the first commit", f"{best:.2f} s", f"< {START_S:g} s", best < START_S)


def started_in(data):
    began = time.monotonic()
    process = corec_run(ROOT / "configs", data, 60)
    try:
        return seconds_until(data, lambda status: status["commit"]["turns"] > 0 and status["readings"]["total"] > 0, began)
    finally:
        ended(process)


def test_recovery(report, quick, tmp_path, config_folder):
    """SIGKILL, then from exec until all that was accepted is committed again; best of a few, each from the same remains."""
    remains = tmp_path / "remains"
    child = spawn("-m", "benchmarks.child_node", "fill", remains, MILLION, REPLAYED)
    left = json.loads(child.stdout.readline())
    child.kill()
    child.communicate()
    config = config_folder(MILLION)
    best = best_of(lambda number: recovered_in(config, remains, tmp_path / f"data{number}", left["readings"]), wanted=RECOVERY_S,
                   least=1 if quick else 5, most=5)
    report.judge("node", f"recovery, 1 M entities, {REPLAYED / 1e6:.1f} M readings behind the snapshot", f"{best:.2f} s", f"< {RECOVERY_S:g} s",
                 best < RECOVERY_S)


def recovered_in(config, remains, data, readings):
    shutil.copytree(remains, data, ignore=shutil.ignore_patterns("*.sock"))
    began = time.monotonic()
    process = corec_run(config, data, 60)
    try:
        return seconds_until(data, lambda status: status["ledger"]["in"] >= readings and not status["journal"]["pending"], began)
    finally:
        ended(process)


def test_sustained(report, quick, tmp_path):
    """Uniform random ids, 1,000 a batch, accepted and committed, with snapshots and trimming."""
    seconds = 8 if quick else 60
    found = last_line_of("-m", "benchmarks.child_node", "sustain", tmp_path / "data", MILLION, seconds, OFFERED)
    ledger = found["ledger"]
    assert ledger["in"] == found["sent"] == sum(ledger[part] for part in ("stored", "filtered", "late", "shed", "rejected"))
    assert found["snapshots"] and (quick or found["trimmed"]), f"expected snapshots and a trimmed journal, got {found}"
    rate = found["sent"] / found["committed_s"]
    report.judge("node", f"random ids, 1,000 a batch, {seconds} s, {found['snapshots']} snapshots", f"{rate / 1e3:,.0f} k readings/s",
                 f">= {SUSTAINED / 1e3:,.0f} k/s", rate >= SUSTAINED, yardstick=f"{OFFERED / 1e3:,.0f} k/s offered")
    report.note("node", "the same, what it took", f"{found['cores']:.2f} cores, {found['rss'] / MB:.0f} MB RSS",
                f"commit p50 {found['commit']['p50_ms']:.0f} ms, p99 {found['commit']['p99_ms']:.0f} ms")


@pytest.mark.parametrize("entities", NODE_MB, ids=lambda size: f"{size:,}")
def test_memory(report, quick, tmp_path, entities):
    """A node all of whose entities have had readings."""
    if quick and entities > MILLION:
        pytest.skip("only in the full form")
    rss, limit = last_line_of("-m", "benchmarks.child_node", "weigh", tmp_path / "data", entities)["rss"], NODE_MB[entities]
    report.judge("node", f"{entities:,} entities, all heard", f"{rss / MB:.0f} MB RSS", f"<= {limit} MB", rss <= limit * MB)
