"""`make test`: every test, in one run of two workers side by side and one of what has to be alone; one closing line for both.

    python -m tests.support.run [words for pytest]
"""
import re
import subprocess
import sys
import time
from collections import Counter
from typing import NamedTuple

#: A worker has all tests of a file: what their fixtures start and make is there once.
SIDE_BY_SIDE = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", "-p", "no:benchmark", "-m", "not alone")
ALONE = ("-m", "alone")
#: As pytest exits when it collected nothing.
NO_TESTS = 5


class Part(NamedTuple):
    status: int
    counts: Counter[str]


def run_part(words: list[str]) -> Part:
    """Run pytest, and show what it says as it comes."""
    counts: Counter[str] = Counter()
    with subprocess.Popen([sys.executable, "-m", "pytest", *words], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            counts = counted(line) or counts
    return Part(process.returncode, counts)


def counted(line: str) -> Counter[str]:
    """What a closing line of pytest says; nothing for any other line."""
    if not re.search(r"\d (?:passed|failed|skipped|errors?|deselected)\b.* in [\d.]+s", line):
        return Counter()
    return Counter({what.removesuffix("s") if what == "errors" else what: int(number) for number, what in re.findall(r"(\d+) (\w+)", line)})


def closing_line(counts: Counter[str], seconds: float) -> str:
    return f"{counts['passed']} passed, {counts['failed'] + counts['error']} failed, {counts['skipped']} skipped in {seconds:.0f}s"


def main(words: list[str]) -> int:
    began = time.monotonic()
    parts = [run_part([*how, *words]) for how in (SIDE_BY_SIDE, ALONE)]
    total = sum((part.counts for part in parts), Counter())
    print(closing_line(total, time.monotonic() - began))
    return exit_status([part.status for part in parts])


def exit_status(statuses: list[int]) -> int:
    """The worst; a part of which no test was chosen counts where both are such."""
    wrong = [status for status in statuses if status not in (0, NO_TESTS)]
    if wrong:
        return wrong[0] if wrong[0] > 0 else 1    # ended by a signal
    return min(statuses)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
