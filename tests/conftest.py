"""What a failing test leaves running is ended: it would disturb those behind it, and keep the process for ever."""
import contextlib
import os
import sys
import threading

import pytest

from corec.nucleus import CoreCNucleus

pytest_plugins = ["tests.support.servers.postgres", "tests.support.servers.redis"]


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


def pytest_unconfigure():
    """A thread that keeps the process is a failure of its own, not an endless run."""
    left = [thread.name for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]
    if left:
        print(f"the tests left threads behind that keep the process: {', '.join(left)}", flush=True)
        sys.stderr.flush()
        os._exit(1)
