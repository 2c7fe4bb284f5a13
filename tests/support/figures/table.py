"""The figures that the original documentation states, how each is measured, and the lines that tell of it."""
from collections.abc import Callable, Iterator
from typing import NamedTuple

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


def line(what: str, target: str, text: str, verdict: str) -> str:
    """One line of the table; 80 columns hold it."""
    return f"{what:{WIDTHS[0]}} {target:>{WIDTHS[1]}} {text:>{WIDTHS[2]}} {verdict:>{WIDTHS[3]}}".rstrip()


def shown(result: Result) -> str:
    """A figure that was measured, or why it was not."""
    verdict = {True: "ok", False: "MISSED", None: ""}[result.ok]
    return line(result.figure.what, result.figure.target, result.text, verdict)
