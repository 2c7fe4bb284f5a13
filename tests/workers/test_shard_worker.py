"""One worker's turns, in this process: what becomes of its lease, its counts and its shards."""
import threading
import time

import pytest

from corec.errors import FenceLost, ServerError
from corec.workers.leases import Assignment
from corec.workers.shard_worker import AGAIN_S, ShardWorker
from tests.support.nodes import until

pytestmark = pytest.mark.slow

STILL_S = 0.5


class Leases:
    """Leases in memory, for one worker."""

    def __init__(self):
        self.decided, self.renewed, self.closed, self.away = Assignment(), [], False, False

    def assignment(self):
        if self.away:
            raise ServerError("Redis is away")
        return self.decided

    def live(self):
        return {lease.name: lease for lease in self.renewed[-1:]}

    def renew(self, lease):
        self.renewed.append(lease)

    def give_up(self, name):
        self.renewed.append(None)

    def close(self):
        self.closed = True


class Fold:
    """A shard that counts its steps, and does in them what a test wants."""

    def __init__(self, number, step=lambda: None):
        self.number, self._step, self.passes, self.log = number, step, 0, []

    def step(self):
        self.passes += 1
        self._step()
        return False

    def counts(self):
        return {"readings": 10 * self.passes, "turns": self.passes}

    def __getattr__(self, name):
        return lambda *given: self.log.append(name)


@pytest.fixture
def made():
    """(worker, its leases, the shards it opened); ended after the test."""
    leases, beat, opened, worker = Leases(), Leases(), [], None

    def open_shard(number, config, woken):
        opened.append(Fold(number, steps.get(number, lambda: None)))
        return opened[-1]

    steps = {}
    worker = ShardWorker(leases, beat, "w1", "q", open_shard=open_shard, still_s=STILL_S)
    worker.steps, worker.beat, worker.opened = steps, beat, opened
    yield worker, leases
    if not beat.closed:
        worker.stop()


def given(leases, *shards):
    leases.decided = Assignment({shard: "w1" for shard in shards} | {99: "w2"})


def turns_until(worker, done, seconds=60.0):
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        worker.turn(0.05)


def test_counts_do_not_fall_when_shards_move(made):
    # Given a worker with two shards
    worker, leases = made
    given(leases, 1, 2)
    turns_until(worker, lambda: len(worker.shards) == 2 and worker.counts()["turns"] > 10)
    before = worker.counts()
    # When they go to others, then what it counted stays, and so it does when they come back
    given(leases, 3)
    turns_until(worker, lambda: list(worker.shards) == [3])
    assert all(worker.counts()[name] >= before[name] > 0 for name in ("turns", "readings"))
    gone = [shard for shard in worker.opened if shard.number in (1, 2)]
    assert until(lambda: all(shard.log == ["finish", "leave"] for shard in gone))


def test_a_worker_keeps_its_shards_while_nobody_tells_who_has_what(made):
    worker, leases = made
    given(leases, 1)
    turns_until(worker, lambda: list(worker.shards) == [1])
    # When Redis is away, and when it has forgotten everything
    leases.away = True
    worker.turn(0.05)
    leases.away, leases.decided = False, Assignment()
    worker.turn(0.05)
    # Then the worker folds on
    assert list(worker.shards) == [1] and worker.opened[0].log == []


def test_a_shard_that_breaks_holds_up_no_other_and_is_opened_anew(made):
    # Given a worker with a shard whose steps fail, and one that another worker took
    worker, leases = made
    worker.steps |= {1: raising(ZeroDivisionError("a mistake")), 2: raising(FenceLost("another has it"))}
    given(leases, 1, 2, 3)
    began = time.monotonic()
    turns_until(worker, lambda: [shard.number for shard in worker.opened].count(1) > 1)
    # Then the third was folded all the while, and the first was given a rest
    third = next(shard for shard in worker.opened if shard.number == 3)
    assert third.passes > 2 and time.monotonic() - began >= AGAIN_S
    assert until(lambda: all(shard.log == ["abandon"] for shard in worker.opened[:3] if shard.number != 3))


def raising(error):
    def step():
        raise error

    return step


def test_a_turn_that_stands_still_ends_the_lease_until_it_goes_on(made, caplog):
    # Given a worker that renews its lease
    worker, leases = made
    hanging, free = threading.Event(), threading.Event()
    worker.steps[1] = lambda: (hanging.set(), free.wait(20))
    worker.start()
    assert until(lambda: len(worker.beat.renewed) > 3)
    # When a step of its turn does not come back
    given(leases, 1)
    fold = threading.Thread(target=turns_until, args=(worker, free.is_set))
    fold.start()
    assert hanging.wait(60)
    # Then it renews no more, until it does
    assert until(lambda: "its turn stands still" in caplog.text)
    count = len(worker.beat.renewed)
    time.sleep(1.0)
    assert len(worker.beat.renewed) == count
    free.set()
    assert until(lambda: len(worker.beat.renewed) > count + 2, 60)
    fold.join()
    assert "its turns go on" in caplog.text


def test_turns_without_shards_go_on(made, caplog):
    # Given a worker that has nothing to do
    worker, leases = made
    worker.start()
    # When its turns go on for longer than one may stand still
    end = time.monotonic() + 3 * STILL_S
    while time.monotonic() < end:
        worker.turn(0.3)
    # Then it does not seem to stand still
    assert "stands still" not in caplog.text
    assert len(worker.beat.renewed) > 1


def test_between_turns_and_while_a_commit_is_tried_again_a_worker_goes_on(made):
    # Given a worker without turns, then its number moves
    worker, leases = made
    first = worker.moves()
    assert worker.moves() != first
    # And within one it stands still, but for commits that are tried again
    seen = []

    def step():
        seen.append([worker.moves(), worker.moves()])
        worker.shards[1].passes += 1
        seen[-1].append(worker.moves())

    worker.steps[1] = step
    given(leases, 1)
    turns_until(worker, lambda: len(seen) > 2)
    assert all(first == second < third for first, second, third in seen)


def test_a_worker_that_ends_lets_go_of_everything(made):
    worker, leases = made
    given(leases, 1)
    worker.start()
    turns_until(worker, lambda: list(worker.shards) == [1])
    worker.stop()
    assert worker.opened[0].log == ["finish", "leave"]
    assert leases.closed and worker.beat.closed
    assert "lease" not in [thread.name for thread in threading.enumerate()]
    assert leases.renewed == [None]
