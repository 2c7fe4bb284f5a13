"""What a supervisor is told: that the node is ready, that its turns go on, that it stops."""
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from corec.common.systemd import Supervisor
from tests.support.nodes import now_ms, readings, running, small, until

pytestmark = pytest.mark.slow


@pytest.fixture(params=["a file", "an abstract name"])
def supervisor(request, tmp_path):
    """A socket as systemd's, and its name as NOTIFY_SOCKET has it."""
    name = str(tmp_path / "notify") if request.param == "a file" else f"@corec-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(name.replace("@", "\0", 1))
        link.settimeout(120)
        yield link, name


def heard(link):
    """What lies there already."""
    link.settimeout(0.0)
    try:
        while True:
            yield link.recv(200).decode()
    except BlockingIOError:
        return


def test_a_node_says_that_it_is_ready_alive_and_stopping(supervisor, tmp_path):
    # Given a node under a supervisor that wants to hear of it every 0.6 s
    link, name = supervisor
    env = {**os.environ, "NOTIFY_SOCKET": name, "WATCHDOG_USEC": "600000"}
    command = [sys.executable, "-m", "corec", "run", "--data", tmp_path / "data", "--config", "configs/demo"]
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as node:
        try:
            # Then it is told once the node runs, and again and again
            told = [link.recv(200).decode() for _ in range(4)]
            assert told == ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]
            # And when the node is asked to stop, that it does
            node.send_signal(signal.SIGTERM)
            assert node.wait(60) == 0
            assert list(heard(link))[-1] == "STOPPING=1"
        finally:
            node.kill()


def test_a_pipeline_that_hangs_moves_nothing_on(tmp_path):
    # Given a node that folds
    with running(small(), tmp_path) as nucleus:
        before = nucleus.progress
        nucleus.submit(readings([1, 2]), time=now_ms()).result(60)
        assert until(lambda: nucleus.progress > before)
        # When its store does not come back from a commit
        hanging, free = threading.Event(), threading.Event()
        commit = nucleus.store.commit
        nucleus.store.commit = lambda *given, **named: (hanging.set(), free.wait(10), commit(*given, **named))[2]
        nucleus.submit(readings([1, 2]), time=now_ms()).result(60)
        assert hanging.wait(60)
        # Then nothing moves, until it does
        still = nucleus.progress
        time.sleep(1.5)
        assert nucleus.progress == still
        free.set()
        assert until(lambda: nucleus.progress > still)


def test_a_number_that_stands_still_is_no_beat(tmp_path):
    # Given a watchdog of two microseconds
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(str(tmp_path / "notify"))
        supervisor = Supervisor({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2"})
        # When the node moves, stands still twice, and moves again
        for moves in (5, 5, 5, 6):
            time.sleep(0.001)
            supervisor.beat(moves)
        # Then it beats twice
        assert list(heard(link)) == ["WATCHDOG=1"] * 2


@pytest.mark.parametrize("environment", [
    {}, {"WATCHDOG_USEC": "2"}, {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "2"},
])  # fmt: skip
def test_nobody_there_is_no_trouble(environment):
    supervisor = Supervisor(environment)
    supervisor.send("READY=1")
    supervisor.beat(1)


def test_a_watchdog_of_another_process_is_not_fed(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(str(tmp_path / "notify"))
        Supervisor({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2", "WATCHDOG_PID": "1"}).beat(1)
        assert list(heard(link)) == []
