"""`make test`: every test, in one run of four workers side by side and one of what has to be alone; one closing line for both.

    python -m tests.support.run [words for pytest]
"""
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

#: Two for each of two cores, since most tests wait.  A Redis that was given is emptied by each test of it: it is one worker's.
WORKERS = "1" if os.environ.get("COREC_TEST_REDIS") else "4"
#: A worker has all tests of a file: what their fixtures start and make is there once.
SIDE_BY_SIDE = ("-n", WORKERS, "--dist", "loadfile", "--no-loadscope-reorder", "-p", "no:benchmark", "-m", "not alone")
ALONE = ("-m", "alone")
#: As pytest exits when it collected nothing.
NO_TESTS = 5
#: Names the file in which a run leaves its counts.
COUNTS = "COREC_TEST_COUNTS"


class Part(NamedTuple):
    status: int
    counts: Counter[str]


def pytest_terminal_summary(terminalreporter) -> None:
    """This module as a plugin of pytest: the counts of a run, for the one that started it."""
    counts = {what: len(reports) for what, reports in terminalreporter.stats.items()}
    Path(os.environ[COUNTS]).write_text(json.dumps(counts))


def run_part(words: list[str]) -> Part:
    """Its output goes where ours does, not through a pipe: a process that a failing test left behind would hold that open."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "counts")
        command = [sys.executable, "-m", "pytest", "-p", "tests.support.run", *words]
        status = subprocess.run(command, env={**os.environ, COUNTS: str(file)}).returncode
        return Part(status, Counter(json.loads(file.read_text())) if file.exists() else Counter())


def closing_line(counts: Counter[str], seconds: float) -> str:
    return f"{counts['passed']} passed, {counts['failed'] + counts['error']} failed, {counts['skipped']} skipped in {seconds:.0f}s"


def exit_status(statuses: list[int]) -> int:
    """The first that is wrong; that no test was chosen is wrong where it holds for all."""
    wrong = [status for status in statuses if status not in (0, NO_TESTS)]
    if wrong:
        return wrong[0] if wrong[0] > 0 else 1    # ended by a signal
    return min(statuses)


def main(words: list[str]) -> int:
    began = time.monotonic()
    parts = [run_part([*how, *words]) for how in (SIDE_BY_SIDE, ALONE)]
    print(closing_line(sum((part.counts for part in parts), Counter()), time.monotonic() - began))
    return exit_status([part.status for part in parts])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
