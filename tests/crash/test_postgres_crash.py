"""kill -9 of the real process over a real PostgreSQL: nothing accepted is lost, nothing is doubled."""
import os
import zlib

import pytest

from tests.support.crash import evidence
from tests.support.crash.folded import fold, of_journal, rounded
from tests.support.crash.kills import CONFIG, KILLS, kill_often, settle
from tests.support.crash.postgres_evidence import read_moves, read_rows, read_turns

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.postgres]


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory, postgres):
    """(folder, ledger, turns, rows, moves) after all kills."""
    folder, name = tmp_path_factory.mktemp("crash"), postgres.new_database()
    config = {**CONFIG, "db_config": {**postgres.address(name), "particion_canales": [2]}}
    kill_often(folder, KILLS, seed=int(os.environ.get("COREC_SEED", "2")), content=config)
    ledger = settle(folder)
    with postgres.connected(name) as cursor:
        return folder, ledger, *(of(cursor) for of in (read_turns, read_rows, read_moves))


def test_nothing_acknowledged_is_lost(aftermath):
    # Given what producers were told was accepted, then the journal has it, and the turns reach to its end
    folder, _, turns, _, _ = aftermath
    acks, journal = evidence.read_acks(folder / "acks"), evidence.read_journal(folder / "data" / "journal")
    assert len(acks) > KILLS
    assert [offset for offset, crc in acks.items() if offset not in journal or zlib.crc32(journal[offset].batch.frames) != crc] == []
    assert turns[-1]["to_offset"] == max(journal)


def test_turns_are_whole_and_in_order(aftermath):
    # Given the committed turn records, then they follow each other without a gap
    _, _, turns, _, _ = aftermath
    assert [turn["turn"] for turn in turns] == list(range(1, len(turns) + 1))
    assert all(before["to_offset"] == after["from_offset"] for before, after in zip(turns, turns[1:]))


def test_rows_are_what_the_oracle_makes_of_the_journal(aftermath):
    # Given everything accepted, and the turn records, when the oracle folds them
    folder, ledger, turns, rows, moves = aftermath
    expected = fold(CONFIG, turns, of_journal(evidence.read_journal(folder / "data" / "journal")))
    # Then the committed rows are its rows, none more, none less, and so is the history
    assert len(rows) > 100
    assert [rounded(row) for row in rows] == expected.rows
    assert moves == expected.moves
    assert ledger == expected.ledger
