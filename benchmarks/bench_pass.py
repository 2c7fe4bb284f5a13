"""The whole pass: every entity computes its value, is filtered and added up; messages and all other output included."""
import numpy as np
import pytest

from benchmarks.harness import millions
from benchmarks.workloads import START, WARM, engine_of, turning
from benchmarks.yardstick_numpy import NumpyFleet
from benchmarks.yardsticks import Params
from corec._core import block
from corec.errors import ConfigError

ENTITIES = 1_000_000
#: 1,000 segments of 32 KiB: every byte that a pass goes through.
BYTES = 32_768_000
#: Messages that an outlet holds: a pass is one call.
ROOM = ENTITIES
#: A pass takes at most so many times as long as a scale, and is so many times as fast as NumPy.
SCALE_TIMES, NUMPY_TIMES = 2, 6
KERNELS = ("base", "avx2", "avx512")


@pytest.fixture(autouse=True)
def own_kernels():
    yield
    block.use_kernels()


@pytest.fixture(scope="module")
def engine():
    """One whose entities know what is usual for them; of a uniform noise, the default filter lets one in five pass."""
    engine = engine_of(ENTITIES, ventana=3600, funcion="random")
    for turn in range(WARM):
        engine.step(START + 1000 * turn)
    return engine


def stepping(engine):
    """A pass, 10 ms of event time behind the last."""
    start = engine.clock
    return turning(lambda turn: engine.step(start + 10 * turn))


def rate(seconds):
    return millions(ENTITIES / seconds, " entities")


def has_kernels(name):
    try:
        return bool(block.use_kernels(name))
    except ConfigError:
        return False


def test_against_scale(compete, report, engine):
    """The budget: a pass takes at most twice as long as reading and writing its bytes."""
    outlet, segments = block.Outlet(len(engine.blocks), ROOM), np.arange(len(engine.arena.segments), dtype=np.uint32)
    scaled, source = np.ones(BYTES // 4, np.float32), np.ones(BYTES // 4, np.float32)

    def empty():
        outlet.take()
        block.count_step(engine.arena)

    best = compete({"ours": lambda: block.step_segments(engine.arena, outlet, segments),
                    "scale": lambda: np.multiply(scaled, np.float32(1.0001), out=scaled), "memcpy": lambda: np.copyto(scaled, source),
                    "engine": stepping(engine)}, wanted={"scale": 1 / SCALE_TIMES}, tidy=empty)  # fmt: skip
    scale = (best["scale"], f"scale {BYTES / best['scale'] / 1e9:.1f} GB/s")
    report.note("pass", "the same, against memcpy", rate(best["ours"]), f"memcpy {BYTES / best['memcpy'] / 1e9:.1f} GB/s",
                best["ours"] / best["memcpy"])
    report.note("pass", "Engine.step: the same, results as NumPy arrays", rate(best["engine"]), scale[1], best["engine"] / scale[0])
    report.at_most("pass", "1 M entities, one in five sends", SCALE_TIMES, ours=(best["ours"], rate(best["ours"])), yardstick=scale)


def test_against_numpy(compete, report, engine):
    fleet = NumpyFleet(ENTITIES, Params.of(engine))
    for _ in range(2):
        fleet.step(0, 1, START)
    best = compete({"ours": stepping(engine), "numpy": lambda: fleet.step(0, 1, START)}, wanted={"numpy": NUMPY_TIMES})
    report.at_least("pass", "Engine.step, against NumPy", NUMPY_TIMES, ours=(1 / best["ours"], rate(best["ours"])),
                    yardstick=(1 / best["numpy"], f"NumPy {millions(ENTITIES / best['numpy'])}"))


def test_each_instruction_set(compete, report, full_form, engine):
    """How fast each is here; all give the same bits."""
    names = [name for name in KERNELS if has_kernels(name)]
    step = stepping(engine)

    def side(name):
        def run():
            block.use_kernels(name)
            step()
        return run

    best = compete({name: side(name) for name in reversed(names)}, seconds=10)
    for name in names:
        report.note("pass", f"kernels {name}", rate(best[name]), ratio=best["base"] / best[name],
                    yardstick="base")
