"""The run of all tests: what its parts say is added up, and no failure gets lost."""
import os
from collections import Counter

import pytest

from tests.support import run


@pytest.mark.parametrize(("first", "second", "status", "line"), [
    ((0, {"passed": 5, "skipped": 1}), (0, {"passed": 2}), 0, "7 passed, 0 failed, 1 skipped in 0s"),
    ((1, {"passed": 5, "failed": 1, "error": 2}), (0, {"passed": 2}), 1, "7 passed, 3 failed, 0 skipped in 0s"),
    ((0, {"passed": 5}), (1, {"failed": 1}), 1, "5 passed, 1 failed, 0 skipped in 0s"),
    ((3, {}), (0, {"passed": 2}), 3, "2 passed, 0 failed, 0 skipped in 0s"),
    ((0, {"passed": 5}), (5, {"deselected": 5}), 0, "5 passed, 0 failed, 0 skipped in 0s"),
    ((5, {}), (5, {}), 5, "0 passed, 0 failed, 0 skipped in 0s"),
    ((-9, {}), (0, {"passed": 2}), 1, "2 passed, 0 failed, 0 skipped in 0s"),
])  # fmt: skip
def test_both_parts_make_one_result(monkeypatch, capsys, first, second, status, line):
    # Given what the two parts came to, Then the last line has the sum, and the exit status the worse of both
    parts = iter([run.Part(code, Counter(counts)) for code, counts in (first, second)])
    monkeypatch.setattr(run, "run_part", lambda words: next(parts))
    assert run.main([]) == status
    assert capsys.readouterr().out.splitlines()[-1] == line


@pytest.mark.slow
def test_a_part_gives_the_counts_of_its_run(tmp_path):
    # Given tests of every outcome
    file = tmp_path / "test_some.py"
    file.write_text(OUTCOMES)
    # When they are run, Then counts and status are pytest's
    part = run.run_part(["-c", os.devnull, "--rootdir", str(tmp_path), "-p", "no:cacheprovider", "-n", "2", str(file)])
    assert part.status == 1
    assert [part.counts[what] for what in ("passed", "failed", "skipped", "error")] == [2, 1, 1, 1]


OUTCOMES = """
import pytest

def test_passes():
    pass

def test_fails():
    assert False

def test_skips():
    pytest.skip("for a reason")

@pytest.fixture
def broken():
    yield
    assert False

def test_breaks_at_its_end(broken):
    pass
"""
