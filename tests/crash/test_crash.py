"""kill -9 of the real process at random moments, under load, with commands in flight.

After the last kill the node is started once more and stopped.  Then everything that was acknowledged must be
in the journal, and the committed rows must be what the oracle makes of the journal under the turn records.
"""
import os
import zlib

import pytest

from tests.support.crash import evidence
from tests.support.crash.folded import fold, of_journal, rounded
from tests.support.crash.kills import CONFIG, KILLS, kill_often, settle

pytestmark = [pytest.mark.slow, pytest.mark.chaos]


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory):
    """(folder, ledger) after all kills."""
    folder = tmp_path_factory.mktemp("crash")

    def blocks_joined_and_left():
        return len({what for _, _, what, *_ in evidence.read_moves(folder / "data" / "store.db")}) == 2

    kill_often(folder, KILLS, seed=int(os.environ.get("COREC_SEED", "1")), enough=blocks_joined_and_left)
    return folder, settle(folder)


def test_nothing_acknowledged_is_lost(aftermath):
    # Given what producers were told was accepted
    folder, _ = aftermath
    acks, journal = evidence.read_acks(folder / "acks"), evidence.read_journal(folder / "data" / "journal")
    # Then the journal has it, at that offset, byte for byte
    assert len(acks) > KILLS
    assert [offset for offset, crc in acks.items() if offset not in journal or zlib.crc32(journal[offset].batch.frames) != crc] == []


def test_turns_are_whole_and_in_order(aftermath):
    # Given the committed turn records
    folder, _ = aftermath
    turns, journal = evidence.read_turns(folder / "data" / "store.db"), evidence.read_journal(folder / "data" / "journal")
    # Then they follow each other without a gap and end where the journal ends
    assert [turn["turn"] for turn in turns] == list(range(1, len(turns) + 1))
    assert all(before["to_offset"] == after["from_offset"] for before, after in zip(turns, turns[1:]))
    assert turns[-1]["to_offset"] == max(journal)
    assert sum(len(turn["commands"]) for turn in turns) > 0
    assert len({turn["load_q"] for turn in turns}) > 1


def test_rows_are_what_the_oracle_makes_of_the_journal(aftermath):
    # Given everything accepted, and the turn records
    folder, ledger = aftermath
    journal = evidence.read_journal(folder / "data" / "journal")
    store = folder / "data" / "store.db"
    # When the oracle folds them
    expected = fold(CONFIG, evidence.read_turns(store), of_journal(journal))
    # Then the committed rows are its rows, none more, none less
    committed = [rounded(row) for row in evidence.read_rows(store)]
    assert len(committed) > 100
    assert committed == expected.rows
    assert ledger == expected.ledger
    # And the history has every fusion and undo, none more, none less
    assert evidence.read_moves(store) == expected.moves
    assert len({what for _, _, what, *_ in expected.moves}) == 2
    assert ledger["in"] == sum(ledger[part] for part in ("stored", "filtered", "late", "shed", "rejected"))
