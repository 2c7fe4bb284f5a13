"""The figures that the original documentation states, each beside what is measured here.

    python -m tests.test_corec            all of them, on real processes: two minutes
    python -m tests.test_corec --quick    shorter runs: under 30 s

Exits with 0 when every figure that was measured is met; one whose server is not here is "not run".  It needs a CoreC that is built,
and no package but those of requirements.txt.  As a test the short form runs.
"""
import argparse
import sys
import time

from tests.support.figures.table import FIGURES, line, measured, shown

#: What else a machine does makes a figure worse, never better: it is met when one of so many runs meets it.
TRIES = 3


def progress(text: str) -> None:
    """What is going on now; the next line takes its place."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 0 when all that was measured is met."""
    options = argparse.ArgumentParser(prog="python -m tests.test_corec", description="The documented figures beside what is measured.")
    options.add_argument("--quick", action="store_true", help="shorter runs, under 30 s")
    quick, began, results = options.parse_args(arguments).quick, time.monotonic(), []
    print(line("", "target", "measured", ""))
    for number, measure in enumerate(FIGURES, 1):
        progress(f"{number} of {len(FIGURES)}: {measure.__name__} ...")
        for result in measured(measure, quick):
            progress("")
            print(shown(result), flush=True)
            results.append(result)
    judged = [result.ok for result in results if result.ok is not None]
    print(f"\n{sum(judged)} of {len(judged)} targets met, {len(results) - len(judged)} not run; {time.monotonic() - began:.0f} s")
    return 0 if all(judged) else 1


def pytest_generate_tests(metafunc):
    """Each measurement is a test; pytest is imported here, because the command above does without it."""
    import pytest

    marked = [pytest.param(measure, marks=pytest.mark.alone, id=measure.__name__) for measure in FIGURES]
    metafunc.parametrize("measure", marked)


def test_documented_figures_hold(measure):
    # Given the short form of a measurement, Then each of its figures is met, or says what it needs
    missed = {}
    for _ in range(TRIES):
        results = measured(measure, quick=True)
        missed = {each.figure.what: shown(each) for each in results if each.ok is False and (not missed or each.figure.what in missed)}
        if not missed:
            return
    raise AssertionError(missed)


if __name__ == "__main__":
    sys.exit(main())
