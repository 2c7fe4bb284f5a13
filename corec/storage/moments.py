"""Merge aggregates of short windows into longer ones, exactly, by their moments."""

import numpy as np

from corec._core.dtypes import AGGREGATE


def merge_windows(rows: np.ndarray, span: int) -> np.ndarray:
    """One row for each block and window of *span* ms, from rows with the fields of an aggregate, in any order.

    `count`, `errors` and `messages` are sums.  `min`, `max`, `score` (the worst) and `fitness` (the lowest) are extremes.
    `mean` and `std` are those of all readings together.  NaN means that nothing was measured.
    """
    starts = rows["window"] // span * span
    order = np.lexsort((rows["block"], starts))
    rows, starts = rows[order], starts[order]
    if not len(rows):
        return np.zeros(0, AGGREGATE)
    changes = np.diff(starts, prepend=starts[0] - 1).astype(bool) | np.diff(rows["block"], prepend=0).astype(bool)
    at = np.flatnonzero(changes)
    merged = np.zeros(len(at), AGGREGATE)
    merged["block"], merged["canal"], merged["window"] = rows["block"][at], rows["canal"][at], starts[at]
    _merge_extremes(merged, rows, at)
    _merge_moments(merged, rows, at)
    return merged


def one_row_a_window(rows: np.ndarray) -> np.ndarray:
    """AGGREGATE rows of one turn, those of one block and window merged.

    A turn may close a window and amend it too, where it folds a backlog; a store has one row for each window, block and turn.
    """
    if len(rows) < 2:
        return rows
    pairs = rows["window"] * 1_000_003 + rows["block"]  # equal where window and block are; rarely elsewhere
    return merge_windows(rows, 1) if len(np.unique(pairs)) < len(rows) else rows


def with_amendments(rows: np.ndarray) -> np.ndarray:
    """Stored windows with the rows that amend them added to theirs: one row for each block, window and span.

    rows: HISTORY of the store.  A window that has amending rows alone keeps NaN for fitness and score.
    """
    if not np.isnan(rows["fitness"]).any():
        return rows
    keys = ["span", "window", "block"]
    _, group, sizes = np.unique(rows[keys], return_inverse=True, return_counts=True)
    shared = sizes[group] > 1
    amended = []
    for span in np.unique(rows["span"][shared]).tolist():
        merged = merge_windows(rows[shared & (rows["span"] == span)], 1)
        made = np.zeros(len(merged), rows.dtype)
        for name in AGGREGATE.names:
            made[name] = merged[name]
        made["span"] = span
        amended.append(made)
    return np.concatenate([rows[~shared], *amended])


def _merge_extremes(merged: np.ndarray, rows: np.ndarray, at: np.ndarray) -> None:
    for name in ("min", "fitness"):
        merged[name] = np.fmin.reduceat(rows[name], at)
    for name in ("max", "score"):
        merged[name] = np.fmax.reduceat(rows[name], at)
    for name in ("count", "errors", "messages"):
        total = np.add.reduceat(rows[name].astype(np.int64), at)
        merged[name] = np.minimum(total, np.iinfo(AGGREGATE[name]).max)


def _merge_moments(merged: np.ndarray, rows: np.ndarray, at: np.ndarray) -> None:
    """Computed around the first mean of each group: at 101,325 ± 5 the squares of the values themselves would cancel."""
    group = np.repeat(np.arange(len(at)), np.diff(at, append=len(rows)))
    measured = (rows["count"] > 0) & ~np.isnan(rows["mean"])
    weight = np.where(measured, rows["count"], 0).astype(np.float64)
    means = np.where(measured, rows["mean"], 0.0)
    origin = _first_measured(means, measured, group, at)
    shift = np.where(measured, means - origin[group], 0.0)
    spread = np.where(measured, np.nan_to_num(rows["std"].astype(np.float64)), 0.0)
    count = np.add.reduceat(weight, at)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        mean = np.add.reduceat(weight * shift, at) / count
        square = np.add.reduceat(weight * (shift * shift + spread * spread), at) / count
        merged["mean"] = origin + mean
        merged["std"] = np.sqrt(np.maximum(square - mean * mean, 0.0))


def _first_measured(means: np.ndarray, measured: np.ndarray, group: np.ndarray, at: np.ndarray) -> np.ndarray:
    first_index = np.where(measured, np.arange(len(means)), len(means))
    first = np.minimum.reduceat(first_index, at)
    return np.append(means, 0.0)[np.minimum(first, len(means))]
