"""Rows of PostgreSQL as its writer's role may forge them: named and refused or left out, never an unhandled error, never without bound."""
import json
import resource

import pytest

from corec.engine import Engine
from corec.errors import DamagedFile
from corec.pipeline.recovery import _refold_stored
from corec.storage.postgres import schema as postgres_schema
from corec.storage.postgres.snapshots import PostgresSnapshots
from corec.storage.restored import MOST_MS, counts_of, turn_record
from tests.support.postgres_stores import opened, server_of
from tests.support.stores import BLOCKS, fill, record, second

SOUND = (5, 10, 12, 0, 0, '[{"op": "advance", "to": 1700000000000}]', "hash", 1_700_000_000_000)
DEEP = "[" * 100_000


def forged(**columns):
    names = ("turn", "from_offset", "to_offset", "load_q", "tick", "commands", "config_hash", "created")
    return tuple({**dict(zip(names, SOUND)), **columns}.values())


def test_a_sound_record_is_taken_as_it_is():
    assert turn_record(SOUND, "turns") == (*SOUND[:5], [{"op": "advance", "to": 1_700_000_000_000}], *SOUND[6:])


@pytest.mark.parametrize("columns", [
    {"turn": -1}, {"from_offset": -1}, {"to_offset": 9}, {"load_q": 256}, {"load_q": -1}, {"tick": MOST_MS + 1}, {"tick": None},
    {"created": 1 << 62}, {"commands": "no json"}, {"commands": None}, {"commands": "{}"}, {"commands": DEEP}, {"commands": "[1]"},
    {"commands": '[{"op": 7}]'}, {"commands": '[{"op": ["x"]}]'}, {"commands": '[{"op": "advance", "to": "soon"}]'},
    {"commands": json.dumps([{"op": "advance", "to": MOST_MS + 1}])},
    {"commands": json.dumps([{"op": "clock", "to": 1, "offset": 1 << 60}])},
    {"commands": json.dumps([{"op": "shed", "readings": 1 << 64}])}, {"commands": json.dumps([{"op": "x", "deep": [{"n": -(1 << 70)}]}])},
], ids=str)  # fmt: skip
def test_a_record_that_cannot_be_is_damaged_and_named(columns):
    # Given a record one of whose columns no node writes, Then it is refused, with the turn and what was expected
    with pytest.raises(DamagedFile, match="turn -?[0-9]+ of turns in here: expected") as caught:
        turn_record(forged(**columns), "turns in here")
    assert caught.value.hint and len(caught.value.text) < 400


@pytest.mark.parametrize("text", ["", "[]", '{"in": -1}', '{"in": 1.5}', '{"in": true}', '{"in": 18446744073709551616}', '{"in": "4"}'])
def test_counts_that_are_none_are_damaged(text):
    assert counts_of('{"in": 4}', "the ledger") == {"in": 4}
    with pytest.raises(DamagedFile, match="the ledger: expected"):
        counts_of(text, "the ledger")


@pytest.mark.parametrize("command", [
    {"op": "no such"}, {"op": "advance"}, {"op": "shed", "readings": "many"}, {"op": "read", "cursor": 7}, {"op": "attach", "entry": 1},
    {"op": "detach"}, {"op": "fuse"}, {"op": "mute", "block": 3, "until": []}, {"op": "ack", "alerts": 7}, {"op": "reload", "config": []},
], ids=str)  # fmt: skip
def test_commands_that_are_none_are_damage_of_the_store(command):
    # Given a stored turn with a command that no node gives
    class NoIntake:
        def again(self, record):
            return []

    engine = Engine({"bloques": [{"id": "a", "canal": 1, "entidades": 10}]})
    # When it is folded again, Then it is named, or it is refused as any command that cannot be carried out
    try:
        _refold_stored(engine, NoIntake(), record(1)._replace(commands=[command]))
    except Exception as error:
        assert hasattr(error, "text") and "bug in CoreC" not in str(error), error


# --- in a real database --------------------------------------------------------------------------------------------


@pytest.fixture
def server(database):
    found = server_of(database)
    postgres_schema.migrate(found)
    store = opened(found, keep_every_s=0)
    store.set_blocks(BLOCKS)
    fill(store, 5)
    store.close()
    return found


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize("changes", ["ledger = 'x'", "totals = '[]'", "ledger = '{\"in\": -7}'"])
def test_a_forged_state_is_refused_when_the_store_is_opened(server, postgres, changes):
    with postgres.connected(server.dbname) as cursor:
        cursor.execute(f"UPDATE shards SET {changes}")
    with pytest.raises(DamagedFile, match="expected"):
        opened(server)


@pytest.mark.slow
@pytest.mark.postgres
def test_forged_turns_and_rows_are_named_or_left_out(server, postgres, caplog):
    # Given a turn, rows of blocks, a window and an alert that no node writes
    with postgres.connected(server.dbname) as cursor:
        cursor.execute("UPDATE turns SET commands = '[{\"op\": \"advance\", \"to\": 1e300}]' WHERE turn = 3")
        cursor.execute("INSERT INTO blocks SELECT instance_id, shard, 1099511627776, 'far', 1, 10 FROM shards")
        cursor.execute("INSERT INTO blocks SELECT instance_id, shard, -4, 'before', 1, 10 FROM shards")
        cursor.execute("INSERT INTO blocks SELECT instance_id, shard, 3000000000, 'large', 1, 10 FROM shards")
        cursor.execute('UPDATE bloques SET block = 9999999999, "count" = -1 WHERE turn = 2')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    store = opened(server, keep_every_s=0)
    # When they are read, Then the turn is named
    with pytest.raises(DamagedFile, match="command 0 of turn 3 of turns in"):
        list(store.turns())
    # And the rows are left out, which is said
    assert len(store.history()) == 12 and "3 rows hold numbers that no node writes there" in caplog.text
    # And a turn is written with the names of its blocks, without a table of names up to an index of somebody else's
    store.commit(record(6), aggregates=second(6))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    store.close()


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize("changes", [
    "heads SET live = 'abc'::bytea", "heads SET live = NULL", "heads SET live = '\\xffffffff'::bytea", "heads SET turn = -1",
    "heads SET crc = -1", "segments SET blob = 'x'",
])  # fmt: skip
def test_a_forged_snapshot_gives_way_to_the_one_before(server, postgres, caplog, changes):
    # Given two snapshots of a shard, the newer one forged
    mine = PostgresSnapshots(server, instance="fleet", shard=3)
    mine.write(b"first", [(1, b"A")], 1, 10)
    mine.write(b"second", [(1, b"B")], 2, 20)
    with postgres.connected(server.dbname) as cursor:
        cursor.execute(f"UPDATE snapshot_{changes} WHERE generation = 2")
    # When it is loaded, Then the one before is, and the log says why
    snapshots = PostgresSnapshots(server, instance="fleet", shard=3)
    found = snapshots.load()
    assert (found.meta, dict(found.segments), found.turn) == (b"first", {1: b"A"}, 1)
    assert "falling back to the one before" in caplog.text and len(snapshots.problems) == 1
