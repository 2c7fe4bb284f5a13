"""Readings by id, one core: frames decoded, filtered in full and added to their blocks, with all that leaves."""
from itertools import count

import pytest

from benchmarks.harness import millions
from benchmarks.workloads import START, Load, engine_of, ordered_ids, random_ids
from benchmarks.yardstick_numpy import NumpyFleet
from benchmarks.yardsticks import Params
from corec._core.wire import pack_envelope

ENTITIES = 1_000_000
#: Readings of a set, and sets that follow one another: two readings of each entity.
READINGS, SETS = 250_000, 8
#: Rounds over all sets before the race: entities know by then what is usual for them.
WARM_ROUNDS = 12
#: At least so many times as fast as these.
NUMPY_TIMES, NUMBA_TIMES = 4, {"random ids": 2, "ids in order": 1}
KINDS = {"random ids": random_ids, "ids in order": ordered_ids}


@pytest.fixture(scope="module", params=KINDS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def load(name):
    return Load(KINDS[name](ENTITIES, READINGS, SETS))


@pytest.fixture(scope="module")
def engine(load):
    """An engine whose entities know their usual values."""
    engine = engine_of(ENTITIES, ventana=3600)
    for turn in range(WARM_ROUNDS * SETS):
        load.turn()
        engine.feed(load.frames, at=START + 1000 * turn)
    return engine


def feeding(engine, load):
    """The next set of readings, 10 ms later."""
    return lambda: engine.feed(load.frames, at=engine.clock + 10)


def folding(yardstick, load):
    """The same of a yardstick, whose entities all had a reading before."""
    for _ in range(SETS):
        load.turn()
        yardstick.fold(load.frames, START)
    return lambda: yardstick.fold(load.frames, START)


def in_words(name, best):
    return READINGS / best, f"{name}{millions(READINGS / best)}"


def test_against_numpy(compete, report, name, load, engine):
    numpy = folding(NumpyFleet(ENTITIES, Params.of(engine)), load)
    best = compete({"ours": feeding(engine, load), "numpy": numpy}, wanted={"numpy": NUMPY_TIMES}, tidy=load.turn)
    report.at_least("by id", f"{name}, against NumPy", NUMPY_TIMES, ours=in_words("", best["ours"]),
                    yardstick=in_words("NumPy ", best["numpy"]))


def test_against_numba(compete, report, name, load, engine):
    yardstick = pytest.importorskip("benchmarks.yardstick_numba").ById(ENTITIES, Params.of(engine))
    times = NUMBA_TIMES[name]
    best = compete({"ours": feeding(engine, load), "numba": folding(yardstick, load)}, wanted={"numba": times}, tidy=load.turn)
    report.at_least("by id", f"{name}, against Numba", times, ours=in_words("", best["ours"]), yardstick=in_words("Numba ", best["numba"]))
    sent = len(engine.feed(load.frames, at=engine.clock + 10).messages) / READINGS
    report.note("by id", f"{name}, share that leaves as messages", f"{sent:.1%}")


def test_in_envelopes(compete, report, full_form, name, load, engine):
    """What a node folds: envelopes of 1,000 readings, each unpacked, checked and folded."""
    producers, waiting = count(1), []

    def pack():
        load.turn()
        waiting[:] = envelopes(load.frames, next(producers), engine.clock)

    best = compete({"ours": lambda: engine.turn(waiting)}, seconds=3, tidy=pack)
    report.note("by id", f"{name}, in envelopes of 1,000", in_words("", best["ours"])[1])


def envelopes(frames, producer, at):
    """A set as a producer of its own sends it."""
    pieces = [frames[first : first + 10_000].tobytes() for first in range(0, len(frames), 10_000)]
    return [(pack_envelope(piece, producer=producer, epoch=1, sequence=1000 * n, time=at), at) for n, piece in enumerate(pieces)]
