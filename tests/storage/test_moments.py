"""Rows of one window put together: what a turn closed and amended at once is one row in the store."""
import numpy as np

from corec._core.dtypes import AGGREGATE
from corec.engine.outcome import is_amending
from corec.storage.moments import one_row_a_window

NAN = float("nan")


def rows(*given):
    """AGGREGATE rows of (block, window, values, fitness); NaN as fitness marks a row that amends."""
    made = np.zeros(len(given), AGGREGATE)
    for row, (block, window, values, fitness) in zip(made, given, strict=True):
        row["block"], row["canal"], row["window"], row["count"], row["fitness"] = block, 1, window, len(values), fitness
        row["score"] = fitness
        row["mean"], row["std"], row["min"], row["max"] = np.mean(values), np.std(values), min(values), max(values)
    return made


def test_a_window_that_one_turn_closes_and_amends_is_one_row():
    # Given a turn that closed a window of two blocks, and amended that of one of them twice
    given = rows((0, 1000, [1.0, 2.0], 0.9), (1, 1000, [7.0], 1.0), (0, 1000, [3.0], NAN), (0, 1000, [10.0, 14.0], NAN))
    # Then it has one row of each, and that of the amended window is of all its readings, with the fitness that it closed with
    first, second = one_row_a_window(given)
    whole = [1.0, 2.0, 3.0, 10.0, 14.0]
    assert (first["block"], first["count"], first["min"], first["max"]) == (0, 5, 1.0, 14.0)
    np.testing.assert_allclose((first["mean"], first["std"], first["fitness"]), (np.mean(whole), np.std(whole), np.float32(0.9)))
    assert second == given[1]


def test_rows_that_only_amend_still_say_so():
    merged = one_row_a_window(rows((0, 1000, [1.0], NAN), (0, 1000, [2.0], NAN)))
    assert len(merged) == 1 and is_amending(merged).all() and merged["count"][0] == 2


def test_other_rows_stay_as_they_are_and_in_their_order():
    given = rows((3, 2000, [1.0], 1.0), (1, 1000, [1.0], 1.0), (2, 1000, [1.0], 1.0))
    assert one_row_a_window(given) is given
