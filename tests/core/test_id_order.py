"""Readings in order of their ids take a path of their own through the kernels: whole tiles, folded in place."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corec._core.wire import FRAME_BYTES, encode_frames
from corec.engine import Engine
from tests.support.fleet import FLEET, PAUSES
from tests.support.twin import T0, Twin, same_state

#: Where runs begin and end: tiles, segments, blocks, entries, sparse ids, channels.
EDGES = [0, 1, 7, 8, 993, 999, 1000, 1992, 2490, 2500, 2520, 2524, 3517, 3525, 4221, 4919, 2**32 - 3000, 2**32 - 1001, 7_000_000]
RUN = st.tuples(st.sampled_from(EDGES), st.integers(1, 60), st.sampled_from([1, 1, 1, 2, 0, 127]))
#: (place, what): a reading that is not plain.
FLAW = st.tuples(st.integers(0, 59), st.sampled_from(["nan", "failed", "torn", "other id", "limit"]))


def frames_of(runs, flaws, seed):
    """Runs of ids that follow one another, with what breaks them."""
    ids = np.concatenate([(np.arange(start, start + count) % 2**32).astype(np.uint32) for start, count, _ in runs])
    canal = np.concatenate([np.full(count, canal, np.int8) for _, count, canal in runs])
    values = np.random.default_rng(seed).normal(0, 1, len(ids)).astype(np.float32)
    states = np.ones(len(ids), np.uint8)
    for place, what in flaws:
        at = place % len(ids)
        if what == "nan":
            values[at] = np.nan
        elif what == "limit":
            values[at] = 9.0
        elif what == "other id":
            ids[at] = 5
        else:
            states[at] = {"failed": 0, "torn": 2}[what]
    raw = np.frombuffer(encode_frames(ids, 1, values, 1), np.uint8).copy().reshape(-1, FRAME_BYTES)
    raw[:, 4], raw[:, 9] = canal.view(np.uint8), states
    return raw.tobytes()


@given(st.lists(st.tuples(st.lists(RUN, min_size=1, max_size=4), st.lists(FLAW, max_size=3), PAUSES), min_size=1, max_size=5),
       st.integers(0, 99))  # fmt: skip
@settings(max_examples=60)
def test_runs_give_what_the_oracle_gives(batches, seed):
    # Given runs over the edges of tiles, segments and blocks, broken here and there
    twin, at = Twin(FLEET), T0
    for number, (runs, flaws, pause) in enumerate(batches):
        at = max(at + pause, 0)
        # Then each batch gives, bit for bit, what an independent implementation gives
        twin.feed(frames_of(runs, flaws, seed + number), at=at)


@pytest.mark.parametrize("first", [0, 3, 8, 997])
@pytest.mark.parametrize("size", [1, 5, 8, 11, 64])
def test_where_a_run_is_cut_makes_no_difference(first, size):
    # Given 2,400 readings in order, whole and in pieces that no tile fits
    config = {"bloques": [{"id": "a", "canal": 1, "entidades": 3500, "limites": {"alto": 2.5}}]}
    ids, values = np.arange(first, first + 2400, dtype=np.uint32), np.random.default_rng(size).normal(0, 1, 2400).astype(np.float32)
    whole, cut = Engine(config), Engine(config)
    for turn in range(3):
        whole.feed_arrays(ids, values, at=T0 + turn, channel=1)
        for start in range(0, len(ids), size):
            piece = slice(start, start + size)
            cut.feed_arrays(ids[piece], values[piece], at=T0 + turn, channel=1)
    # Then no bit differs
    assert same_state(whole, cut)
    assert whole.finish().aggregates.tobytes() == cut.finish().aggregates.tobytes()


def test_a_run_goes_on_while_a_snapshot_needs_its_segments():
    # Given a snapshot that still wants every segment, when readings come in order
    config = {"bloques": [{"id": "a", "canal": 1, "entidades": 3000}]}
    engine, plain, ids = Engine(config), Engine(config), np.arange(3000, dtype=np.uint32)
    for each in (engine, plain):
        each.feed_arrays(ids, np.sin(ids), at=T0, channel=1)
    meta = engine.snapshot_begin()
    for each in (engine, plain):
        each.feed_arrays(ids, np.cos(ids), at=T0 + 5, channel=1)
    # Then the snapshot has what was before, the engine what came since
    before = Engine.assemble(meta, dict(engine.snapshot_segments()))
    before.feed_arrays(ids, np.cos(ids), at=T0 + 5, channel=1)
    assert same_state(engine, plain) and same_state(before, plain)
