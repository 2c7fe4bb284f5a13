"""What modules and plugins look back on stays bounded, however long the node runs and however it commits."""
import numpy as np

from corec._core import dtypes
from corec.pipeline.recent_rows import MOST_ROWS, News
from tests.nodes import now_ms, readings, running, small, until


def rows(count, first=0):
    """So many rows, told apart by their window."""
    made = np.zeros(count, dtypes.AGGREGATE)
    made["window"] = np.arange(first, first + count)
    return made


NO_ALERTS = np.empty(0, dtypes.ALERT)


def test_who_looks_often_sees_each_turn_once():
    # Given somebody who looked
    news = News()
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
    news = News()
    for turn in range(20):
        news.keep(rows(10_000, first=turn * 10_000), NO_ALERTS)
    # Then the newest are there, as many as fit
    seen, _ = news.behind(0)
    assert len(seen["bloques"]) == MOST_ROWS and seen["bloques"]["window"][-1] == 199_999
    # And a turn that is too large by itself is shown all the same
    news.keep(rows(MOST_ROWS + 1), NO_ALERTS)
    assert len(news.behind(0)[0]["bloques"]) == MOST_ROWS + 1


def test_a_node_does_not_keep_the_messages_of_its_turns(tmp_path):
    # Given a node all of whose readings are sent on
    with running(small(), tmp_path) as nucleus:
        for value in range(10):
            nucleus.submit(readings(range(1000), 10.0 * value), time=now_ms()).result()
        assert until(lambda: nucleus.alerts.rows)
        # Then what can be looked back on holds no memory but that of its rows
        seen, _ = nucleus.news(0)
        assert len(seen["bloques"])
        assert all(array.base is None or array.base.nbytes == array.nbytes for _, *kept in nucleus._news._kept for array in kept)
