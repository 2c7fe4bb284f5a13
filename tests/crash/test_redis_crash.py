"""kill -9 of a node on Redis at random moments, under load from senders that live on.

Then everything that the senders know to be safe is in the node's count, once, and the committed rows are what the oracle
makes of the streams under the turn records.
"""
import os

import pytest

from tests.support.crash import evidence, redis_evidence
from tests.support.crash.folded import fold, rounded
from tests.support.crash.kills import CONFIG, KILLS
from tests.support.crash.redis_kills import assert_read_once, kill_often

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.redis]


@pytest.fixture(scope="module")
def aftermath(shared_redis, tmp_path_factory):
    """(folder, what is left) after all kills."""
    folder = tmp_path_factory.mktemp("redis-crash")
    shared_redis.client().flushall()
    config = CONFIG | {"redis_config": {**shared_redis.section, "max_mb": 8192}}
    yield folder, kill_often(shared_redis, folder, config, KILLS, int(os.environ.get("COREC_SEED", "1")))
    shared_redis.client().flushall()


def test_everything_sent_is_there_and_was_read_once(aftermath):
    # Given what senders know to be safe, then it is on Redis, and the node has read every entry once and dropped the repeats
    folder, found = aftermath
    assert_read_once(found, evidence.read_turns(folder / "data" / "store.db"))


def test_rows_are_what_the_oracle_makes_of_the_streams(aftermath):
    # Given what was read, as turn records say, and what stands on Redis
    folder, found = aftermath
    store = folder / "data" / "store.db"
    # When the oracle folds it
    expected = fold(CONFIG, evidence.read_turns(store), lambda turn: redis_evidence.batches_of(turn, found.streams))
    # Then the committed rows are its rows, none more, none less
    committed = [rounded(row) for row in evidence.read_rows(store)]
    assert len(committed) > 100
    assert committed == expected.rows
    assert evidence.read_moves(store) == expected.moves
    assert found.last["ledger"] == expected.ledger
