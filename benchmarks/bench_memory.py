"""What entities weigh, from 10 thousand to 30 million, and how the time of a pass grows with them."""
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SIZES = (10_000, 100_000, 1_000_000, 3_333_333, 10_000_000, 30_000_000)
#: Of which the short form takes these; of the last one the memory only.
QUICK_SIZES = (10_000, 1_000_000, 10_000_000)
MB = 1 << 20
#: Resident memory of a process that holds an engine of this size and nothing else.
PROCESS_MB = {1_000_000: 120, 10_000_000: 450}
ARENA_BYTES, ALL_IN_BYTES = 32, 40


@cache
def weighed(entities, *options):
    """What child_engine says of this size."""
    command = [sys.executable, "-m", "benchmarks.child_engine", str(entities), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.fixture
def weigh(quick):
    """What child_engine says of a size."""

    def of(size):
        if quick and size not in QUICK_SIZES:
            pytest.skip("only in the full form")
        return weighed(size, *(["memory"] if quick and size == QUICK_SIZES[-1] else []))

    return of


@pytest.mark.parametrize("size", SIZES, ids="{:,}".format)
def test_bytes_of_an_entity(report, weigh, size):
    """Bytes in the arena are exact.  The total includes what every process needs, which matters with few entities only."""
    found = weigh(size)
    in_arena, all_in = found["arena"] / size, found["all_in"] / size
    report.judge("memory", f"{size:,} entities, in the arena", f"{in_arena:.2f} B each", f"<= {ARENA_BYTES} B",
                 round(in_arena, 1) <= ARENA_BYTES)
    if size >= 1_000_000:
        report.judge("memory", f"{size:,} entities, all in", f"{all_in:.2f} B each", f"<= {ALL_IN_BYTES} B", all_in <= ALL_IN_BYTES)


@pytest.mark.parametrize("size", PROCESS_MB, ids="{:,}".format)
def test_process(report, weigh, size):
    found, limit = weigh(size)["process"], PROCESS_MB[size]
    report.judge("memory", f"engine process, {size:,} entities", f"{found / MB:.0f} MB RSS", f"<= {limit} MB", found <= limit * MB)


def test_growth(report, full_form):
    """The table of time and memory over sizes."""
    head = ["entities", "arena", "all in", "never heard", "process RSS", "a pass", "an entity", "by random id"]
    report.table("Growth", [head, *(growth_line(weighed(size)) for size in SIZES)])


def growth_line(found):
    size = found["entities"]
    return [f"{size:,}", *(f"{found[name] / size:.1f} B" for name in ("arena", "all_in", "empty")), f"{found['process'] / MB:.0f} MB",
            f"{found['pass'] * 1e3:.2f} ms", f"{found['pass'] / size * 1e9:.1f} ns", f"{found['by_id'] * 1e9:.0f} ns a reading"]
