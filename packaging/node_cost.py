"""What a node costs on this machine: RAM, processor time and bytes written, at fleets and rates for gateways.

    python packaging/node_cost.py [SECONDS]      60 by default, for each row

The readings are simulated ones of random entities, made in the same process, so a gateway that gets them by network has
less to do.  docs/raspberry-pi.md has the table of one run; run it on a machine of your own.
"""
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from corec.control.client import ask
from corec.errors import CoreCError

#: (entities, readings a second)
CASES = ((1_000, 100), (10_000, 10_000), (100_000, 10_000), (100_000, 100_000), (1_000_000, 100_000), (1_000_000, 200_000))
HEADER = ("entities", "readings/s", "taken/s", "RSS MB", "cores", "written MB/min", "bytes/reading", "journal", "commit p99 ms")
START_S = 30


class Cost(NamedTuple):
    """The figures of one fleet and rate, as a row of the table."""

    entities: int
    asked: int
    taken: float
    rss_mb: float
    cores: float
    written_mb_min: float
    bytes_per_reading: float
    journal_mb: float
    commit_ms: float

    def __str__(self) -> str:
        cells = (f"{self.entities:,}", f"{self.asked:,}", f"{self.taken:,.0f}", f"{self.rss_mb:.0f}", f"{self.cores:.2f}",
                 f"{self.written_mb_min:.1f}", f"{self.bytes_per_reading:.1f}", f"{self.journal_mb:.0f} MB", f"{self.commit_ms:.1f}")
        return "| " + " | ".join(cells) + " |"


def configuration(entities: int, rate: int) -> dict:
    """A fleet of one entry, simulated, with a thousandth of it failing."""
    source = {"tipo": "simulada", "lecturas_por_segundo": rate, "fallos": 0.001, "semilla": 1}
    return {"instance_id": "cost", "fuentes": [source], "bloques": [{"id": "sensors", "canal": 1, "entidades": entities}]}


def measure(entities: int, rate: int, seconds: float, folder: Path) -> Cost:
    """Run a node and look at it from outside, over the last two thirds of its time."""
    (folder / "corec_config.json").write_text(json.dumps(configuration(entities, rate)))
    data = folder / "data"
    command = [sys.executable, "-m", "corec", "run", "--config", folder, "--data", data]
    node = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(data)
        time.sleep(seconds / 3)
        before = look(node.pid, data)
        time.sleep(seconds * 2 / 3)
        after = look(node.pid, data)
    finally:
        node.terminate()
        node.wait(30)
    return compare(entities, rate, before, after)


def wait_for(data: Path) -> None:
    """Wait until the node answers; its error after START_S seconds."""
    end = time.monotonic() + START_S
    while True:
        try:
            ask(data, {"op": "status"})
            return
        except CoreCError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def look(pid: int, data: Path) -> dict:
    """What the node says and what the kernel says of it."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    status = ask(data, {"op": "status"})
    return {**status, "at": time.monotonic(), "cpu_s": times.user + times.system, "written": process.io_counters().write_bytes}


def compare(entities: int, rate: int, before: dict, after: dict) -> Cost:
    """The row between two looks."""
    seconds = after["at"] - before["at"]
    readings = after["readings"]["total"] - before["readings"]["total"]
    written = after["written"] - before["written"]
    return Cost(entities, rate, readings / seconds, after["rss_bytes"] / 1e6, (after["cpu_s"] - before["cpu_s"]) / seconds,
                written / 1e6 / seconds * 60, written / max(readings, 1), after["journal"]["bytes"] / 1e6, after["commit"]["p99_ms"])


def main(words: list[str]) -> int:
    """Print the table as it grows."""
    seconds = float(words[0]) if words else 60.0
    print("| " + " | ".join(HEADER) + " |", "|---" * len(HEADER) + "|", sep="\n", flush=True)
    for entities, rate in CASES:
        with tempfile.TemporaryDirectory(prefix="corec-cost-", dir=Path.cwd()) as folder:
            print(measure(entities, rate, seconds, Path(folder)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
