"""Options, the report that all benchmarks write into, and the one table at the end."""
from pathlib import Path

import pytest

from benchmarks.harness import ResultTable, race

HERE = Path(__file__).parent
#: A race of the short form takes no longer, unless it falls short of its budget: then it may go on.
QUICK_RACE_S, QUICK_PATIENCE_S = 1.5, 10.0
RACE_S, PATIENCE_S = 20.0, 60.0
REPORT = pytest.StashKey[ResultTable]()


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="benchmarks: the short form, under a minute; the same budgets")


def pytest_configure(config):
    config.option.benchmark_quiet = True    # one table, ours; pytest-benchmark still saves and compares
    config.stash[REPORT] = ResultTable("quick" if config.getoption("quick") else "full")


def pytest_terminal_summary(terminalreporter, config):
    report = config.stash[REPORT]
    if report.rows:
        report.write(HERE)
        terminalreporter.write_sep("=", "benchmarks")
        terminalreporter.write_line(report.text())


@pytest.fixture
def report(request):
    """The report of this session."""
    return request.config.stash[REPORT]


@pytest.fixture(scope="session")
def quick(request):
    """Whether the short form was asked for."""
    return request.config.getoption("quick")


@pytest.fixture
def full_form(quick):
    """What has no budget is left out of the short form."""
    if quick:
        pytest.skip("only in the full form")


@pytest.fixture
def compete(benchmark, quick):
    """Race sides of which the first is CoreC (harness.race); pytest-benchmark takes note of CoreC's own runs too."""

    def run(sides, *, seconds=RACE_S, wanted=None, tidy=lambda: None):
        limits = (min(seconds, QUICK_RACE_S), QUICK_PATIENCE_S) if quick else (seconds, PATIENCE_S)
        best = race(sides, seconds=limits[0], wanted=wanted, patience=limits[1], tidy=tidy)
        ours = next(iter(sides))
        benchmark.extra_info.update({name: best[name] for name in sides})
        benchmark.pedantic(sides[ours], setup=tidy, rounds=3)
        return best

    return run
