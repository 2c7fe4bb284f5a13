"""The run of all tests: what its parts say is added up, and no failure gets lost."""
from collections import Counter

import pytest

from tests.support import run


@pytest.mark.parametrize(("line", "counts"), [
    ("3051 passed, 12 skipped in 480.12s (0:08:00)\n", {"passed": 3051, "skipped": 12}),
    ("= 1 failed, 2 passed, 3 errors in 0.10s =\n", {"failed": 1, "passed": 2, "error": 3}),
    ("8 deselected in 0.10s\n", {"deselected": 8}),
    ("FAILED tests/a.py::test_b - 1 passed\n", {}),
    ("........ [100%]\n", {}),
])  # fmt: skip
def test_closing_lines_of_pytest_are_read(line, counts):
    assert run.counted(line) == counts


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
