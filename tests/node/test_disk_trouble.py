"""Disks that are full, small or slow to stop: what the node says of it, and that it goes on by itself."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from functools import partial

import numpy as np
import pytest

from corec.cli.output.status_text import as_text, one_line
from corec.common.trouble import Trouble
from corec.control.client import ask
from corec.engine import Engine
from corec.errors import DiskFull, ExitCode, StorageError
from corec.nucleus import CoreCNucleus
from corec.pipeline import checkpoints
from corec.simulation import SimulatedClock, World
from tests.support.faults import shim
from tests.support.faults.memory import memory_folder
from tests.support.nodes import now_ms, readings, running, small, until
from tests.support.status_samples import status

pytestmark = pytest.mark.slow

FULL_DISK = """
import ctypes, json, logging, sys, time
from pathlib import Path
from corec.errors import DiskFull
from corec.control.client import ask
from corec.nucleus import CoreCNucleus
from tests.support.nodes import now_ms, readings, small, until

logging.basicConfig(level=logging.INFO, stream=sys.stderr)
disk, data = ctypes.CDLL(None), Path(sys.argv[1])
disk.iotrace_start(str(data).encode(), b"/dev/null")
nucleus = CoreCNucleus(small(), data=data, with_sources=False)
nucleus.start()
submit = lambda: nucleus.submit(readings(range(100)), time=now_ms()).exception(60)
assert submit() is None
assert ask(data, {"op": "status"})["disk"] == {"state": "ok", "since": None, "met": {}}
disk.iotrace_fail(ctypes.c_char(b"w"), 1, 1 << 30)
refused = [submit() for _ in range(40)]
assert all(isinstance(error, DiskFull) for error in refused), refused
nucleus.pipeline.command({"op": "repair", "block": "sensores/0"})
assert until(lambda: "store" in ask(data, {"op": "status"})["disk"]["met"], 60)
print(json.dumps(ask(data, {"op": "status"})), flush=True)
time.sleep(1.2)
disk.iotrace_fail(ctypes.c_char(b"w"), 0, 0)
assert submit() is None
assert until(lambda: not ask(data, {"op": "status"})["disk"]["met"], 60), nucleus.status()["disk"]
assert until(lambda: nucleus.engine.ledger["in"] == 200, 60)
assert until(lambda: nucleus.report_refused() or nucleus.engine.ledger["in"] == 200 + 4000, 60), nucleus.engine.ledger
assert nucleus.engine.ledger["shed"] == 4000
nucleus.stop()
"""
HELD_ALERT = """
import ctypes, logging, sys
from corec.nucleus import CoreCNucleus
from tests.support.nodes import now_ms, readings, small, until

logging.basicConfig(level=logging.INFO, stream=sys.stderr)
disk, data, received = ctypes.CDLL(None), sys.argv[1], []
disk.iotrace_start(data.encode(), b"/dev/null")
with CoreCNucleus(small(), data=data, with_sources=False) as nucleus:
    nucleus.suscribir("corec:alerts", received.append)
    nucleus.submit(readings([1]), time=now_ms()).result(60)
    assert until(lambda: nucleus.store.state.ledger.get("in") == 1, 60)
    disk.iotrace_fail(ctypes.c_char(b"w"), 2, 1 << 30)   # the journal's write passes, the store's do not
    nucleus.submit(readings([7, 8], 500.0), time=now_ms()).result(60)
    assert until(lambda: len(received) == 1, 60)
    assert received[0].fields[b"provisional"] == b"1" and len(received[0].frames) == 20
    assert nucleus.status()["alerts"]["provisional"] == 2 and len(nucleus.store.alerts()) == 0
    disk.iotrace_fail(ctypes.c_char(b"w"), 0, 0)
    assert until(lambda: len(nucleus.store.alerts()) == 2, 60)
    nucleus.submit(readings([9], 500.0), time=now_ms()).result(60)
    assert until(lambda: len(received) == 2, 60)
    assert b"provisional" not in received[1].fields and len(received[1].frames) == 10
    assert nucleus.status()["alerts"]["provisional"] == 0
"""
IN_TIME = """
import os, sys, threading
threading.excepthook = sys.excepthook = lambda *error: (sys.__excepthook__(*error[:3]), sys.stderr.flush(), os._exit(1))
"""


@pytest.fixture(scope="module")
def failing_disk(tmp_path_factory):
    """An environment in which a disk can be made to fill up."""
    if shim.compiler() is None:
        pytest.skip("no C compiler here to build the disk that fails with: install gcc")
    return shim.environment(shim.build(tmp_path_factory.mktemp("shim")))


def test_a_full_disk_shows_is_logged_once_and_is_got_over(failing_disk, tmp_path):
    # Given a node whose disk fills up under it, and is freed later; the program asserts that it goes on alone
    command = [sys.executable, "-c", IN_TIME + FULL_DISK, str(tmp_path / "data")]
    done = subprocess.run(command, env=failing_disk, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    # Then its status said what was full, and since when
    disk = json.loads(done.stdout)["disk"]
    assert disk["state"] == "full" and set(disk["met"]) == {"journal", "store"}
    assert now_ms() - 60_000 < disk["since"] <= disk["met"]["journal"]["since"] < now_ms()
    assert "no room left" in disk["met"]["journal"]["text"]
    # And its log says each of them once, and that it was over
    for line in ("not accepted", "is not committed yet", "[GroupCommitter-test1] works again", "[Pipeline-test1] works again"):
        assert done.stderr.count(line) == 1, (line, done.stderr)


def test_an_alert_that_cannot_be_committed_is_told_at_once_and_once(failing_disk, tmp_path):
    # Given a node whose disk fills up between a reading and the commit of its alert; the program asserts who hears of it when
    done = subprocess.run([sys.executable, "-c", IN_TIME + HELD_ALERT, str(tmp_path / "data")], env=failing_disk, capture_output=True,
                          text=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    # Then the log has it as well
    assert done.stderr.count("high: sensores/0:7 at 500, limit 100; provisional: its turn is not committed yet") == 1, done.stderr


def test_the_status_shows_it_in_words():
    # Given the status of a node whose store is full and whose clock is ahead
    met = {"store": {"since": 1_735_689_661_000, "state": "full", "text": "no room left to commit to data/store.db"}}
    found = status(disk={"state": "full", "since": 1_735_689_661_000, "met": met}, clock={"node": 0, "ahead": "the clock\nHINT: do"})
    # Then both stand in the text, and the disk in the short form too
    text = as_text(found)
    assert "store      DISK FULL since 2025-01-01 00:01:01 UTC: no room left to commit" in text
    assert "clock      the clock\n           HINT: do\n" in text
    assert one_line(found).endswith("; DISK FULL since 00:01:01 UTC") and "DISK" not in one_line(status())


def test_trouble_that_comes_and_goes_is_summed_up(caplog):
    # Given trouble that ends and begins again all the time
    world = World(1)
    trouble = Trouble(logging.getLogger("x"), "Part-x", every_s=0.2, clock=SimulatedClock(world, wall_ms=0))
    for _ in range(50):
        trouble.failed("no room", DiskFull("full"), 3)
        trouble.recovered()
    # Then it was said once, and its end once
    assert [record.getMessage()[:22] for record in caplog.records] == ["[Part-x] no room: full", "[Part-x] works again, "]
    # And after a while the rest in one number
    world.pass_time(0.25)
    trouble.failed("no room", DiskFull("full"), 3)
    assert "(and 147 more since the last such line)" in caplog.text
    assert trouble.status()["state"] == "full"
    trouble.recovered()
    assert trouble.status() is None


def test_a_start_on_a_full_disk_exits_with_the_documented_code(failing_disk, tmp_path):
    # Given a disk without room, met at the first write of a start
    code = (
        "import ctypes, sys; disk = ctypes.CDLL(None)\n"
        "disk.iotrace_start(sys.argv[1].encode(), b'/dev/null'); disk.iotrace_fail(ctypes.c_char(b'w'), int(sys.argv[2]), 1 << 30)\n"
        "from corec.cli import main\n"
        "main(['run', '--data', sys.argv[1], '--for', '0'])"
    )
    for nth in (1, 4, 12):
        data = tmp_path / str(nth)
        command = [sys.executable, "-c", code, str(data), str(nth)]
        done = subprocess.run(command, env=failing_disk, capture_output=True, text=True, cwd=tmp_path)
        # Then the command ends with the code that docs/cli.md names, without a traceback
        assert done.returncode == ExitCode.DISK_FULL, (nth, done.stderr)
        assert "this is a bug" not in done.stderr and "HINT" in done.stderr
        # And a start with room works
        command = [sys.executable, "-m", "corec", "run", "--data", str(data), "--for", "0"]
        assert subprocess.run(command, env=failing_disk, cwd=tmp_path).returncode == 0


def test_a_small_journal_is_kept_from_filling_up():
    # Given a journal of 1 MB, and three times as much of readings that do not compress, at about 2 MB/s, or as fast as they are folded
    with memory_folder() as place, running(small(max_disk_mb=1), place) as nucleus:
        rng, refused, sent = np.random.default_rng(1), 0, 0
        while sent < 450:
            frames = readings(rng.integers(0, 2500, 1000), values=rng.normal(size=1000))
            tickets = [nucleus.submit(frames, time=now_ms()) for _ in range(10)]
            refused += sum(isinstance(ticket.exception(60), DiskFull) for ticket in tickets)
            sent += 10
            time.sleep(0.04)
            assert until(lambda: not nucleus.pipeline.pending)
        # Then snapshots make room before it is full
        assert nucleus.pipeline.checkpoints.count >= 3
        assert refused < sent * 0.2, (refused, sent)
        nucleus.report_refused()


def test_a_quiet_node_with_a_journal_that_may_not_be_trimmed_takes_no_snapshots_for_it(tmp_path):
    with running(small(max_disk_mb=1, conservar_diario_mb=1024), tmp_path) as nucleus:
        frames = readings(range(2000), values=np.random.default_rng(1).normal(size=2000))
        while nucleus.submit(frames, time=now_ms()).exception(60) is None:
            pass
        until(lambda: not nucleus.pipeline.pending)
        time.sleep(0.6)
        taken = nucleus.pipeline.checkpoints.count
        time.sleep(1.2)
        assert nucleus.pipeline.checkpoints.count == taken < 12


@pytest.mark.parametrize("snapshot", [True, False], ids=["snapshot", "turns"])
def test_what_was_shed_is_known_by_channel_and_cause_after_a_restart(tmp_path, snapshot):
    # Given a node that lost readings of two channels, for two reasons, some of them said and some not yet
    expected = {"a plugin floods": {"2": 7}, "no room on disk": {"1": 30, "2": 5}}
    with running(small(), tmp_path) as nucleus:
        nucleus.refused.add_frames(readings(range(10)) + readings(range(2500, 2505), canal=2))
        nucleus.shed(readings(range(2500, 2507), canal=2))
        nucleus.report_refused()
        nucleus.refused.add_frames(readings(range(20)))
        assert nucleus.status()["shed"] == expected
        assert until(lambda: nucleus.store.state.ledger.get("shed") == 22, 60)
        assert nucleus.status()["shed"] == expected
        nucleus.report_refused()
        assert until(lambda: nucleus.store.state.ledger.get("shed") == 42, 60)
        if snapshot:
            nucleus.pipeline.take_snapshot()
    # When it starts again, and once more, then it still knows, and goes on counting
    for more in range(2):
        with running(small(), tmp_path) as nucleus:
            assert nucleus.status()["shed"] == expected
            nucleus.refused.add_frames(readings([1]))
            expected["no room on disk"]["1"] += 1
            nucleus.report_refused()
            assert until(lambda more=more: nucleus.store.state.ledger.get("shed") == 43 + more, 60)


# --- stopping --------------------------------------------------------------------------------------


def tail(nucleus, batches=150):
    """Accept 1,000 readings a batch, and let them be folded."""
    for _ in range(batches):
        nucleus.submit(readings(range(1000)), time=now_ms()).result(60)
    assert until(lambda: not nucleus.pipeline.pending)


def test_a_clean_stop_leaves_nothing_to_replay(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    # Given a node with a tail that is worth a snapshot
    with running(small(), tmp_path) as nucleus:
        tail(nucleus)
    entities = nucleus.engine.entities.copy()
    # When it stopped and starts again, Then no turn is folded again, and the state is the same
    again = CoreCNucleus(small(), data=tmp_path, with_sources=False)
    again.start()
    try:
        assert "replayed" not in caplog.text
        assert np.array_equal(again.engine.entities, entities)
    finally:
        again.stop()


def test_the_tail_does_not_grow_from_start_to_start(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    # Given a node that was killed, so to say, before each snapshot
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "FEW_READINGS", 1 << 60)
        for _ in range(2):
            with running(small(), tmp_path) as nucleus:
                tail(nucleus, 60)
    # When it stops with a tail that is worth a snapshot in all, but not since its start
    caplog.clear()
    with running(small(), tmp_path) as nucleus:
        assert "turns replayed" in caplog.text
    # Then it took one
    assert nucleus.pipeline.checkpoints.count == 1
    caplog.clear()
    with running(small(), tmp_path):
        assert "replayed" not in caplog.text


@pytest.mark.parametrize("slow", ["handing on", "the disk"])
def test_a_stop_that_has_no_time_for_a_snapshot_leaves_the_tail(tmp_path, monkeypatch, caplog, slow):
    caplog.set_level(logging.INFO)
    # Given a node whose snapshot would take too long, when it is stopped, then it does so within a second
    sleep = partial(time.sleep, 0.7 if slow == "handing on" else 1.2)
    assert any(stop_without_snapshot(tmp_path / str(number), monkeypatch, caplog, slow, sleep) < 1.0 for number in range(4))


def stop_without_snapshot(folder, monkeypatch, caplog, slow, sleep):
    """The seconds of a stop that leaves what the next start needs."""
    with monkeypatch.context() as patch:
        nucleus = CoreCNucleus(small(), data=folder, with_sources=False)
        nucleus.start()
        tail(nucleus)
        fsync = os.fsync

        def slow_fsync(fd):
            if threading.current_thread().name == "snapshot":
                sleep()
            fsync(fd)

        if slow == "the disk":
            patch.setattr(os, "fsync", slow_fsync)
        else:
            patch.setattr(checkpoints, "AT_ONCE", 1)
            segments = Engine.snapshot_segments
            patch.setattr(Engine, "snapshot_segments", lambda engine, most: sleep() or segments(engine, most))
        began = time.monotonic()
        nucleus.stop()
        seconds = time.monotonic() - began
        assert not list((folder / "snapshots").glob("*.new"))
        entities = nucleus.engine.entities.copy()
        # And the next start folds the tail again, whatever the old thread does meanwhile
        caplog.clear()
        with running(small(), folder) as again:
            assert "turns replayed" in caplog.text
            assert np.array_equal(again.engine.entities, entities)
            [thread.join() for thread in threading.enumerate() if thread.name == "snapshot"]
            assert again.pipeline.take_snapshot() == 1
    with running(small(), folder) as again:
        assert np.array_equal(again.engine.entities, entities)
    return seconds


# --- who holds the folder --------------------------------------------------------------------------

RECOVERING = """
import sys, time
from corec.pipeline import recovery
from corec.nucleus import CoreCNucleus
from tests.support.nodes import small
refold = recovery.refold
def slowly(*given):
    recovery.refold = refold
    print("replaying", flush=True)
    sys.stdin.readline()
    return refold(*given)
recovery.refold = slowly
nucleus = CoreCNucleus(small(), data=sys.argv[1], with_sources=False)
nucleus.start()
print("running", flush=True)
sys.stdin.readline()
nucleus.stop()
"""


def command(*arguments, **options):
    return subprocess.run([sys.executable, "-m", "corec", *map(str, arguments)], capture_output=True, text=True, **options)


def test_status_tells_of_a_node_that_recovers(tmp_path):
    # Given a node in the middle of its recovery
    with running(small(), tmp_path) as nucleus:
        nucleus.submit(readings(range(100)), time=now_ms()).result(60)
    node = subprocess.Popen([sys.executable, "-c", RECOVERING, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert node.stdout.readline() == "replaying\n"
        # Then status says so
        shown = command("status", "--data", tmp_path)
        assert shown.returncode == 0 and f"process {node.pid} holds" in shown.stdout and "recovering" in shown.stdout
        assert json.loads(command("status", "--data", tmp_path, "--json").stdout)["state"] == "recovering"
        # And a second node is told who is there
        second = command("run", "--data", tmp_path, "--for", "0")
        assert second.returncode == ExitCode.IN_USE and f"process {node.pid}" in second.stderr
        print(file=node.stdin, flush=True)
        assert node.stdout.readline() == "running\n"
        assert ask(tmp_path, {"op": "status"})["state"] == "running"
        print(file=node.stdin, flush=True)
        assert node.wait(60) == 0
    finally:
        node.kill()
        node.wait()
    # And when it is gone, that none runs
    assert command("status", "--data", tmp_path).returncode == ExitCode.USAGE


def test_a_data_folder_that_may_only_be_read_is_refused_in_words(tmp_path):
    with running(small(), tmp_path / "data"):
        pass
    lock = tmp_path / "data" / "lock"
    lock.unlink()
    lock.mkdir()  # nobody, root neither, can open it for writing
    with pytest.raises(StorageError, match="expected a folder that can be written to, got") as caught:
        CoreCNucleus(small(), data=tmp_path / "data", with_sources=False).start()
    assert "--data" in caught.value.hint
