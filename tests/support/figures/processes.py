"""Starts what is measured, and looks at it from outside."""
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.support.paths import ROOT

DOCUMENTED = ROOT / "configs" / "corec_config.json"
MB = 1 << 20


class Child:
    """A process of `tests.support.figures.child`, and its resident memory."""

    def __init__(self, *arguments: Any) -> None:
        command = [sys.executable, "-m", "tests.support.figures.child", *map(str, arguments)]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        self._process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)
        self._seen = psutil.Process(self._process.pid)
        self._answer("it did not start")

    def ask(self, *order: Any) -> dict[str, Any]:
        """Have it do something; what it says of it."""
        self._process.stdin.write(" ".join(map(str, order)) + "\n")
        self._process.stdin.flush()
        return self._answer(" ".join(map(str, order)))

    def _answer(self, what: str) -> dict[str, Any]:
        line = self._process.stdout.readline()
        assert line, f"{what}: {self._process.stderr.read()}"
        return json.loads(line)

    @property
    def rss(self) -> int:
        """Resident memory in bytes."""
        return self._seen.memory_info().rss

    def cores(self, seconds: float) -> float:
        """The share of a core that it takes while so long goes by."""
        began, before = time.monotonic(), sum(self._seen.cpu_times()[:2])
        time.sleep(seconds)
        return (sum(self._seen.cpu_times()[:2]) - before) / (time.monotonic() - began)

    def kill(self) -> None:
        """No time to say anything."""
        self._process.kill()
        self._process.communicate()

    def end(self) -> None:
        """Let it stop by itself, or else make it."""
        try:
            self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill()


@contextmanager
def child(*arguments: Any) -> Iterator[Child]:
    """A child that is gone afterwards."""
    one = Child(*arguments)
    try:
        yield one
    finally:
        one.end()


@contextmanager
def place() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="corec-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def configured(folder: Path, **changes: Any) -> Path:
    """The documented configuration in a folder, without sources and with *changes* to each of its entries."""
    config = json.loads(DOCUMENTED.read_text()) | {"fuentes": []}
    config["bloques"] = [entry | changes for entry in config["bloques"]]
    return written(folder, config)


def written(folder: Path, config: dict[str, Any]) -> Path:
    """Write a configuration; returns its folder."""
    (folder / "configs").mkdir()
    (folder / "configs" / "corec_config.json").write_text(json.dumps(config))
    return folder / "configs"


def size_of(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
