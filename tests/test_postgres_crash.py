"""kill -9 of the real process over a real PostgreSQL: nothing accepted is lost, nothing is doubled."""
import json
import os
import zlib

import pytest

from tests import test_crash
from tests.crash import evidence
from tests.oracle import Oracle

pytest_plugins = ["tests.servers.postgres"]

KILLS = 300 if os.environ.get("COREC_CHAOS") else 20
MEASURES = 'mean, "min"::float8, "max"::float8, std, errors, messages, fitness::float8, score::float8'


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory, postgres):
    """(folder, ledger, turns, rows) after all kills."""
    folder, name = tmp_path_factory.mktemp("crash"), postgres.new_database()
    config = {**test_crash.CONFIG, "db_config": {**postgres.address(name), "particion_canales": [2]}}
    test_crash.kill_often(folder, KILLS, seed=int(os.environ.get("COREC_SEED", "2")), content=config)
    ledger = test_crash.settle(folder)
    with postgres.connected(name) as cursor:
        return folder, ledger, read_turns(cursor), read_rows(cursor)


def read_turns(cursor):
    cursor.execute("SELECT turn, from_offset, to_offset, load_q, tick, commands FROM turns ORDER BY turn")
    names = [column.name for column in cursor.description]
    return [{**dict(zip(names, row)), "commands": json.loads(row[-1])} for row in cursor.fetchall()]


def read_rows(cursor):
    window = '(extract(epoch FROM "timestamp") * 1000)::bigint'
    cursor.execute(f'SELECT turn, block, canal, {window}, "count", {MEASURES} FROM bloques ORDER BY turn, "timestamp", block')
    return cursor.fetchall()


def test_nothing_acknowledged_is_lost(aftermath):
    # Given what producers were told was accepted, then the journal has it, and the turns reach to its end
    folder, _, turns, _ = aftermath
    acks, journal = evidence.read_acks(folder / "acks"), evidence.read_journal(folder / "data" / "journal")
    assert len(acks) > KILLS
    assert [offset for offset, crc in acks.items() if offset not in journal or zlib.crc32(journal[offset].batch.frames) != crc] == []
    assert turns[-1]["to_offset"] == max(journal)


def test_turns_are_whole_and_in_order(aftermath):
    # Given the committed turn records, then they follow each other without a gap
    _, _, turns, _ = aftermath
    assert [turn["turn"] for turn in turns] == list(range(1, len(turns) + 1))
    assert all(before["to_offset"] == after["from_offset"] for before, after in zip(turns, turns[1:]))


def test_rows_are_what_the_oracle_makes_of_the_journal(aftermath):
    # Given everything accepted, and the turn records, when the oracle folds them
    folder, ledger, turns, committed = aftermath
    journal, oracle, expected = evidence.read_journal(folder / "data" / "journal"), Oracle(test_crash.CONFIG), []
    for turn in turns:
        batches = [journal[offset] for offset in range(turn["from_offset"] + 1, turn["to_offset"] + 1)]
        made = oracle.turn(batches, load_q=turn["load_q"], commands=turn["commands"], tick=turn["tick"])
        expected.extend((turn["turn"], *row) for row in sorted(made.rows, key=lambda row: (row[2], row[0])))
    # Then the committed rows are its rows, none more, none less
    assert len(committed) > 100
    assert [test_crash.rounded(row) for row in committed] == [test_crash.rounded(row) for row in expected]
    assert ledger == oracle.ledger
