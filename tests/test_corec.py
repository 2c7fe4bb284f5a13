"""The figures that the original documentation states, each beside what is measured here.

    python -m tests.test_corec            all of them, on real processes: two minutes
    python -m tests.test_corec --quick    shorter runs: under 30 s

Exits with 0 when every figure that was measured is met; one whose server is not here is "not run".  As a test the short form runs.
"""
import argparse
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from tests.support.figures import measures
from tests.support.figures.measures import NotRun

WIDTHS = (38, 18, 14, 7)


class Figure(NamedTuple):
    """A line of the table; *met* judges the measured value."""

    what: str
    target: str
    met: Callable[[float], bool]


class Result(NamedTuple):
    """What came out; *ok* is None where it was not run."""

    figure: Figure
    text: str
    ok: bool | None


def at_most(limit: float) -> Callable[[float], bool]:
    return lambda value: value <= limit


def at_least(limit: float) -> Callable[[float], bool]:
    return lambda value: value >= limit


#: What is measured together, and its figures.
FIGURES: dict[Callable[[bool], measures.Measured], tuple[Figure, ...]] = {
    measures.memory: (
        Figure("RAM, idle (1 block active)", "100-150 MB", at_most(150)),
        Figure("RAM, 10 blocks active", "160-260 MB", at_most(260)),
        Figure("RAM, all 991 blocks, 1,001,000 entities", "0.9-1 GB", at_most(1024)),
    ),
    measures.growth: (Figure("RAM, 3,333,333 entities", "2 GB", at_most(2048)),),
    measures.inactive: (Figure("RAM of an inactive entity", "~0.1 KB", at_most(102)),),
    measures.work: (
        Figure("CPU for 1,000 block turns/s", "0.3-0.5 cores", at_most(0.5)),
        Figure("Writes of a block", "1-10/s", at_most(10)),
        Figure("Writes, against one an entity", "95 % fewer", at_least(95)),
    ),
    measures.redis_streams: (
        Figure("Redis RAM", "50-100 MB", at_most(100)),
        Figure("Redis traffic, 1,000 messages/s", "0.2-0.3 MB/s", at_most(0.3)),
    ),
    measures.disk: (Figure("Disk, a row a second of every block", "100-200 MB", at_most(200)),),
    measures.latency: (Figure("Latency, reading to committed alert", "10-20 ms", at_most(20)),),
    measures.availability: (Figure("Availability, a fault a day", "> 99.99 %", at_least(99.99)),),
}


def measured(measure: Callable[[bool], measures.Measured], quick: bool) -> Iterator[Result]:
    """The figures of one measurement, as they come."""
    figures = iter(FIGURES[measure])
    try:
        for (text, value), figure in zip(measure(quick), FIGURES[measure], strict=True):
            yield Result(next(figures), text, figure.met(value))
    except NotRun as reason:
        yield from (Result(figure, f"not run: {reason}", None) for figure in figures)


#: What else a machine does makes a figure worse, never better: it is met when one of so many runs meets it.
TRIES = 3


def line(what: str, target: str, text: str, verdict: str) -> str:
    """One line of the table; 80 columns hold it."""
    return f"{what:{WIDTHS[0]}} {target:>{WIDTHS[1]}} {text:>{WIDTHS[2]}} {verdict:>{WIDTHS[3]}}".rstrip()


def shown(result: Result) -> str:
    """A figure that was measured, or why it was not."""
    verdict = {True: "ok", False: "MISSED", None: ""}[result.ok]
    return line(result.figure.what, result.figure.target, result.text, verdict)


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


@pytest.mark.parametrize("measure", FIGURES, ids=lambda measure: measure.__name__)
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
