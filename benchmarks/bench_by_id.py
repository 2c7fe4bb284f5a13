"""Readings by id, one core: frames decoded, filtered in full and added to their blocks, with all that leaves."""
import pytest

from benchmarks.harness import millions
from benchmarks.workloads import START, engine_of, ordered_frames, random_frames, turning
from benchmarks.yardstick_numpy import Fleet
from benchmarks.yardsticks import Params
from corec._core.wire import pack_envelope

ENTITIES = 1_000_000
#: Readings of a set, and sets that follow one another: two readings of each entity.
READINGS, SETS = 250_000, 8
#: Rounds over all sets before the race: entities know by then what is usual for them.
WARM_ROUNDS = 12
#: At least so many times as fast as these.
NUMPY_TIMES, NUMBA_TIMES = 4, {"random ids": 2, "ids in order": 1}
KINDS = {"random ids": random_frames, "ids in order": ordered_frames}


@pytest.fixture(scope="module", params=KINDS)
def name(request):
    """How ids come."""
    return request.param


@pytest.fixture(scope="module")
def sets(name):
    """Sets of frames."""
    return KINDS[name](ENTITIES, READINGS, SETS)


@pytest.fixture(scope="module")
def engine(sets):
    """A warm one."""
    engine = engine_of(ENTITIES, ventana=3600)
    for turn in range(WARM_ROUNDS * SETS):
        engine.feed(sets[turn % SETS], at=START + 1000 * turn)
    return engine


def feeding(engine, sets):
    """A set after the other, 10 ms apart."""
    start = engine.clock
    return turning(lambda turn: engine.feed(sets[turn % SETS], at=start + 10 * turn))


def folding(yardstick, sets):
    """The same of a yardstick, as warm as the engine."""
    for turn in range(SETS):
        yardstick.fold(sets[turn], START)
    return turning(lambda turn: yardstick.fold(sets[turn % SETS], START))


def in_words(name, best):
    return READINGS / best, f"{name}{millions(READINGS / best)}"


def test_against_numpy(compete, report, name, sets, engine):
    best = compete({"ours": feeding(engine, sets), "numpy": folding(Fleet(ENTITIES, Params.of(engine)), sets)},
                   wanted={"numpy": NUMPY_TIMES})
    report.at_least("by id", f"{name}, against NumPy", NUMPY_TIMES, ours=in_words("", best["ours"]), yardstick=in_words("NumPy ", best["numpy"]))


def test_against_numba(compete, report, name, sets, engine):
    numba = pytest.importorskip("benchmarks.yardstick_numba")
    best = compete({"ours": feeding(engine, sets), "numba": folding(numba.ById(ENTITIES, Params.of(engine)), sets)},
                   wanted={"numba": NUMBA_TIMES[name]})
    report.at_least("by id", f"{name}, against Numba", NUMBA_TIMES[name], ours=in_words("", best["ours"]), yardstick=in_words("Numba ", best["numba"]))


def test_batches_of_a_thousand(compete, report, full_form, name, sets, engine):
    """What a node folds: envelopes of 1,000 readings, each unpacked, checked and folded."""
    turns = iter([envelopes(sets[turn % SETS], turn, engine.clock) for turn in range(64)])
    best = compete({"ours": lambda: engine.turn(next(turns))}, seconds=0.5)
    report.note("by id", f"{name}, in envelopes of 1,000", in_words("", best["ours"])[1])


def envelopes(frames, producer, at):
    """A set as a producer of its own sends it."""
    pieces = [frames[first : first + 10_000].tobytes() for first in range(0, len(frames), 10_000)]
    return [(pack_envelope(piece, producer=producer, epoch=1, sequence=1000 * n, time=at), at) for n, piece in enumerate(pieces)]
