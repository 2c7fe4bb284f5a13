"""`corec workers` as the supervisor of its workers: who stands still is killed and started again."""
import os
import signal
import socket
import sys
import threading
import time

import psutil
import pytest

from corec.common.systemd import NotifyReceiver, Supervisor
from corec.workers import processes
from tests.support.nodes import until
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

#: Says that it is ready, and from then on that it goes on, until it is received to stand still.
TALKER = """
import signal, sys, time
from corec.common.systemd import Supervisor
still = []
signal.signal(signal.SIGUSR1, lambda *_: still.append(1))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
Supervisor().send("READY=1")
while True:
    time.sleep(0.02)
    if not still:
        Supervisor().send("WATCHDOG=1")
"""
COMMAND = [sys.executable, "-c", TALKER]
SILENT_S = 2.0


@pytest.fixture
def worker(monkeypatch):
    """A worker whose process is TALKER."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    worker = processes.Worker(1, "configs", None, "info", command=COMMAND, silent_s=SILENT_S, again_s=0.1)
    yield worker
    worker.stop(signal.SIGKILL)
    worker.wait(60)
    worker.close()


def sees(worker, what):
    return until(lambda: worker.keep_alive() or what(), 60)


def running():
    """The processes that run TALKER."""
    return [child.pid for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE and TALKER in child.cmdline()]


@pytest.mark.parametrize("how", [signal.SIGUSR1, signal.SIGSTOP], ids=["says nothing", "does not run"])
def test_a_worker_that_stands_still_is_killed_and_started_again(worker, how):
    # Given a worker that tells that its turns go on
    assert sees(worker, lambda: worker.ready)
    first = running()
    # When it tells nothing any more, Then another takes its place
    worker.stop(how)
    assert sees(worker, lambda: len(running()) == len(first) == 1 and running() != first)
    assert sees(worker, lambda: worker.ready)


def test_a_worker_that_goes_on_is_left_alone(worker):
    # Given a worker that tells that its turns go on, for longer than one may be silent
    assert sees(worker, lambda: worker.ready)
    first, end = running(), time.monotonic() + 1.5 * SILENT_S
    assert sees(worker, lambda: time.monotonic() > end)
    # Then its process is the same
    assert running() == first and len(first) == 1


def test_the_supervisor_of_all_hears_that_they_are_ready(monkeypatch, tmp_path):
    # Given a supervisor of `corec workers`
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(str(tmp_path / "notify"))
        link.settimeout(120)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        over = threading.Event()
        # When they run, and are received to stop
        run = threading.Thread(target=processes.keep_running, args=(2, "configs", None, "info", over, lambda text: None, COMMAND))
        run.start()
        received = [link.recv(200).decode()]
        while "READY=1" not in received or received.count("WATCHDOG=1") < 3:
            received.append(link.recv(200).decode())
        over.set()
        while received[-1] != "STOPPING=1":
            received.append(link.recv(200).decode())
        run.join()
        # Then it was received so once, not by each of them
        assert received.count("READY=1") == received.count("STOPPING=1") == 1


def test_an_ear_hears_one_process(monkeypatch):
    receiver = NotifyReceiver()
    environment = receiver.environment(0.000002)
    sender = Supervisor(environment)
    sender.send("READY=1")
    sender.beat(1)
    assert receiver.received() == ["READY=1", "WATCHDOG=1"] and receiver.received() == []
    receiver.close()


def test_a_supervisor_that_does_not_listen_holds_nobody_up():
    receiver = NotifyReceiver()
    sender = Supervisor(receiver.environment(1))
    for _ in range(1000):
        sender.send("WATCHDOG=1")
    assert 0 < len(receiver.received()) < 1000
    receiver.close()
