"""A source in its thread: what fails is told once for each problem, tried again ever more rarely, and then goes on."""
import time

import numpy as np
import pytest

from corec.common.clock import MACHINE
from corec.errors import ServerError
from corec.node.source_runner import SourceRunner
from corec.sources.base import Batch
from tests.support.nodes import now_ms, until


class Impatient(SourceRunner):
    first_pause_s, longest_pause_s = 0.02, 0.06


class Patient(SourceRunner):
    first_pause_s = longest_pause_s = 60.0


class Broken:
    """A source that raises what it is given, one for each read, and then gives a reading."""

    name, interval, entities, names, detail = "broken", 0.005, 1, {}, "reads"

    def __init__(self, problems):
        self.problems, self.read_at, self.closed = list(problems), [], False

    def read(self, now_ms):
        self.read_at.append(time.monotonic())
        if self.problems:
            raise self.problems.pop(0)
        return [Batch(np.array([7], np.uint32), 1, np.array([1.5], np.float32), True, now_ms)]

    def close(self):
        self.closed = True


@pytest.fixture
def running():
    runners = []

    def start(kind, source):
        taken = []
        runners.append(kind(lambda frames, **how: taken.append((frames, how["time"])), source, "n1", MACHINE))
        runners[0].start()
        return runners[0], taken

    yield start
    for runner in runners:
        runner.stop()


def test_a_source_that_fails_is_read_again_after_growing_pauses(running, caplog):
    # Given a source that fails five times, the last time with another problem
    source = Broken([OSError("no device")] * 4 + [ServerError("nobody answers")])
    # When it runs until it gives readings
    runner, taken = running(Impatient, source)
    assert until(lambda: runner.sent >= 3)
    # Then each problem was told once, the pauses grew to the longest, and afterwards it is read at its interval
    assert [record.getMessage() for record in caplog.records] == ["[Source-broken] OSError: no device", "[Source-broken] nobody answers"]
    pauses = np.diff(source.read_at[:6])
    assert (pauses >= [0.02, 0.04, 0.06, 0.06, 0.06]).all() and pauses.max() < 2
    assert runner.problem == "" and runner.status()["detail"] == "reads"
    assert abs(taken[0][1] - now_ms()) < 60_000


def test_a_stop_ends_a_pause_and_closes_the_source(running):
    # Given a source in a pause of a minute
    source = Broken([OSError("no device")] * 9)
    runner, _ = running(Patient, source)
    assert until(lambda: runner.problem)
    # When it is stopped, then that takes no minute, and the source is closed
    began = time.monotonic()
    runner.stop()
    assert time.monotonic() - began < 5 and source.closed
    assert runner.status()["detail"] == "OSError: no device"
