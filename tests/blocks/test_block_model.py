"""corec.blocks.block_model: the model of a block is the engine's, bit for bit."""
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import corec
from corec._core.dtypes import FAILING
from corec.blocks.block_model import WINDOW_MS, BlockModel, healthy, levels

START = 1_700_000_000_000


class Both:
    """A block model and an engine of the same configuration, fed the same readings at the same times."""

    def __init__(self, entities, **settings):
        self.now, self.window = START, 0
        self.model = BlockModel("both", 1, entities, settings, clock=lambda: self.now)
        entry = {"id": "b", "canal": 1, "entidades": entities, "entidades_por_bloque": entities, "max_size_mb": 64,
                 "ventana": WINDOW_MS / 1000, "autoreparacion": {"max_errores": 1}}
        self.engine = corec.Engine({"retraso_max": 0, "hibernar_tras": 0, "modules": ["registro"], "bloques": [{**entry, **settings}]})

    def fold(self, slots, values, good, load, after=WINDOW_MS):
        """One pass over both; asserts that they agree on everything they say."""
        self.now += after
        slots, values, good = np.asarray(slots, np.uint32), np.asarray(values, np.float32), np.asarray(good, bool)
        verdict = self.model.fold(slots, values, good, load)
        self.window = max(self.now // WINDOW_MS, self.window + 1)
        outcome = self.engine.feed_arrays(slots, values, at=self.window * WINDOW_MS, channel=1, load=load, states=good)
        states = self.engine.entities["state"].reshape(-1)[: len(self.model.states)]
        closed = self.engine.finish()
        assert np.array_equal(verdict.states, states)
        assert verdict.messages.tobytes() == outcome.messages.tobytes()
        assert verdict.alerts.tobytes() == outcome.alerts.tobytes()
        assert repr(verdict.row) == repr(closed.aggregates[0].item() if len(closed.aggregates) else None)
        assert self.model.fitness == self.engine.blocks["fitness"][0]
        return verdict


@pytest.mark.parametrize("entities", [1, 7, 1000, 2500])
def test_model_is_the_engines(entities):
    # Given hundreds of passes at changing loads, with failures and entities that are left out
    both, dice = Both(entities), np.random.default_rng(entities)
    for _ in range(150):
        slots = np.flatnonzero(dice.random(entities) < 0.9)
        good = dice.random(len(slots)) < 0.97
        values = np.where(good | (dice.random(len(slots)) < 0.5), dice.normal(20, 3, len(slots)), np.nan)
        # Then states, messages, alerts, rows and fitness are the same bits
        both.fold(slots, values, good, int(dice.integers(256)) / 255, after=int(dice.choice([1, WINDOW_MS, 5000])))


def test_model_is_the_engines_over_long_silence():
    # Given an entity that is not called for so long that the engine's ages would wrap
    both = Both(3)
    for after in (WINDOW_MS, 700_000, 8_192_000, 3_600_000 * 5):
        both.fold([0, 1], [1.0, 2.0], [True, True], 0.0, after=after)
    verdict = both.fold([0, 1, 2], [1.0, 2.0, 3.0], [True] * 3, 0.0)
    assert healthy(verdict.states).all()


def test_model_takes_the_filter_of_the_configuration():
    both = Both(1, filtro={"umbral": 5.0, "desviacion": 0.0})
    sent = [len(both.fold([0], [value], [True], 0.0).messages) for value in (0.0, 4.0, 5.5, 9.0, 11.0)]
    assert sent == [1, 0, 1, 0, 1]


def test_model_that_sends_more_than_its_outlet_holds():
    # Given a first pass, in which every entity sends a message
    both = Both(5000)
    verdict = both.fold(np.arange(5000), np.arange(5000), np.ones(5000, bool), 0.0)
    assert verdict.messages["id"].tolist() == list(range(5000))


def test_two_failures_restart_an_entity():
    both = Both(2)
    assert [both.fold([0, 1], [1, 1], good, 0).restarted for good in ([0, 1], [0, 1], [0, 1], [1, 1], [0, 1], [0, 1])] == [
        [], [0], [], [], [], [0]]  # fmt: skip


def test_sick_is_more_than_the_share_of_failing_entities():
    # Given 20 entities of which 5 % may fail
    model, good = BlockModel("b", 1, 20, {"autoreparacion": {"max_errores": 0.05}}), np.ones(20, bool)
    seen = []
    for failing in (1, 1, 2, 2):
        good[:failing] = False
        model.fold(np.arange(20, dtype=np.uint32), np.ones(20, np.float32), good, 0.0)
        seen.append(model.sick)
    # Then one may, and two may not: an entity fails from its second bad reading on
    assert seen == [False, False, False, True]
    assert (levels(model.states) >= FAILING).sum() == 2
    assert model.repair(ordered=False).tolist() == [0, 1]
    assert not model.sick


@given(st.integers(1, 60), st.data())
@settings(max_examples=40, deadline=None)
def test_fitness_falls_whenever_errors_rise(entities, data):
    # Given two blocks of which the second has one failure more
    fewer = data.draw(st.integers(0, entities - 1))
    fitness = []
    for failing in (fewer, fewer + 1):
        model = BlockModel("b", 1, entities, {})
        good = np.arange(entities) >= failing
        for _ in range(2):
            model.fold(np.arange(entities, dtype=np.uint32), np.ones(entities, np.float32), good, 0.0)
        fitness.append(model.fitness)
    # Then its fitness is lower, and both are in [0, 1]
    assert 0.0 <= fitness[1] < fitness[0] <= 1.0


def test_aggregate_is_that_of_the_pass():
    model, slots = BlockModel("b", 1, 4, {}), np.arange(4, dtype=np.uint32)
    model.fold(slots, np.full(4, 100, np.float32), np.ones(4, bool), 0.0)
    verdict = model.fold(slots, np.array([1, 2, 3, np.nan], np.float32), np.array([1, 1, 1, 0], bool), 0.0)
    assert verdict.aggregate == {"count": 3, "mean": 2.0, "min": 1.0, "max": 3.0, "std": pytest.approx(np.std([1, 2, 3])), "errors": 1}


def test_aggregate_of_no_reading_counts_none_and_leaves_the_fitness():
    model = BlockModel("b", 1, 1, {})
    model.fold(np.zeros(1, np.uint32), np.zeros(1, np.float32), np.zeros(1, bool), 0.0)
    before = model.fitness
    verdict = model.fold(np.zeros(0, np.uint32), np.zeros(0, np.float32), np.zeros(0, bool), 0.0)
    assert (verdict.aggregate["count"], verdict.aggregate["errors"]) == (0, 0) and np.isnan(verdict.aggregate["mean"])
    assert model.fitness == before < 1.0


def test_passes_may_come_faster_than_windows():
    model, good = BlockModel("b", 1, 1, {}), np.ones(1, bool)
    counts = [model.fold(np.zeros(1, np.uint32), np.ones(1, np.float32), good, 0.0).aggregate["count"] for _ in range(100)]
    assert counts == [1] * 100


def test_a_block_of_a_plugin_takes_little_memory_also_where_the_allocator_gives_used_memory():
    # Given a process in which large memory was freed before, so that what comes next is cleared instead of fresh
    program = """if True:
        import psutil
        from corec import Engine
        from corec.blocks import BloqueSimbiotico
        from corec.entities import crear_entidad
        Engine({"bloques": [{"id": "a", "canal": 1, "entidades": 10}]})
        before, blocks = psutil.Process().memory_info().rss, []
        for number in range(300):
            entities = [crear_entidad(f"m{slot}", 4, float) for slot in range(10)]
            blocks.append(BloqueSimbiotico(f"b{number}", 4, entities))
        print(psutil.Process().memory_info().rss - before)
    """
    # When 300 blocks are made, then each takes well below a megabyte
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) / 300 < 100_000, done.stdout
