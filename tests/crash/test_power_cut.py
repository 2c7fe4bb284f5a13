"""Power cuts at every write, and disks that fail at the n-th: journal, store and snapshots together.

The node of tests/support/faults/node.py runs under tests/support/faults/iotrace.c, which records what it asks of the disk.
COREC_CHAOS=1 tries every point, every kind of cut and a second cut during the recovery.
"""

import logging
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.faults import node, powercut, shim
from tests.support.faults.memory import memory_folder

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

CHAOS = os.environ.get("COREC_CHAOS") == "1"
PROGRAM = Path(node.__file__)
TURNS = 26 if CHAOS else 14
KINDS = ("lost", "kept", "random", "torn")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if shim.compiler() is None:
        pytest.skip("no C compiler here to build the disk that loses power with: install gcc")
    return shim.build(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def place() -> Iterator[Path]:
    with memory_folder() as folder:
        yield folder


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.CRITICAL)


def run(library: Path, *arguments: object) -> str:
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    done = subprocess.run(command, env=shim.environment(library), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def trace_of(library: Path, place: Path, turns: int) -> list[powercut.Event]:
    (place / "node").mkdir(exist_ok=True)
    run(library, "power", place / "trace", place / "node", turns)
    return powercut.read_trace(place / "trace")


def cuts(events: list[powercut.Event], disk: powercut.Disk) -> Iterator[tuple[int, list[str]]]:
    """After each event that changes the disk: its number and the promises made so far."""
    marks: list[str] = []
    for number, event in enumerate(events):
        disk.apply(event)
        if event.op is powercut.Op.MARK:
            marks.append(event.path)
        elif event.op is not powercut.Op.OPEN:
            yield number, marks


def recover(image: dict[str, bytes], folder: Path, marks: list[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    powercut.write_image(image, folder)
    node.check(folder, node.Promise(marks))


def test_a_power_cut_at_any_write_loses_nothing_that_was_promised(library, place):
    events = trace_of(library, place, TURNS)
    disk = powercut.Disk(place / "node")
    tried = 0
    for number, marks in cuts(events, disk):
        for kind in KINDS if CHAOS else (KINDS[number // 2 % 4],) if number % 2 else ():
            try:
                recover(disk.image(kind, random.Random(number)), place / "image", marks)
            except BaseException:
                print(f"cut behind event {number} of {len(events)}, {kind}: {events[number].op.name} {marks[-2:]}")
                raise
            tried += 1
    assert tried > 100


def test_a_second_power_cut_during_the_recovery_loses_nothing_either(library, place):
    events = trace_of(library, place, TURNS)
    disk = powercut.Disk(place / "node")
    rng = random.Random(11)
    first_cuts = {rng.randrange(len(events)) for _ in range(60 if CHAOS else 6)}
    for number, marks in cuts(events, disk):
        if number in first_cuts:
            _cut_again(library, place, disk.image("random", rng), marks, rng)


def _cut_again(library: Path, place: Path, image: dict[str, bytes], marks: list[str], rng: random.Random) -> None:
    with tempfile.TemporaryDirectory(dir=place) as name:
        again = Path(name)
        powercut.write_image(image, again / "node")
        turns = max((int(mark.split()[1]) for mark in marks if mark.startswith("committed")), default=0) + 3
        events = trace_of(library, again, turns)
        disk = powercut.Disk(again / "node", image)
        for number, more in cuts(events, disk):
            if CHAOS or number % 5 == 0:
                recover(disk.image(rng.choice(KINDS), rng), again / "image", marks + more)


@pytest.mark.parametrize(("kind", "least"), [("w", 100), ("s", 30)], ids=["write", "sync"])
def test_a_disk_that_fails_at_the_nth_call_corrupts_nothing_and_the_node_goes_on(library, place, kind, least):
    step = 1 if CHAOS else 5 if kind == "w" else 2
    output = run(library, "faults", kind, place, 9, step)
    assert int(output.split()[0]) > least


def test_the_model_of_the_disk_keeps_what_was_synced_and_may_drop_the_rest(library, place):
    program = (
        "import ctypes, os, sys; shim = ctypes.CDLL(None); root = sys.argv[1]\n"
        "shim.iotrace_start(root.encode(), sys.argv[2].encode())\n"
        "fd = os.open(root + '/a', os.O_RDWR | os.O_CREAT); os.write(fd, b'one'); os.fsync(fd)\n"
        "folder = os.open(root, os.O_RDONLY); os.fsync(folder)\n"
        "os.pwritev(fd, [b'tw', b'o'], 0); os.rename(root + '/a', root + '/b'); os.ftruncate(fd, 2)\n"
    )
    (place / "node").mkdir()
    command = [sys.executable, "-c", program, str(place / "node"), str(place / "trace")]
    subprocess.run(command, env=shim.environment(library), check=True)
    disk = powercut.Disk(place / "node")
    for event in powercut.read_trace(place / "trace"):
        disk.apply(event)
    assert disk.image("lost", random.Random(0)) == {"a": b"one"}
    assert disk.image("kept", random.Random(0)) == {"b": b"tw"}
    outcomes = {tuple(disk.image("random", random.Random(seed)).items()) for seed in range(50)}
    assert outcomes == {((name, data),) for name in "ab" for data in (b"one", b"two", b"on", b"tw")}
