"""The kernels against the oracle, bit for bit, on every instruction set this processor has.

What the model does, as against how exactly it does it, is in test_model.py.
"""
import contextlib
import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corec._core import block
from corec._core.dtypes import ROLE_SCALE_ONE, ROLE_SCALE_SHIFT
from corec.engine import Engine
from corec.errors import ConfigError
from tests.support.fleet import FLEET, PAUSES, READINGS, STEPPED, entry, frames
from tests.support.twin import T0, Twin, entity_columns, envelope

SETS = ("base", "avx2", "avx512")


@pytest.fixture
def kernels():
    """Chooses an instruction set; the best one is back afterwards."""

    def choose(name):
        with contextlib.suppress(ConfigError):
            return block.use_kernels(name)
        pytest.skip(f"this processor has no {name}")

    yield choose
    block.use_kernels()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(READINGS, PAUSES, st.floats(0, 1)), min_size=1, max_size=12))
def test_readings_by_id_fold_as_the_oracle_says(turns):
    # Given a fleet of every kind of block
    twin, at = Twin(FLEET), T0
    # When batches come with repeats, failures, strangers and wrong times, then each gives what the oracle gives
    for readings, ahead, load in turns:
        at += ahead
        twin.feed(frames(readings), at=at, load=load)
    twin.finish()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.sampled_from([1.0, 1e-3, 50.0]))
def test_large_batches_fold_as_the_oracle_says(seed, rounds, spread):
    # Given batches that fill chunks and gangs, each entity up to 20 times in one
    dice, twin = np.random.default_rng(seed), Twin(FLEET)
    for number in range(rounds):
        ids = dice.integers(0, 2500, 3000) if number % 2 else dice.integers(0, 150, 3000)
        states = dice.random(3000) > 0.02
        twin.feed_arrays(ids, dice.normal(0, spread, 3000), at=T0 + 700 * number, channel=1, states=states)
    twin.finish()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2499), st.integers(0, 9000)), max_size=80), st.booleans())
def test_times_of_their_own_fold_as_the_oracle_says(readings, as_envelope):
    # Given readings each with a time of its own, in any order
    ids, times = np.array(readings, np.int64).reshape(-1, 2).T
    twin = Twin(FLEET)
    # When they come as arrays, or as an envelope with offsets
    if as_envelope:
        twin.turn([envelope(ids, ids * 0.1, at=T0 + 5000, offsets=(times - 5000).astype(np.int32))])
    else:
        twin.feed_arrays(ids, ids * 0.1, at=T0 + times, channel=1)
    # Then both take the same ones
    twin.finish()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["step", "tick", "feed"]), st.integers(1, 2500)), min_size=1, max_size=15), st.floats(0, 1))
def test_whole_pass_folds_as_the_oracle_says(moves, load):
    # Given native functions of all kinds, in segments whose last tile is not full
    twin, at = Twin(STEPPED), T0
    for move, ahead in moves:
        at += ahead
        # When they are stepped, by hand and by time, with readings of the same entities in between
        if move == "feed":
            ids = np.arange(0, 4215, 3)
            twin.feed_arrays(ids, np.sin(ids), at=at, channel=1, states=ids % 5 > 0, load=load)
        else:
            getattr(twin, move)(at, load=load)
    # Then every value, window and message is the oracle's
    twin.finish()


# --- instruction sets ------------------------------------------------------------------------------


def scrambled(n, salt):
    """n integers below 2**32 that no library has a say in."""
    x = (np.arange(n, dtype=np.uint64) + np.uint64(salt)) * np.uint64(0x9E3779B97F4A7C15)
    return ((x ^ (x >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)) >> np.uint64(32)


def whole_story():
    """A hash of all that a few seconds of everything give: rows, messages, alerts, entities, blocks."""
    state = hashlib.blake2b(digest_size=16)
    for config in (FLEET, STEPPED):
        engine = Engine(config)
        for number in range(40):
            ids, values = scrambled(3000, 3 * number) % 2500, scrambled(3000, 3 * number + 1) / 2.0**31 - 1
            outcomes = [engine.feed_arrays(ids, values, at=T0 + 130 * number, channel=1, load=0.5,
                                           states=scrambled(3000, 3 * number + 2) % 50 > 0)]  # fmt: skip
            outcomes += [engine.step(T0 + 130 * number + 60), engine.tick(T0 + 130 * number + 70)]
            for outcome in outcomes:
                for rows in (outcome.aggregates, outcome.messages, outcome.alerts):
                    state.update(rows.tobytes())
        state.update(engine.finish().aggregates.tobytes())
        state.update(engine.entities.tobytes())
        state.update(engine.blocks.tobytes())
    return state.hexdigest()


#: Blocks of which one has dead sensors, one is weak and joins another; all are audited.
ORGANISM = {
    "retraso_max": 0.5, "auditoria": {"ventanas": 64, "umbral": 0.5},
    "bloques": [entry(id="a", entidades=300, entidades_por_bloque=100, autoreparacion={"max_errores": 0.02}, silencio_max=30),
                entry(id="b", canal=2, entidades=1400, entidades_por_bloque=700, autoreparacion={"max_errores": 0.02, "min_fitness": 0.9}),
                entry(id="c", canal=3, entidades=8, funcion={"nombre": "sine", "a": 5.0, "b": 2.0})],
}  # fmt: skip


def organism_moves():
    """(time, command or None, ids, values, states, channel) of each turn: repairs that help and that do not, a fusion and its
    undoing, a mute, anomalies."""
    orders = {30: {"op": "repair", "block": "b/0"}, 60: {"op": "fuse", "block": "a/2", "host": "a/0", "force": True, "why": "test"},
              75: {"op": "mute", "block": "a/1", "until": T0 + 95_000}, 100: {"op": "undo", "block": "a/2", "why": "test"}}  # fmt: skip
    for number in range(290):
        channel, size = (1, 300) if number % 2 else (2, 1400)
        slots = scrambled(400, 5 * number) % size
        values = scrambled(400, 5 * number + 1) / 2.0**31 + (20.0 if number in (280, 281) else 0.0)
        dead = (slots % 23 == 0) & ((number < 110) | (slots % 2 == 0))
        yield T0 + 1000 * number, orders.get(number), slots + (300 if channel == 2 else 0), values, ~dead, channel


def organism_story(machine, tell):
    """Have *machine*, an engine or a twin, live through them, and *tell* each outcome."""
    for at, order, ids, values, states, channel in organism_moves():
        if order:
            tell(machine.turn([], commands=[order], tick=at))
        tell(machine.feed_arrays(ids, values, at=at, channel=channel, states=states))
    tell(machine.finish())


def organism_hash():
    """A hash of all that comes of it: rows with their scores, messages, alerts, what happened to blocks, entities, blocks."""
    state, engine, seen = hashlib.blake2b(digest_size=16), Engine(ORGANISM), []

    def tell(outcome):
        for rows in (outcome.aggregates, outcome.messages, outcome.alerts, outcome.muted):
            state.update(rows.tobytes())
        for event in outcome.events:
            state.update("|".join(map(str, event)).encode())
        seen.extend(event.what for event in outcome.events)
        seen.extend("anomaly" for kind in outcome.alerts["kind"] if kind == 5)
        seen.extend("muted" for _ in outcome.muted)

    organism_story(engine, tell)
    assert {"repair", "regenerate", "restart", "fuse", "undo", "mute", "muted", "anomaly"} <= set(seen)
    state.update(engine.entities.tobytes())
    state.update(engine.blocks.tobytes())
    return state.hexdigest()


#: Of the base kernels.  They change only when the model does: docs/model.md and the oracle change with them.
GOLDEN_ORGANISM = "80ad03b8089f6e31b34c07d31c320f4c"
GOLDEN = "1d4b50148c1860655b8efd0b35732b05"


@pytest.mark.parametrize("name", SETS)
def test_every_instruction_set_gives_the_golden_bits(kernels, name):
    # Given the kernels of one instruction set, when they fold some seconds of everything
    assert kernels(name) == name
    # Then all of it hashes to what is written here
    assert whole_story() == GOLDEN
    assert organism_hash() == GOLDEN_ORGANISM


@pytest.mark.parametrize("name", SETS)
def test_every_instruction_set_is_the_oracle(kernels, name):
    # Given the kernels of one instruction set, then they agree with the oracle too, not only with each other
    kernels(name)
    twin = Twin(STEPPED)
    for number in range(6):
        ids = scrambled(2000, number) % 4215
        twin.feed_arrays(ids, scrambled(2000, number + 50) / 2.0**30, at=T0 + 400 * number, channel=1)
        twin.step(T0 + 400 * number + 200)
    twin.finish()
    # And so is what becomes of blocks that fail, join and are undone
    organism_story(Twin(ORGANISM), lambda outcome: None)


def test_unknown_instruction_set_is_refused():
    with pytest.raises(ConfigError, match="got 'sse9' in COREC_SIMD"):
        block.use_kernels("sse9")


# --- edges of the arithmetic -----------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.floats(-(2.0**59), 2.0**59, width=32), st.booleans()), min_size=1, max_size=120),
       st.sampled_from([1e-9, 1e-4, 0.0005, 0.2, 0.5]))  # fmt: skip
def test_no_value_makes_a_statistic_bad(readings, memory):
    # Given one entity that hears anything, failures between
    engine = Engine({"bloques": [entry(entidades=1, filtro={"memoria": memory})]})
    for number, (value, good) in enumerate(readings):
        engine.feed_arrays([0], [value], at=T0 + 250 * number, channel=1, states=[good])
    # Then its variance is not negative and nothing of it is NaN or infinite
    columns = entity_columns(engine)
    assert columns["var"][0] >= 0
    assert all(np.isfinite(columns[name][0]) for name in ("value", "emitted", "fast", "slow", "var", "change", "peak"))
    # And the row's spread is one
    rows = engine.finish().aggregates
    assert (rows["std"][rows["count"] > 0] >= 0).all()


def test_role_of_an_entity_scales_its_threshold_and_goes_with_a_repair():
    # Given one healthy entity whose threshold is doubled, beside ones that fail
    twin = Twin({"bloques": [entry(entidades=16, filtro={"umbral": 1.0}, autoreparacion={"max_errores": 1.0})]})
    twin.feed_arrays(np.arange(16), np.zeros(16), at=T0, channel=1)
    twin.engine.entities[0, 0]["role"][3] = (2 * ROLE_SCALE_ONE ^ ROLE_SCALE_ONE) << ROLE_SCALE_SHIFT
    twin.oracle.state.scale[3] = 2.0
    # When both move by 1.5, then it stays silent and the others do not
    moved = twin.feed_arrays(np.arange(16), np.full(16, 1.5), at=T0 + 10, channel=1)
    assert moved.messages["id"].tolist() == [0, 1, 2, *range(4, 16)]
    # And its neighbours take its threshold over when they are repaired
    for number in range(3):
        twin.feed_arrays([2, 4, 5], np.zeros(3), at=T0 + 20 + number, channel=1, states=[0, 0, 0])
    twin.turn([], commands=[{"op": "repair", "block": "a/0"}])
    twin.check_state()
    assert entity_columns(twin.engine)["scale"][:7].tolist() == [1, 1, 1, 2, 2, 1, 1]
