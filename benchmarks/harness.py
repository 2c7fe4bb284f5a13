"""Races between CoreC and yardsticks, and the table of what came out.

A race runs its sides in turn and keeps the shortest run of each, in seconds of the core's own time, so that
neighbours on the machine count as little as can be; it goes on until the shortest runs stop falling.
"""
import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

#: A race is settled when so many rounds in a row brought no run shorter by more than SETTLED_BY.
SETTLED_ROUNDS = 12
SETTLED_BY = 0.005

Run = Callable[[], Any]


def race(sides: Mapping[str, Run], *, seconds: float, wanted: Mapping[str, float] | None = None,
         patience: float = 0.0, tidy: Run = lambda: None) -> dict[str, float]:
    """The shortest run of each side; settled, or over after *seconds* and the round under way.

    wanted: how many times as fast as each of these the first side has to be.  As long as it is not, the race goes
    on, *patience* seconds more at most: a neighbour on the machine must not decide.  tidy: runs between runs, and is not timed.
    """
    best = dict.fromkeys(sides, float("inf"))
    began, quiet = time.monotonic(), 0
    while True:
        quiet += 1
        for name, run in sides.items():
            tidy()
            taken = clocked(run)
            if taken < best[name] * (1 - SETTLED_BY):
                quiet = 0
            best[name] = min(best[name], taken)
        over = time.monotonic() - began
        if (quiet >= SETTLED_ROUNDS or over >= seconds) and (over >= seconds + patience or fast_enough(best, wanted or {})):
            return best


def fast_enough(best: Mapping[str, float], wanted: Mapping[str, float]) -> bool:
    """Whether the first side is as many times as fast as each other as *wanted* says."""
    ours = next(iter(best.values()))
    return all(best[name] >= times * ours for name, times in wanted.items())


def best_of(measure: Callable[[int], float], *, wanted: float, least: int, most: int) -> float:
    """The smallest of *least* figures, and of more, *most* at the utmost, as long as it is not below *wanted*."""
    best = float("inf")
    for number in range(most):
        best = min(best, measure(number))
        if number + 1 >= least and best < wanted:
            break
    return best


def clocked(run: Run) -> float:
    """Seconds of a core that *run* takes in this thread: what it waits for a core that others use does not count."""
    began = time.thread_time()
    run()
    return time.thread_time() - began


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    group: str
    what: str
    figure: str
    yardstick: str = ""
    ratio: float | None = None
    budget: str = ""
    ok: bool | None = None  # None: no budget, for information

    @property
    def verdict(self) -> str:
        return {True: "pass", False: "FAIL", None: ""}[self.ok]


class ResultTable:
    """Rows as they come; a table, a JSON and a Markdown file at the end."""

    def __init__(self, form: str) -> None:
        self.form, self.rows = form, []
        self.tables: list[tuple[str, list[list[str]]]] = []

    def note(self, group: str, what: str, figure: str, yardstick: str = "", ratio: float | None = None) -> None:
        """A figure without a budget."""
        self.rows.append(Figure(group, what, figure, yardstick, ratio))

    def judge(self, group: str, what: str, figure: str, budget: str, ok: bool, *, yardstick: str = "",
              ratio: float | None = None) -> None:
        """A figure against its budget; fails the benchmark when it is not met."""
        row = Figure(group, what, figure, yardstick, ratio, budget, bool(ok))
        self.rows.append(row)
        assert ok, f"{what}: expected {budget}, got {figure if ratio is None else f'{ratio:.2f}x'} ({figure}; {yardstick})"

    def at_least(self, group: str, what: str, times: float, *, ours: tuple[float, str], yardstick: tuple[float, str]) -> None:
        """CoreC is at least *times* as fast: (rate a second, as text) of both."""
        ratio = ours[0] / yardstick[0]
        self.judge(group, what, ours[1], f">= {times:g}x", ratio >= times, yardstick=yardstick[1], ratio=ratio)

    def at_most(self, group: str, what: str, times: float, *, ours: tuple[float, str], yardstick: tuple[float, str]) -> None:
        """CoreC takes at most *times* as long: (seconds, as text) of both."""
        ratio = ours[0] / yardstick[0]
        self.judge(group, what, ours[1], f"<= {times:g}x", ratio <= times, yardstick=yardstick[1], ratio=ratio)

    def table(self, title: str, lines: list[list[str]]) -> None:
        """A table of its own: the first line is its head."""
        self.tables.append((title, lines))

    @property
    def lines(self) -> list[list[str]]:
        """The one table, as text cells."""
        head = [["", "figure", "yardstick", "ratio", "budget", ""]]
        return head + [[f"{row.group}: {row.what}", row.figure, row.yardstick, "" if row.ratio is None else f"{row.ratio:.2f}x",
                        row.budget, row.verdict] for row in self.rows]

    def text(self) -> str:
        parts = [aligned(self.lines), *(f"{title}\n\n{aligned(lines)}" for title, lines in self.tables)]
        return "\n\n".join([*parts, self.summary()])

    def summary(self) -> str:
        """How many budgets are met."""
        judged = [row.ok for row in self.rows if row.ok is not None]
        return f"{sum(judged)} of {len(judged)} budgets met ({self.form} form; {machine()})"

    def write(self, folder: Path) -> None:
        """Write report.json and report.md."""
        content = {"form": self.form, "machine": machine(), "rows": [asdict(row) for row in self.rows],
                   "tables": [{"title": title, "lines": lines} for title, lines in self.tables]}
        (folder / "report.json").write_text(json.dumps(content, indent=1) + "\n")
        parts = ["# Benchmarks", markdown(self.lines)]
        parts += [f"## {title}\n\n{markdown(lines)}" for title, lines in self.tables]
        (folder / "report.md").write_text("\n\n".join([*parts, self.summary()]) + "\n")


def machine() -> str:
    """The processor, and the kernels in use."""
    from corec._core import block

    names = [line.split(":", 1)[1].strip() for line in _cpu_lines() if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {len(names) or '?'} cores, {block.SIMD} kernels"


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def aligned(lines: list[list[str]]) -> str:
    """Columns side by side, numbers to the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) if column == 0 else cell.rjust(width)
                               for column, (cell, width) in enumerate(zip(line, widths))).rstrip() for line in lines)


def markdown(lines: list[list[str]]) -> str:
    """The same as a Markdown table."""
    rows = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([rows[0], "|" + " --- |" * len(lines[0]), *rows[1:]])


def millions(rate: float, unit: str = "") -> str:
    """A rate in millions a second."""
    return f"{rate / 1e6:,.1f} M{unit}/s"
