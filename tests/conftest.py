"""What a failing test leaves running is ended: it would disturb those behind it, and keep the process for ever."""
import contextlib
import os
import sys
import threading

import pytest

from corec.nucleus import CoreCNucleus

pytest_plugins = ["tests.support.servers.postgres", "tests.support.servers.redis_fixtures", "tests.support.servers.wall_clock"]


@pytest.fixture(autouse=True)
def stopped_nodes(monkeypatch):
    """Nodes that a test started and did not stop."""
    started, start = [], CoreCNucleus.start

    def noted(self):
        started.append(self)
        start(self)

    monkeypatch.setattr(CoreCNucleus, "start", noted)
    yield
    for nucleus in started:
        with contextlib.suppress(Exception):    # the test has told what failed
            nucleus.stop()


def pytest_collection_modifyitems(items):
    """Files of slow tests come first: what is left for the end is short, and workers end at the same time."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def lasting_threads():
    """Threads that keep the process."""
    return [thread.name for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]


@pytest.fixture(scope="session", autouse=True)
def no_lasting_threads():
    """A thread that is left behind is a failure of its own."""
    yield
    assert lasting_threads() == []


def pytest_unconfigure():
    """It must not make the run an endless one."""
    if lasting_threads():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
