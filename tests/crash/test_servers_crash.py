"""kill -9 of a node that reads Redis and writes PostgreSQL, both real, under varying load, with fusions, repairs and reloads in flight."""
import os

import pytest

from tests.support.crash import postgres_evidence, redis_evidence
from tests.support.crash.folded import fold, rounded
from tests.support.crash.kills import CONFIG, KILLS
from tests.support.crash.redis_kills import assert_read_once, kill_often

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.redis, pytest.mark.postgres]

COMMANDS = {"fuse", "undo", "repair", "reload"}


def kinds(moves):
    return {what for _, _, what, *_ in moves}


@pytest.fixture(scope="module")
def aftermath(shared_redis, postgres, tmp_path_factory):
    """(what is left, its turns, rows and moves) after all kills."""
    folder, name = tmp_path_factory.mktemp("servers-crash"), postgres.new_database()
    shared_redis.client().flushall()
    config = CONFIG | {"redis_config": {**shared_redis.section, "max_mb": 8192},
                       "db_config": {**postgres.address(name), "particion_canales": [2]}}  # fmt: skip

    def operators_did_everything():
        with postgres.connected(name) as cursor:
            done = {command["op"] for turn in postgres_evidence.read_turns(cursor) for command in turn["commands"]}
            return COMMANDS <= done and len(kinds(postgres_evidence.read_moves(cursor))) == 2

    found = kill_often(shared_redis, folder, config, KILLS, int(os.environ.get("COREC_SEED", "3")), operators_did_everything)
    with postgres.connected(name) as cursor:
        read = [of(cursor) for of in (postgres_evidence.read_turns, postgres_evidence.read_rows, postgres_evidence.read_moves)]
    yield found, *read
    shared_redis.client().flushall()


def test_everything_sent_was_read_once(aftermath):
    # Given what senders know to be safe, then it is on Redis, and the node has read every entry once and dropped the repeats
    found, turns, _, _ = aftermath
    assert_read_once(found, turns)
    assert [turn["turn"] for turn in turns] == list(range(1, len(turns) + 1))


def test_rows_in_postgresql_are_what_the_oracle_makes_of_the_streams(aftermath):
    # Given what turn records in PostgreSQL say was read, when the oracle folds it from what stands on Redis
    found, turns, rows, moves = aftermath
    expected = fold(CONFIG, turns, lambda turn: redis_evidence.batches_of(turn, found.streams))
    # Then rows, ledger and history are its own, none more, none less
    assert len(rows) > 100
    assert [rounded(row) for row in rows] == expected.rows
    assert found.last["ledger"] == expected.ledger
    assert moves == expected.moves


def test_operators_were_busy_meanwhile(aftermath):
    # Given the turn records, then fusions, undos, repairs and reloads were among what the kills cut through
    _, turns, _, moves = aftermath
    assert COMMANDS <= {command["op"] for turn in turns for command in turn["commands"]}
    assert kinds(moves) == {"fuse", "undo"}
    assert len({turn["load_q"] for turn in turns}) > 1
