"""What modules and plugins look back on stays bounded, however long the node runs and however it commits."""
import numpy as np

from corec._core import dtypes
from corec.engine import Engine
from corec.pipeline.recent_rows import MOST_ROWS, RecentRows
from tests.support.nodes import readings, small


def rows(count, first=0):
    """So many rows, told apart by their window."""
    made = np.zeros(count, dtypes.AGGREGATE)
    made["window"] = np.arange(first, first + count)
    return made


NO_ALERTS = np.empty(0, dtypes.ALERT)


def test_who_looks_often_sees_each_turn_once():
    # Given somebody who looked
    news = RecentRows()
    news.keep(rows(2), NO_ALERTS)
    seen, since = news.behind(0)
    assert seen["bloques"]["window"].tolist() == [0, 1]
    # When more comes, and nothing of one turn
    news.keep(rows(0), NO_ALERTS)
    news.keep(rows(3, first=2), np.zeros(1, dtypes.ALERT))
    # Then the next look shows that alone, and the one behind it nothing
    seen, since = news.behind(since)
    assert (seen["bloques"]["window"].tolist(), len(seen["alertas"])) == ([2, 3, 4], 1)
    seen, again = news.behind(since)
    assert (len(seen["bloques"]), len(seen["alertas"]), again) == (0, 0, since)


def test_the_oldest_rows_make_room():
    # Given more turns than fit, of the rows that ten million entities have in a window
    news = RecentRows()
    for turn in range(20):
        news.keep(rows(10_000, first=turn * 10_000), NO_ALERTS)
    # Then the newest are there, as many as fit
    seen, _ = news.behind(0)
    assert len(seen["bloques"]) == MOST_ROWS and seen["bloques"]["window"][-1] == 199_999
    # And a turn that is too large by itself is shown all the same
    news.keep(rows(MOST_ROWS + 1), NO_ALERTS)
    assert len(news.behind(0)[0]["bloques"]) == MOST_ROWS + 1


def test_rows_of_an_outcome_keep_no_other_memory(tmp_path):
    # Given an engine all of whose readings are sent on
    engine = Engine(small())
    for second in range(10):
        outcome = engine.feed(readings(range(1000), 10.0 * second), at=1_700_000_000_000 + 1000 * second)
    # Then the rows that are looked back on hold none of the messages of their turn
    assert len(outcome.aggregates) and len(outcome.messages)
    assert all(array.base is None or array.base.nbytes == array.nbytes for array in (outcome.aggregates, outcome.alerts))
