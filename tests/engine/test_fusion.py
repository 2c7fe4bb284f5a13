"""Weak blocks join strong ones and leave them again: rows, states and errors, as the oracle has them."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corec._core.dtypes import ROLE_SCALE_ONE, ROLE_SCALE_SHIFT
from corec.engine import Engine
from corec.errors import UsageError
from tests.support.fleet import entry
from tests.support.twin import T0, Twin, check_ledger, envelope, same_outcome, same_state

#: Channel 1: three blocks, one of other windows and rules, one of two segments, one that steps; channel 2: one alone.
FUSED = {
    "retraso_max": 1.0,
    "bloques": [
        entry(entidades=2500, limites={"bajo": -2.5, "alto": 2.0}, silencio_max=5),
        entry(id="b", entidades=50, ventana=0.3, filtro={"umbral": 0.5, "memoria": 0.1, "latido": 9}),
        entry(id="c", entidades=1001, entidades_por_bloque=1001, filtro={"latido": 20_000}, autoreparacion={"max_errores": 0.5}),
        entry(id="s", entidades=203, funcion={"nombre": "sine", "periodo": 3.0}, intervalo=0.5),
        entry(id="z", canal=2, entidades=9),
    ],
}  # fmt: skip
NAMES = ["a/0", "a/1", "a/2", "b/0", "c/0", "s/0", "z/0"]
FUSE = {"op": "fuse", "block": "a/1", "host": "a/0", "force": True}
UNDO = {"op": "undo", "block": "a/1"}


def scale_bits(scale):
    """A threshold scale as a role word has it."""
    return (int(scale * ROLE_SCALE_ONE) ^ ROLE_SCALE_ONE) << ROLE_SCALE_SHIFT


def sick(twin, at, ids=range(1000, 1900), times=3):
    """Entities of a/1 fail, most of it."""
    for number in range(times):
        twin.feed_arrays(np.array(ids), np.zeros(len(ids)), at=at + number, channel=1, states=np.zeros(len(ids)))


def healthy(twin, at, ids):
    return twin.feed_arrays(np.array(ids), np.ones(len(ids)), at=at, channel=1)


def rows(outcome, *names):
    return outcome.aggregates[list(names)].tolist()


# --- what a fusion does ----------------------------------------------------------------------------


def test_weak_block_joins_a_strong_one():
    # Given a block of 1,000 with a window at fitness below 0.2, and a strong one
    twin = Twin({"bloques": [entry(entidades=2000, autoreparacion={"max_errores": 1.0})]})
    healthy(twin, T0, range(1100))
    sick(twin, T0 + 1)
    twin.tick(T0 + 4000)
    assert twin.engine.blocks["fitness"][1] < 0.2
    # When it is fused
    outcome = twin.turn([], commands=[{"op": "fuse", "block": "a/1", "host": "a/0"}])
    # Then its entities count in the host, the faulty ones started afresh, and the event says so
    assert twin.engine.blocks["entities"].tolist() == [2000, 0]
    assert twin.engine.blocks["failing"].tolist() == [0, 0]
    event = outcome.events[0]
    assert (event.what, event.block, event.host, event.failing, event.entities, event.inherited) == ("fuse", 1, 0, 900, 1000, 900)
    assert event.fitness < 0.2 and event.host_fitness == 1.0
    # And ids and places are as before, and what is healthy lost nothing
    assert twin.engine.locate(1950) == (1, 950)
    assert twin.engine.entity(1050)["quality"] == "repaired"
    # And its readings count in the host's rows
    healthy(twin, T0 + 5000, [5, 1005])
    outcome = twin.tick(T0 + 9000)
    assert rows(outcome, "block", "count") == [(0, 2)]
    twin.finish()


def test_windows_open_at_a_fusion_close_right():
    # Given a window open in both blocks
    twin = Twin(FUSED)
    healthy(twin, T0, range(900, 1100))
    # When one joins the other in the midst of it, and both are heard in the same window
    twin.turn([], commands=[FUSE])
    healthy(twin, T0 + 500, range(900, 1100))
    outcome = twin.tick(T0 + 4000)
    # Then each row has what came while the block had it: nothing lost, nothing twice
    assert rows(outcome, "block", "window", "count")[:2] == [(0, T0, 300), (1, T0, 100)]
    twin.finish()


def test_readings_that_arrive_during_a_fusion_and_its_undoing_count_once():
    # Given readings for both blocks in the same turn as the commands, in one window
    twin, sequence = Twin(FUSED), 0
    for commands in ([], [FUSE], [UNDO], [FUSE], [UNDO]):
        batch = envelope(np.arange(900, 1100), np.ones(200), at=T0 + sequence, sequence=sequence)
        twin.turn([batch], commands=commands)
        sequence += 200
    # Then the rows of both are right
    assert rows(twin.tick(T0 + 5000), "block", "count")[:2] == [(0, 100 * 5 + 200), (1, 100 * 3)]
    twin.finish()


def test_undo_gives_back_what_was_taken():
    # Given a block that heard, failed and was fused
    twin = Twin(FUSED)
    healthy(twin, T0, range(1100))
    before = twin.engine.blocks[["entities", "heard", "failing"]].tolist()
    twin.turn([], commands=[FUSE])
    # When that is undone, then everything counts where it did
    outcome = twin.turn([], commands=[UNDO])
    assert twin.engine.blocks[["entities", "heard", "failing"]].tolist() == before
    assert [event.what for event in outcome.events] == ["undo"]
    # And it may be fused again
    assert twin.turn([], commands=[FUSE]).refused == []
    twin.finish()


def test_sleeping_block_is_fused_and_given_back():
    # Given a block that hibernates
    twin = Twin(FUSED | {"hibernar_tras": 1})
    healthy(twin, T0, range(1000, 1100))
    twin.tick(T0 + 700_000)
    twin.tick(T0 + 702_000)
    assert 1 in twin.engine.arena.frozen
    # When it is fused and given back, then it counts the same
    twin.turn([], commands=[FUSE])
    twin.turn([], commands=[UNDO])
    assert twin.engine.blocks["heard"][1] == 100
    twin.finish()


def test_faulty_entities_inherit_from_the_fittest():
    # Given a block whose entities all fail, and a host where one is fitter than the rest
    twin = Twin(FUSED)
    healthy(twin, T0, range(3))
    twin.feed_arrays([0], [1.0], at=T0 + 1, channel=1, states=[0])
    healthy(twin, T0 + 2, [0])
    for number, scale in enumerate((2.0, 3.0, 0.5)):
        twin.engine.arena.tiles[0, 0]["role"][number] = scale_bits(scale)
        twin.oracle.state.scale[number] = scale
    sick(twin, T0 + 3, range(1000, 1010))
    # When they are fused, then the faulty ones take over the parameters of that one
    outcome = twin.turn([], commands=[FUSE])
    assert outcome.events[0].inherited == 10
    assert twin.engine.entity(1005)["threshold_scale"] == 3.0
    twin.check_state()


def test_fittest_neighbour_is_the_one_with_the_lowest_error_level():
    # Given neighbours of a failing entity: the near one failed a short while ago, the far one never
    twin = Twin(FUSED)
    healthy(twin, T0, range(10))
    twin.feed_arrays([4], [1.0], at=T0 + 1, channel=1, states=[0])
    healthy(twin, T0 + 2, [4])
    twin.engine.arena.tiles[0, 0]["role"][[4, 6]] = [scale_bits(2.0), scale_bits(3.0)]
    twin.oracle.state.scale[[4, 6]] = [2.0, 3.0]
    sick(twin, T0 + 3, [5])
    # When the block is repaired, then the far one is inherited from
    twin.turn([], commands=[{"op": "repair", "block": "a/0"}])
    assert twin.engine.entity(5)["threshold_scale"] == 3.0
    twin.check_state()


# --- what may not be -------------------------------------------------------------------------------


def test_block_of_another_shard_is_no_host():
    # Given a channel whose blocks stand in two shards
    engine = Engine({"fragmentos": 2, "bloques": [{"id": "a", "canal": 1, "entidades": 4, "entidades_por_bloque": 1}]})
    # Then a fusion is within one of them
    assert engine.check_command({**FUSE, "block": "a/2"}) is None
    with pytest.raises(UsageError, match="expected a host on channel 1 and shard 1, as 'a/1', got 'a/0' on channel 1 and shard 0"):
        engine.check_command(FUSE)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ({"block": "a/1", "host": "a/1"}, "cannot be fused into itself"),
        ({"block": "a/1", "host": "nobody"}, "there is no block 'nobody'"),
        ({"block": None, "host": "a/1"}, "there is no block None"),
        ({"block": "a/1", "host": "z/0"}, "expected a host on channel 1"),
        ({"block": "z/0", "host": "a/0"}, "the last one of channel 2"),
        ({"block": "c/0", "host": "a/0"}, "expected at most 2,000 entities in 'a/0', got 2,001"),
        ({"block": "a/1", "host": "a/0", "force": False}, "below its min_fitness 0.2, got 'a/1' at 1.00"),
        ({"op": "undo", "block": "a/1"}, "is not fused"),
    ],
)
def test_fusion_that_may_not_be_is_refused_and_changes_nothing(command, said):
    twin = Twin(FUSED)
    healthy(twin, T0, range(1100))
    command = {"op": "fuse", "force": True} | command
    # Given a command, when it is checked, then the error says what is wrong and what to do
    with pytest.raises(UsageError, match=said) as caught:
        twin.engine.check_command(command)
    assert caught.value.hint
    # And in a turn it changes nothing, which the outcome says too
    before = twin.engine.arena.blocks.copy()
    if command["block"] in NAMES and command.get("host", "a/0") in NAMES:
        outcome = twin.turn([], commands=[{"op": "shed", "readings": 1}, command])
    else:
        outcome = twin.engine.turn([], commands=[{"op": "shed", "readings": 1}, command])
    assert [refusal.command for refusal in outcome.refused] == [1]
    assert said.split(",")[0] in outcome.refused[0].text
    assert (twin.engine.arena.blocks == before).all()


def test_host_has_to_be_strong():
    # Given two weak blocks
    twin = Twin({"bloques": [entry(entidades=2000, autoreparacion={"max_errores": 1.0})]})
    sick(twin, T0, range(1990))
    twin.tick(T0 + 4000)
    # When one shall join the other
    with pytest.raises(UsageError, match="expected a host with a fitness above 0.5, got 'a/0' at 0.00"):
        twin.engine.check_command({"op": "fuse", "block": "a/1", "host": "a/0"})


@pytest.mark.parametrize(("weak", "host", "said"), [
    (0.24, 0.51, None), (0.25, 0.51, "below its min_fitness 0.25, got 'a/1' at 0.25"), (0.24, 0.5, "above 0.5, got 'a/0' at 0.50"),
])  # fmt: skip
def test_weak_is_below_its_own_min_fitness_and_strong_above_a_half(weak, host, said):
    engine = Engine({"bloques": [entry(entidades=2000, autoreparacion={"min_fitness": 0.25})]})
    engine.arena.blocks["fitness"][:2] = host, weak
    command = {"op": "fuse", "block": "a/1", "host": "a/0"}
    if said is None:
        engine.check_command(command)
        return
    with pytest.raises(UsageError, match=said):
        engine.check_command(command)


def test_block_fused_away_is_no_host_and_not_fused_again():
    twin = Twin(FUSED)
    twin.turn([], commands=[FUSE])
    for command in (FUSE, {"op": "fuse", "block": "b/0", "host": "a/1", "force": True}):
        with pytest.raises(UsageError, match="'a/1' is fused into 'a/0' already"):
            twin.engine.check_command(command)


def test_fusions_are_undone_in_reverse_order():
    # Given b/0 in a/2, which then joined s/0's channel neighbour a/1
    twin = Twin(FUSED)
    one = {"op": "fuse", "block": "b/0", "host": "a/2", "force": True}
    other = {"op": "fuse", "block": "a/2", "host": "a/1", "force": True}
    twin.turn([], commands=[one, other])
    assert twin.engine.blocks["entities"].tolist()[:4] == [1000, 1550, 0, 0]
    # When the first is undone first, then the error names what to undo before
    outcome = twin.turn([], commands=[{"op": "undo", "block": "b/0"}])
    assert "which was fused into 'a/1' since" in outcome.refused[0].text
    assert "`corec undo a/2` first" in outcome.refused[0].hint
    # In reverse order everything is back
    assert twin.turn([], commands=[{"op": "undo", "block": "a/2"}, {"op": "undo", "block": "b/0"}]).refused == []
    assert twin.engine.blocks["entities"].tolist()[:4] == [1000, 1000, 500, 50]


def test_last_block_of_a_channel_is_never_fused_away():
    # Given three blocks, two of which are fused
    twin = Twin({"bloques": [entry(entidades=30, entidades_por_bloque=10)]})
    fuse = [{"op": "fuse", "block": f"a/{number}", "host": "a/2", "force": True} for number in (0, 1)]
    # Then the first joined, the second would be too many
    assert [refusal.command for refusal in twin.turn([], commands=fuse).refused] == [1]
    # And where only one is left of a channel, it is the last one
    twin = Twin({"bloques": [entry(entidades=20, entidades_por_bloque=10), entry(id="z", canal=2, entidades=5)]})
    twin.turn([], commands=[{"op": "fuse", "block": "a/0", "host": "a/1", "force": True}])
    with pytest.raises(UsageError, match="'a/1' is the last one of channel 1"):
        twin.engine.check_command({"op": "fuse", "block": "a/1", "host": "z/0", "force": True})


# --- any order of anything -------------------------------------------------------------------------


def program(seed, count=14):
    """Turns of readings of every kind with fusions, undos, repairs and reloads among them."""
    dice, sequence, at, turns = np.random.default_rng(seed), 0, T0, []
    sick_ids = dice.integers(0, 3700)
    for number in range(count):
        at += int(dice.choice([0, 40, 300, 1100, 4000]))
        n = int(dice.integers(1, 500))
        ids = dice.integers(0, 3770, n)
        states = (np.abs(ids - sick_ids) > 300) | (dice.random(n) < 0.1)
        time = at - int(dice.choice([0, 0, 1000]))
        batches = [envelope(ids, dice.normal(0, 2, n), at=time, sequence=sequence, states=states, arrival=at)]
        sequence += n
        commands = []
        for _ in range(dice.integers(0, 4)):
            op = str(dice.choice(["fuse", "fuse", "undo", "repair", "mute"]))
            command = {"op": op, "block": str(dice.choice(NAMES))}
            if op == "mute":
                command["until"] = at + int(dice.integers(-1000, 5000))
                command |= {"entity": int(dice.integers(0, 3700))} if dice.random() < 0.5 else {}
            commands.append(command | {"host": str(dice.choice(NAMES)), "force": bool(dice.random() < 0.8)} if op == "fuse" else command)
        if dice.random() < 0.1:
            commands.append({"op": "reload", "config": FUSED | {"retraso_max": float(number % 3)}})
        turns.append({"batches": batches, "load_q": int(dice.integers(0, 256)), "commands": commands,
                      "tick": at if dice.random() < 0.6 else 0})  # fmt: skip
    return turns


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6))
def test_programs_of_commands_and_readings_are_as_the_oracle_says(seed):
    twin = Twin(FUSED)
    for turn in program(seed):
        twin.turn(**turn)
        twin.check_state()
    twin.finish()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 13))
def test_programs_go_on_from_a_snapshot_as_if_nothing_had_been(seed, cut):
    # Given a program, and an engine that is restored in the midst of it
    turns, whole = program(seed), Engine(FUSED)
    outcomes = [whole.turn(**turn) for turn in turns]
    engine = Engine(FUSED)
    for number, (turn, outcome) in enumerate(zip(turns, outcomes, strict=True)):
        if number == cut:
            engine = Engine.restore(engine.snapshot())
        # Then it gives the same, refusals and events included
        again = engine.turn(**turn)
        same_outcome(again, outcome)
        assert (again.events, again.refused) == (outcome.events, outcome.refused)
    assert same_state(engine, whole)
    assert engine.fusions == whole.fusions
    check_ledger(engine.ledger)
