"""Snapshots that somebody forged under true checksums: what leads out of the arena is refused, and the process lives."""
import numpy as np
import pytest

from corec._core import dtypes
from corec._core.dtypes import SEGMENT_FROZEN, SEGMENT_MIXED
from corec.engine import Engine
from corec.engine.state import VERSION
from corec.errors import DamagedFile, StorageError
from tests.support.fleet import entry
from tests.support.forging import put_together, taken_apart, with_elements, with_entity
from tests.support.twin import T0

#: Functions, limits, sparse ids, fusions, scores and hibernation.
CONFIG = {
    "hibernar_tras": 1,
    "bloques": [
        entry(entidades=2500, limites={"alto": 2.0}, silencio_max=2),
        entry(id="f", canal=2, entidades=13, funcion={"nombre": "sine", "a": 5.0, "b": 2.0, "periodo": 7.0}, silencio_max=600),
        entry(id="s", canal=3, entidades=9, silencio_max=600, ids={"device": [7_000_000, 9_000_001, 2**32 - 1], "high": [3.0, None, 1.0]}),
    ],
}  # fmt: skip
ASLEEP, STEPPED, SPARSE = 2, 3, 4   # segments


@pytest.fixture(scope="module")
def blob():
    engine = Engine(CONFIG)
    engine.feed_arrays(np.arange(2500), np.ones(2500), at=T0, channel=1)
    engine.tick(T0 + 30_000)
    engine.feed_arrays(np.arange(1500), np.ones(1500), at=T0 + 31_000, channel=1)
    engine.feed_arrays(np.array([0]), np.ones(1), at=T0 + 20_000, channel=1)
    engine.feed_arrays(np.array([7_000_000]), np.ones(1), at=T0 + 31_000, channel=3)
    engine.turn([], commands=[{"op": "fuse", "block": "a/1", "host": "a/0", "force": True},
                              {"op": "mute", "block": "f/0", "until": T0 + 90_000}])  # fmt: skip
    return engine.snapshot()


def test_what_was_not_forged_is_taken(blob):
    # Given a snapshot with everything in it, taken apart and put together
    state, segments = taken_apart(blob)
    engine = Engine.restore(put_together(state, segments))
    # Then it is the same, and holds what the forgeries below change
    assert engine.snapshot() == Engine.restore(blob).snapshot()
    assert list(engine.arena.frozen) == [ASLEEP] and engine.fusions and engine.mutes and len(engine.arena.pool)


def test_function_that_is_not_there_is_refused(blob):
    # Given a segment of entities with functions of their own, one of which is far behind the last
    state, segments = taken_apart(blob)
    flags = bytearray(state["flags"])
    flags[STEPPED] |= SEGMENT_MIXED
    state["flags"] = bytes(flags)
    # Then no entity has it: neither in a used slot, nor in the rest of the last tile, nor in a segment that sleeps
    for segment, slot in ((STEPPED, 3), (STEPPED, 15), (ASLEEP, 499)):
        forged = segments | {segment: with_entity(segments[segment], slot, role=0xFFFFF)}
        with pytest.raises(DamagedFile, match=f"segment {segment} with an entity of a function or quality that is not there"):
            Engine.restore(put_together(state, forged))
    # And one that is there runs
    taken = Engine.restore(put_together(state, segments | {STEPPED: with_entity(segments[STEPPED], 3, role=2)}))
    taken.step(T0 + 40_000)


@pytest.mark.parametrize("fields", [
    {"state": 9 << dtypes.QUALITY_SHIFT}, {"state": 0xFFFFFFFF}, {"role": 4}])
@pytest.mark.parametrize("segment", [0, ASLEEP])
def test_entities_that_no_kernel_leaves_are_refused(blob, segment, fields):
    state, segments = taken_apart(blob)
    with pytest.raises(DamagedFile):
        Engine.restore(put_together(state, segments | {segment: with_entity(segments[segment], 8, **fields)}))


def block(index=0, **fields):
    return lambda state: state | {"blocks": with_elements(state["blocks"], dtypes.BLOCK, index, **fields)}


def pool(**fields):
    return lambda state: state | {"pool": with_elements(state["pool"], dtypes.POOL, 0, **fields)}


def score(**fields):
    return lambda state: state | {"audit": with_elements(state["audit"], dtypes.BLOCK_SCORE, 0, **fields)}


def ledger(**fields):
    return lambda state: state | {"ledger": with_elements(state["ledger"], dtypes.LEDGER, 0, **fields)}


def field(name, value):
    return lambda state: state | {name: value(state[name]) if callable(value) else value}


def at(index, value, kind="<u4"):
    return lambda data: with_elements(data, np.dtype([("n", kind)]), index, n=value)


FORGERIES = {
    "owner that is not there": field("owners", at(0, 99)),
    "owner of another entry": field("owners", at(0, 4)),
    "owner without a fusion": field("owners", at(2, 0)),
    "policy that is not there": block(policy=9),
    "policy of another entry": block(policy=1),
    "channel of another": block(canal=-7),
    "shard of another": block(shard=3),
    "entities of others": block(entities=5),
    "window without an end": block(newest__start=-2**63, newest__end=2**63 - 1),
    "window that ends before it begins": block(older__start=T0, older__end=T0 - 1),
    "closed until for ever": block(closed_until=-2**63),
    "pool of a block that is not there": pool(block=9),
    "pool window of times that cannot be": pool(window__end=2**62),
    "pool window that amends twice": pool(amends=2),
    "pool window that never closes": pool(closes=2**63 - 1),
    "half a pool window": field("pool", lambda data: data[:-1]),
    "more pool windows of a block than there may be": field("pool", lambda data: data * 63),
    "ledger that does not add up": ledger(late=7),
    "ledger beyond 63 bits": ledger(arrived=2**63, late=2**63),
    "sleeping segment that nobody heard": field("flags", at(1, SEGMENT_FROZEN, "u1")),
    "passes beyond 32 bits": field("counters", [1, 2**32, 1]),
    "readings below zero": field("counters", [-1, 1, 1]),
    "clock beyond 2^53": field("clock", 2**53),
    "clock behind its watermark": field("watermark", T0 + 900_000),
    "clock that was set beyond 2^53": field("skipped", 2**54),
    "offset beyond 2^53": field("clock_offset", -2**54),
    "entry that is not there": field("stepped_at", [[9, T0]]),
    "account below zero": field("marks", [[1, 1, -1]]),
    "account beyond 63 bits": field("marks", [[1, 1, 5, 2**63]]),
    "gaps beyond what is counted": field("gaps", 2**63 + 1),
    "forgotten below zero": field("forgotten", -1),
    "place that is none": field("cursor", {"corec:in:00": "x-y"}),
    "channel that is none": field("shed_by", {"room": {"x": 1}}),
    "fusion of a block that is not there": field("fusions", [[T0, 9, 0, [1]]]),
    "fusion of a segment that is not there": field("fusions", [[T0, 1, 0, [99]]]),
    "fusion of another block's segment": field("fusions", [[T0, 1, 0, [0]]]),
    "fusion into itself": field("fusions", [[T0, 1, 1, [1]]]),
    "fusions in a circle": field("fusions", [[T0, 1, 0, [1]], [T0, 0, 1, [0, 1]]]),
    "no fusion": field("fusions", []),
    "mute of a block that is not there": field("mutes", [["z/0", T0, ""]]),
    "mute of an id beyond 32 bits": field("mutes", [[2**32, T0, ""]]),
    "mute until beyond 2^53": field("mutes", [[1, 2**60, ""]]),
    "scores of windows below zero": score(windows=-1),
    "scores with pauses without end": score(silent_until=2**63 - 1),
    "scores with a variance below zero": score(var=-1.0),
    "scores with a spread below zero": score(spread=-1.0),
    "scores that count fewer than none": score(levelled=-1),
    "scores of other blocks": field("audit", lambda data: data + data),
    "anchor beyond 2^53": field("clock_anchor", 2**54),
    "refused readings without their offsets": field("refused", [[1, 1, 0, 0, 0, b"", bytes(10)]]),
    "refused readings with half an offset": field("refused", [[1, 1, 0, 0, 0, b"abc", bytes(10)]]),
    "refused readings of a time beyond 64 bits": field("refused", [[1, 1, 0, 0, 2**63, bytes(4), bytes(10)]]),
    "refused readings of a second beyond 32 bits": field("refused", [[1, 1, 2**32, 0, 0, bytes(4), bytes(10)]]),
    "blocks of more": field("blocks", lambda data: data + data),
    "segments of fewer": field("flags", lambda data: data[:-1]),
    "another configuration": field("config", lambda config: config | {"bloques": config["bloques"][:1]}),
    "version 0": field("version", 0),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_state_that_leads_out_of_the_arena_is_refused(blob, name):
    # Given one field of a sound snapshot changed, Then it is refused with what to do
    state, segments = taken_apart(blob)
    with pytest.raises(DamagedFile) as caught:
        Engine.restore(put_together(FORGERIES[name](state), segments))
    assert "HINT: use an older snapshot" in str(caught.value)


def test_what_follows_from_entities_is_counted_anew(blob):
    # Given counts of entities that were heard and are failing, larger than there are entities
    state, segments = taken_apart(blob)
    forged = block(2, heard=501, failing=2**32 - 1)(state)
    # Then the restored engine counts what it has
    assert Engine.restore(put_together(forged, segments)).snapshot() == Engine.restore(blob).snapshot()


def test_pieces_that_are_missing_or_of_no_segment_are_refused(blob):
    state, segments = taken_apart(blob)
    for forged in ({key: piece for key, piece in segments.items() if key != 0}, segments | {99: segments[0]}, segments | {ASLEEP: b"zstd"}):
        with pytest.raises(DamagedFile):
            Engine.restore(put_together(state, forged))


def test_configuration_of_a_forged_snapshot_costs_no_more_than_its_bytes(blob):
    # Given a configuration of four thousand million entities over the state of a few
    state, segments = taken_apart(blob)
    state["config"]["bloques"] = [entry(entidades=4_000_000_000, entidades_por_bloque=1000)]
    # Then it is refused before an arena is made
    with pytest.raises(DamagedFile, match="segments instead of 4000000"):
        Engine.restore(put_together(state, segments))


def test_snapshot_of_a_newer_version_is_named_and_left(blob):
    state, segments = taken_apart(blob)
    with pytest.raises(StorageError, match="a newer CoreC wrote it") as caught:
        Engine.restore(put_together(state | {"version": VERSION + 1}, segments))
    assert not isinstance(caught.value, DamagedFile)
