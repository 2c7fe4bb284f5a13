"""Marks of producers beside what a turn read: what a replay has where the batches are gone, and what it changes where they are not."""
import numpy as np

import corec
from corec._core.wire import encode_frames, pack_envelope
from corec.engine.producer_marks import COUNTED, Account, Marks
from corec.streams.redis.bare_stream import number_of
from tests.support.nodes import readings

CONFIG = {"retraso_max": 0.2, "bloques": [{"id": "a", "canal": 1, "entidades": 100, "ventana": 0.2}]}


def batch(number, size=10, producer=7):
    return pack_envelope(readings(range(size)), producer=producer, epoch=1, sequence=number * size, time=1_000_000 + 50 * number), 1_000_000


def recorded(numbers):
    """An engine that has folded these batches in one turn, and the commands of its record."""
    engine = corec.Engine(CONFIG)
    engine.begin_turn()
    engine.fold_batches(map(batch, numbers))
    note = {"op": "read", "cursor": {}} | engine.reached()
    engine.end_turn()
    return engine, [note]


def test_a_turn_that_cannot_be_read_again_is_remembered_as_far_as_it_came():
    # Given a turn of which the record is left and nothing else
    engine, commands = recorded(range(20))
    again = corec.Engine(CONFIG)
    again.turn([], commands=commands)
    # Then what its producer sends again is known, time has gone on as far, and what comes next is new
    assert again.clock == engine.clock and again.marks.to_list() == engine.marks.to_list()
    outcome = again.turn([*map(batch, range(21))])
    assert outcome.rejected == {"repeated": 200} and again.ledger["in"] == 210


def test_a_turn_that_can_be_read_again_is_replayed_bit_for_bit():
    # Given a turn with all its batches, or with those of a record of an earlier CoreC, then its replay gives the same state
    engine, commands = recorded(range(20))
    for left in (commands, [{"op": "read", "cursor": {}}]):
        again = corec.Engine(CONFIG)
        again.turn(map(batch, range(20)), commands=left)
        assert again.snapshot() == engine.snapshot()


def test_of_many_producers_each_record_names_some_and_the_next_ones_the_rest():
    # Given more producers than a record has room for
    heard, told = Marks(most_noted=4), Marks()
    for producer in range(10):
        heard.settle(producer, 1, 0, 5)
    # When records name them, then none is left out for long, and none twice
    notes = [heard.take_fresh() for _ in range(4)]
    assert [len(note) for note in notes] == [4, 4, 2, 0]
    for note in notes:
        told.raise_to(note)
    assert told.to_list() == heard.to_list()


def test_marks_are_raised_and_never_lowered():
    known = Marks()
    known.settle(1, 1, 0, 50)
    known.raise_to([[1, 1, 20], [2, 1, 30]])
    assert (known.account(1, 1), known.account(2, 1)) == (Account(50), Account(30))
    assert known.take_fresh() == [[1, 1, *Account(50)]]


def test_who_is_forgotten_is_not_named():
    # Given room for two producers, when three are heard, then the record names the two that are known
    known = Marks(most_producers=2)
    for producer in range(3):
        known.settle(producer, 1, 0, 5)
    assert known.take_fresh() == known.to_list() == [[1, 1, *Account(5)], [2, 1, *Account(5)]]


def test_places_in_an_order_leave_no_gaps():
    # Given bare frames, which have the ids of their entries as numbers, and a producer that counts
    known = Marks()
    for id in (b"1700000000000-0", b"1700000000000-5", b"1700000000007-0"):
        number = number_of(id, 1).sequence
        assert known.repeated(1, 1, number, 2) == 0
        known.settle(1, 1, number, 2)
    assert known.gaps == 0 and known.repeated(1, 1, number_of(b"1700000000007-0", 1).sequence, 2) == 2
    known.settle(2, 1, 0, 10)
    known.settle(2, 1, 15, 10)
    # Then only what the one that counts has left out is missing
    assert known.gaps == 5


def test_an_account_says_what_became_of_each_reading():
    # Given one taken, one of an id that there is not, one of another channel, one with no state and one a week ahead
    engine = corec.Engine(CONFIG)
    frames = bytearray(encode_frames([0, 5_000, 1, 2, 3], [1, 1, 2, 1, 1], [1.0] * 5, [1] * 5))
    frames[3 * 10 + 9] = 7
    offsets = np.array([0, 0, 0, 0, 7 * 86_400_000], np.int32)
    envelope = pack_envelope(frames, producer=7, epoch=1, sequence=0, time=1_000_000, offsets=offsets)
    # When the batch comes twice
    engine.turn([(envelope, 1_000_000), (envelope, 1_000_000)])
    # Then its producer's account has each of them once, and as many repeats; a restored engine has the same
    account = engine.marks.account(7, 1)
    assert account == Account(5, taken=1, id=1, channel=1, malformed=1, skew=1, repeated=5)
    assert sum(account[1:]) == engine.ledger["in"] == 10 and len(COUNTED) == len(account) - 1
    assert corec.Engine.restore(engine.snapshot()).marks.account(7, 1) == account
    # And who asks from outside sees it once it is committed
    assert engine.marks.committed_account(7, 1) is None and engine.marks.commit() == [[7, 1, *account]]
    assert engine.marks.committed_account(7, 1) == account and engine.marks.commit() == []


def test_readings_of_functions_are_in_nobodys_account():
    # Given a block whose entities have values of their own, which run when a batch moves the clock
    engine = corec.Engine({"bloques": [{"id": "a", "canal": 1, "entidades": 50, "ventana": 1,
                                        "funcion": "sine", "intervalo": 1}]})  # fmt: skip
    engine.turn([batch(0)])
    engine.turn([(batch(1)[0], 1_060_000)])
    assert engine.ledger["in"] > 20 and engine.marks.account(7, 1) == Account(20, taken=20)
