"""Engine state as bytes, whole and piece by piece, and segments that sleep: none of it may show in results."""
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from corec._core.dtypes import SEGMENT_FROZEN, SEGMENT_PENDING
from corec.engine import Engine
from corec.errors import DamagedFile
from tests.support.fleet import FLEET, PAUSES, READINGS, entry, frames
from tests.support.turns import run, turns_of, values
from tests.support.twin import T0, Twin, check_ledger, envelope, same_outcome, same_state

SLEEPY = {"hibernar_tras": 1, "bloques": [entry(entidades=3500, silencio_max=2)]}


def hear_all(engine, at, seed=0, every=1):
    ids = np.arange(0, 3500, every)
    return engine.feed_arrays(ids, values(seed, len(ids)), at=T0 + at, channel=1)


def asleep(engine):
    return np.flatnonzero(engine.arena.segments["flags"] & SEGMENT_FROZEN).tolist()


# --- whole -----------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sets(st.integers(0, 13), max_size=4))
def test_restored_engine_goes_on_as_if_nothing_had_been(seed, cuts):
    # Given a run of turns without a break
    turns, engine = turns_of(seed), Engine(FLEET)
    expected, unbroken = [], Engine(FLEET)
    expected = run(unbroken, turns)
    for number, turn in enumerate(turns):
        # When another is saved and restored in the midst of it
        if number in cuts:
            engine = Engine.restore(engine.snapshot())
        # Then every turn gives the same
        same_outcome(engine.turn(**turn), expected[number])
    assert same_state(engine, unbroken)
    assert engine.ledger == unbroken.ledger


def test_every_damaged_byte_of_a_snapshot_is_detected():
    # Given a snapshot, one of whose segments sleeps
    engine = Engine({"hibernar_tras": 1, "bloques": [entry(entidades=1500, silencio_max=2)]})
    engine.feed_arrays(np.arange(0, 1500, 50), values(0, 30), at=T0, channel=1)
    engine.feed_arrays([0], [1.0], at=T0 + 9000, channel=1)
    blob = engine.snapshot()
    assert same_state(Engine.restore(blob), engine)
    # When any byte of it changes, then it is refused
    for place in range(len(blob)):
        damaged = bytearray(blob)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(DamagedFile, match="does not match its checksum"):
            Engine.restore(bytes(damaged))


@pytest.mark.parametrize("blob", [b"", b"CCSNAP01", bytes(100)])
def test_what_is_no_snapshot_is_refused_with_a_hint(blob):
    with pytest.raises(DamagedFile) as caught:
        Engine.restore(blob)
    assert "HINT: use an older snapshot" in str(caught.value)


def test_shortened_snapshot_is_refused():
    blob = Engine(FLEET).snapshot()
    for length in range(0, len(blob), 7):
        with pytest.raises(DamagedFile):
            Engine.restore(blob[:length])


def test_snapshot_keeps_what_a_reload_changed():
    # Given an engine whose lateness grew after its last reading
    engine = Engine(FLEET)
    engine.feed_arrays([0], [1.0], at=T0 + 5000, channel=1)
    engine.turn([], commands=[{"op": "reload", "config": FLEET | {"retraso_max": 9.0}}])
    # Then the restored one amends the same windows
    again = Engine.restore(engine.snapshot())
    assert again.arena.watermark == engine.arena.watermark
    for each in (engine, again):
        each.feed_arrays([0], [1.0], at=T0 + 1000, channel=1)
        assert len(each.arena.pool) == 1 and each.arena.pool["amends"].all()


# --- piece by piece --------------------------------------------------------------------------------


def taken(engine, store, limit=None):
    """Hand on pieces of the running snapshot into *store*."""
    pieces = list(engine.snapshot_segments(limit))
    store.update(pieces)
    return [segment for segment, _ in pieces]


def test_only_what_changed_is_handed_out_again():
    # Given a snapshot of everything
    engine, store = Engine(SLEEPY), {}
    hear_all(engine, 0)
    engine.snapshot_begin()
    assert taken(engine, store) == [0, 1, 2, 3]
    # When one segment changes, then it alone is due, and no other
    engine.feed_arrays([1500], [9.0], at=T0 + 10, channel=1)
    meta = engine.snapshot_begin()
    assert taken(engine, store) == [1]
    assert same_state(Engine.assemble(meta, store), engine)


def test_turns_may_go_on_while_a_snapshot_is_handed_out():
    # Given a snapshot begun, and an engine that stands still at that moment
    engine, store = Engine(SLEEPY), {}
    hear_all(engine, 0)
    still = Engine.restore(engine.snapshot())
    meta = engine.snapshot_begin()
    # When the segments are handed out one by one, and all of them change meanwhile
    order = []
    for number in range(4):
        hear_all(engine, 10 + number, seed=number, every=number + 1)
        order += taken(engine, store, 1)
    assert engine.snapshot_pending == 0
    # Then the snapshot is of the moment at which it was begun
    assert sorted(order) == [0, 1, 2, 3]
    assert same_state(Engine.assemble(meta, store), still)


def test_running_snapshot_does_not_make_a_quiet_second_dear():
    # Given a snapshot begun, of segments in which nobody falls silent
    engine = Engine({"bloques": [entry(entidades=3500)]})
    hear_all(engine, 0)
    engine.snapshot_begin()
    # When seconds pass, then no segment was copied for it: all of them still wait to be handed out
    engine.tick(T0 + 3000)
    assert (engine.arena.segments["flags"] & SEGMENT_PENDING != 0).all()
    assert engine.snapshot_pending == 4


def test_whole_snapshot_takes_nothing_from_the_next_incremental_one():
    # Given an incremental snapshot, a change, and a whole snapshot by someone else
    engine, store = Engine(SLEEPY), {}
    hear_all(engine, 0)
    engine.snapshot_begin()
    taken(engine, store)
    engine.feed_arrays([0], [5.0], at=T0 + 10, channel=1)
    engine.snapshot()
    # Then the change is still due
    meta = engine.snapshot_begin()
    assert taken(engine, store) == [0]
    assert same_state(Engine.assemble(meta, store), engine)


def test_snapshot_given_up_owes_its_segments_to_the_next():
    # Given a snapshot of which one piece was handed out and then lost with the others
    engine, store = Engine(SLEEPY), {}
    hear_all(engine, 0)
    engine.snapshot_begin()
    lost = taken(engine, {}, 1)
    # When another begins, told what was lost
    meta = engine.snapshot_begin(owed=lost)
    # Then it is whole
    assert sorted(taken(engine, store)) == [0, 1, 2, 3]
    assert same_state(Engine.assemble(meta, store), engine)


def test_entities_that_fall_silent_are_a_change():
    # Given a snapshot, and nothing heard since
    engine, store = Engine({"bloques": [entry(entidades=1000, silencio_max=2)]}), {}
    engine.feed_arrays([0], [1.0], at=T0, channel=1)
    engine.snapshot_begin()
    taken(engine, store)
    # When an entity falls silent
    engine.tick(T0 + 5000)
    meta = engine.snapshot_begin()
    # Then its segment is due
    assert taken(engine, store) == [0]
    assert Engine.assemble(meta, store).entity(0)["quality"] == "silent"


# --- hibernation -----------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([100, 900, 3000, 9000, 40_000]), st.integers(0, 3), st.integers(1, 60)), min_size=1, max_size=15))
def test_sleep_does_not_show_in_results(moves):
    # Given an engine whose segments sleep whenever they can, one whose never do, and the oracle, which has no idea
    sleepy, awake = Twin(SLEEPY), Engine(SLEEPY | {"hibernar_tras": 0})
    at, slept = 0, 0
    for ahead, segment, count in moves:
        at += ahead
        ids = np.arange(segment * 1000, min(segment * 1000 + count * 8, 3500), count)
        batch = envelope(ids, np.sin(ids), at=T0 + at, producer=at, states=ids % 7 > 0)
        # When readings wake some of them, then all three give the same
        same_outcome(sleepy.turn([batch]), awake.turn([batch]))
        slept += len(asleep(sleepy.engine))
    assert same_state(sleepy.engine, awake)
    sleepy.finish()
    assert asleep(awake) == []


def test_segments_sleep_once_they_are_silent_and_idle():
    # Given segments heard once, and one of them later
    engine = Engine(SLEEPY)
    hear_all(engine, 0)
    # When its entities are silent, 3 s later, and it is idle, then a segment sleeps; the one still heard does not
    engine.feed_arrays([0], [1.0], at=T0 + 2000, channel=1)
    assert [asleep(engine), engine.tick(T0 + 3000) and asleep(engine), engine.tick(T0 + 4000) and asleep(engine)] == [[], [], [1, 2, 3]]
    # And it gives its pages back: its tiles read as zero
    assert engine.arena.tiles[1]["state"].max() == 0


def test_reading_and_index_wake_a_segment():
    # Given segments asleep
    engine = Engine(SLEEPY)
    hear_all(engine, 0)
    mean = engine.entity(1234)["mean"]
    engine.tick(T0 + 60_000)
    assert asleep(engine) == [0, 1, 2, 3]
    # When one is asked about, then it wakes and is what it was
    assert engine.entity(1234)["mean"] == mean
    assert asleep(engine) == [0, 2, 3]
    # When one is heard, then it wakes
    engine.feed_arrays([2345], [1.0], at=T0 + 60_100, channel=1)
    assert asleep(engine) == [0, 3]
    # When all are looked at, then all wake
    assert engine.entities["state"][3].max() > 0
    assert asleep(engine) == []


def test_repair_wakes_a_segment():
    # Given a block that fell asleep with failing entities
    engine = Engine(SLEEPY)
    hear_all(engine, 0)
    for number in range(3):
        engine.feed_arrays([1], [1.0], at=T0 + number, channel=1, states=[False])
    engine.tick(T0 + 60_000)
    assert 0 in asleep(engine)
    # When it is repaired, then it is, and known to be silent still
    assert engine.turn([], commands=[{"op": "repair", "block": "a/0"}]).repairs[0].entities == 1
    assert (engine.entity(1)["quality"], engine.entity(1)["error_level"]) == ("silent", 0)


def test_strangers_do_not_wake_a_segment():
    # Given a sleeping segment, when readings that are none of its own come, then it sleeps on
    engine = Engine(SLEEPY)
    hear_all(engine, 0)
    engine.tick(T0 + 60_000)
    engine.feed_arrays([1, 2], [1.0, 2.0], at=T0 + 60_001, channel=9)
    assert len(asleep(engine)) >= 3
    assert engine.ledger["rejected_channel"] == 2


def test_sleeping_segments_are_in_snapshots():
    # Given an engine with sleeping and waking segments
    engine, store = Engine(SLEEPY), {}
    hear_all(engine, 0)
    engine.tick(T0 + 60_000)
    engine.feed_arrays([0], [1.0], at=T0 + 60_100, channel=1)
    # Then both kinds of snapshot have them, asleep as they are
    meta = engine.snapshot_begin()
    taken(engine, store)
    both = Engine.restore(engine.snapshot()), Engine.assemble(meta, store)
    assert [asleep(each) for each in (engine, *both)] == [[1, 2, 3]] * 3
    assert all(same_state(again, engine) for again in both)


def test_sleep_is_bounded_a_second():
    # Given 100 segments that may all sleep
    engine = Engine({"hibernar_tras": 1, "bloques": [entry(entidades=100_000, silencio_max=2)]})
    ids = np.arange(0, 100_000, 1000)
    engine.feed_arrays(ids, ids, at=T0, channel=1)
    # When seconds pass, then each second compresses 32 at most
    assert [engine.tick(T0 + 60_000 + 1000 * second) and len(asleep(engine)) for second in range(5)] == [32, 64, 96, 100, 100]


# --- views -----------------------------------------------------------------------------------------


def test_entities_are_a_view_of_the_live_memory():
    # Given a view of the entities of a large engine
    engine = Engine({"bloques": [entry(entidades=1_000_000)]})
    tracemalloc.start()
    view = engine.entities
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    # Then it is no copy: 32 MB are seen for less than a kilobyte or ten
    assert (view.shape, view.nbytes) == ((1000, 125), 32_000_000)
    assert size < 10_000
    # And shows what is fed next, at the place that `locate` tells
    engine.feed_arrays([123_456], [7.5], at=T0, channel=1)
    segment, slot = engine.locate(123_456)
    assert (segment, slot) == (123, 456)
    assert view[segment, slot // 8]["value"][slot % 8] == 7.5


def test_blocks_may_be_looked_at_and_not_written_to():
    engine = Engine(FLEET)
    with pytest.raises(ValueError, match="read-only"):
        engine.blocks["heard"] = 1
    engine.feed_arrays([0], [1.0], at=T0, channel=1)
    assert engine.blocks["heard"][0] == 1


# --- everything at once ----------------------------------------------------------------------------


class Everything(RuleBasedStateMachine):
    """An engine with readings, commands, snapshots of both kinds, sleep and restarts, and the oracle beside it."""

    @initialize()
    def begin(self):
        self.twin, self.at, self.sequence = Twin(FLEET | {"hibernar_tras": 1}), T0, 0
        self.store, self.meta, self.still = {}, None, None

    @rule(readings=READINGS, ahead=PAUSES, load=st.floats(0, 1))
    def feed(self, readings, ahead, load):
        self.at += ahead
        self.twin.feed(frames(readings), at=self.at, load=load)

    @rule(ids=st.lists(st.integers(0, 2499), max_size=40), back=st.integers(0, 3000), load_q=st.integers(0, 255), tick=st.booleans(),
          repair=st.booleans(), again=st.integers(0, 20))  # fmt: skip
    def turn(self, ids, back, load_q, tick, repair, again):
        offsets = np.linspace(-back, 0, len(ids)).astype(np.int32)
        self.sequence = max(0, self.sequence - again)
        batch = envelope(ids, np.cos(ids) * 3, at=self.at, sequence=self.sequence, offsets=offsets, states=np.array(ids) % 9 > 0)
        commands = [{"op": "repair", "block": "d/1"}] * repair
        self.twin.turn([batch, batch], load_q=load_q, commands=commands, tick=self.at if tick else 0)
        self.sequence += len(ids)

    @rule(ahead=st.sampled_from([10, 900, 4000, 30_000, 700_000, 8_192_000]))
    def wait(self, ahead):
        self.at += ahead
        self.twin.tick(self.at)

    @rule(latido=st.sampled_from([9, 20_000]), ventana=st.sampled_from([0.3, 1.0, 9.0]), alto=st.sampled_from([None, 0.5, 2.0]))
    def reload(self, latido, ventana, alto):
        bloques = [dict(spec) for spec in FLEET["bloques"]]
        bloques[0] |= {"filtro": {"latido": latido}, "ventana": ventana}
        bloques[5] |= {"limites": {"alto": alto}}
        self.twin.turn([], commands=[{"op": "reload", "config": FLEET | {"hibernar_tras": 1, "bloques": bloques}}])

    @rule()
    def restart(self):
        self.twin.engine = Engine.restore(self.twin.engine.snapshot())
        self.store, self.meta, self.still = {}, None, None

    @precondition(lambda self: self.meta is None)
    @rule()
    def snapshot(self):
        self.still = Engine.restore(self.twin.engine.snapshot())
        self.meta = self.twin.engine.snapshot_begin(whole=not self.store)

    @precondition(lambda self: self.meta is not None)
    @rule(limit=st.integers(0, 4))
    def hand_out(self, limit):
        taken(self.twin.engine, self.store, limit)
        if not self.twin.engine.snapshot_pending:
            assert same_state(Engine.assemble(self.meta, self.store), self.still)
            self.meta = None

    @invariant()
    def ledger_balances(self):
        if hasattr(self, "twin"):
            check_ledger(self.twin.engine.ledger)

    def teardown(self):
        if hasattr(self, "twin"):
            self.twin.finish()


Everything.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestEverything = Everything.TestCase
