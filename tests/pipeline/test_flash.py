"""Bytes written to flash are metered, and commits come rarer to stay within max_flash_mb_per_day."""
import os

import numpy as np
import pytest

from corec.cli.output.status_text import as_text
from corec.pipeline import flash
from corec.pipeline.flash import DAY_S, MB, MOST_INTERVAL_FACTOR, FlashBudget, written_bytes
from tests.support.nodes import now_ms, readings, running, small, until
from tests.support.status_samples import status

pytestmark = pytest.mark.slow

NOON = 20_000 * DAY_S + DAY_S // 2


class Disk:
    """A day in seconds: each commit costs some bytes, and each second some that no pacing saves."""

    def __init__(self, cap_mb, commit=20_000, steady=200.0, start=NOON):
        self.now, self.total, self._commit, self._steady = start, 5_000_000.0, commit, steady
        self.budget = FlashBudget(cap_mb, "t", now=lambda: self.now, written=lambda: int(self.total))
        self.most = 1.0

    def go_on(self, seconds, rate=1.0):
        """Half-second turns, made rarer as the budget says; *rate* times as many bytes."""
        before = self.total
        for _ in range(int(seconds)):
            self.now += 1
            self.total += rate * (2 * self._commit / self.budget.interval_factor + self._steady)
            self.budget.look()
            self.most = max(self.most, self.budget.interval_factor)
        return self.total - before


@pytest.mark.parametrize("cap_mb", [200, 1000, 3000])
def test_a_day_stays_within_the_cap(cap_mb):
    # Given a node that would write 3.4 GB a day, when it runs for half a day and then a whole one under a cap
    disk = Disk(cap_mb)
    half, whole = disk.go_on(DAY_S // 2), disk.go_on(DAY_S)
    # Then it stays within its share of the cap, and makes use of most of that
    assert 0.8 * cap_mb * MB / 2 < half < 1.01 * cap_mb * MB / 2
    assert 0.8 * cap_mb * MB < whole < 1.01 * cap_mb * MB


def test_a_burst_is_made_up_for_and_commits_become_frequent_again():
    # Given a cap that a quiet node keeps, when it writes ten times as much for an hour
    disk = Disk(4000, start=20_000 * DAY_S)
    disk.go_on(DAY_S // 4)
    assert disk.most == 1.0
    written = disk.go_on(3600, rate=10)
    assert disk.most > 1.5
    # Then the day as a whole stays within it, and the next begins without a debt
    written += disk.go_on(DAY_S * 3 // 4 - 3600)
    assert disk.budget.status()["allowed_bytes"] == 4000 * MB
    assert written < 4000 * MB
    disk.go_on(3600)
    assert disk.budget.interval_factor == 1.0


def test_what_cannot_be_kept_is_said_once_and_nothing_is_refused(caplog):
    # Given a cap below what no pacing saves, then commits become as rare as they get, and the log says so once a day
    disk = Disk(10)
    disk.go_on(DAY_S // 2 - 60)
    assert disk.budget.interval_factor == MOST_INTERVAL_FACTOR
    assert caplog.text.count("is written; nothing is refused") == 1
    said = disk.budget.status()
    assert said["written_bytes"] > said["allowed_bytes"] == 5 * MB
    assert "commits 60.0 times rarer" in as_text(status(flash=said))


def test_without_a_cap_nothing_is_paced_and_without_figures_it_is_said(caplog):
    disk = Disk(0)
    disk.go_on(3600)
    assert disk.most == 1.0 and disk.budget.status()["written_bytes"] > 0
    assert "rarer" not in as_text(status(flash=disk.budget.status())) and not caplog.text
    blind = FlashBudget(10, "t", now=lambda: NOON, written=lambda: None)
    blind.look()
    assert blind.status() is None and "holds nothing back" in caplog.text


def test_the_kernel_counts_pages(tmp_path):
    # Given a few bytes that are synced, then at least a page counts, where the folder lies on a disk
    before = written_bytes()
    with open(tmp_path / "some", "wb") as file:
        file.write(b"few")
        file.flush()
        os.fsync(file.fileno())
    if (tmp_path / "some").stat().st_dev >> 8 == 0:
        pytest.skip("the test folder lies in memory, which is no flash")
    assert written_bytes() - before >= 4096


def test_a_node_commits_rarely_under_a_cap_and_alerts_go_at_once(tmp_path, monkeypatch):
    # Given a node whose day's share of flash is written
    monkeypatch.setattr(flash, "LOOK_EVERY_S", 0.1)
    total = iter(range(0, 1 << 50, 50 * MB))
    monkeypatch.setattr(FlashBudget.__init__, "__kwdefaults__", {"now": flash.time.time, "written": lambda: next(total)})
    with running(small(max_flash_mb_per_day=1), tmp_path) as nucleus:
        nucleus.submit(readings([1]), time=now_ms()).result()
        assert until(lambda: nucleus.pipeline.flash.interval_factor == MOST_INTERVAL_FACTOR)
        assert until(lambda: nucleus.store.state.turn == 2)     # its window closed when time went on
        assert nucleus.committer.interval_factor() == MOST_INTERVAL_FACTOR
        # When readings come for a while, then they are accepted, and no turn is committed for them
        turn = nucleus.store.state.turn
        for number in range(3):
            nucleus.submit(readings(np.arange(100) + number), time=now_ms()).result(60)
        assert until(lambda: nucleus.engine.ledger["in"] == 301)
        assert not until(lambda: nucleus.store.state.turn > turn, 1.5)
        # When one of them is above its limit, then the turn is committed at once
        nucleus.submit(readings([7], values=500.0), time=now_ms()).result(60)
        assert until(lambda: nucleus.store.state.turn > turn, MOST_INTERVAL_FACTOR / 4)     # half of that is a stretch of turns
        assert nucleus.store.state.ledger["in"] == 302
        assert nucleus.status()["flash"]["stretch"] == MOST_INTERVAL_FACTOR
