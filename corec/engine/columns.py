"""The columns of a batch: whether they fit together, and how they are cut where the clock has to move."""
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from corec.errors import FrameError

LATEST_TIME = 2**53


def check_time(at: int) -> int:
    """*at* in ms since 1970, or FrameError."""
    if not 0 <= int(at) < LATEST_TIME:
        raise FrameError(f"expected a time in milliseconds since 1970, got {at!r}",
                         hint="1_700_000_000_000 is in November 2023")
    return int(at)


def check_lengths(columns: Mapping[str, np.ndarray | None]) -> None:
    """FrameError when a column is not as long as the ids."""
    lengths = {name: column.shape for name, column in columns.items() if column is not None}
    if any(len(shape) != 1 or shape != lengths["ids"] for shape in lengths.values()):
        got = ", ".join(f"{name} {shape}" for name, shape in lengths.items())
        raise FrameError(f"expected one value, state and time for each id, got arrays of {got}",
                         hint="`at` may be a single time, `states` may be left out")


def same_second(times: np.ndarray) -> Iterator[slice]:
    """Stretches of readings in the same second: the clock moves between them, not within."""
    cuts = np.flatnonzero(np.diff(times // 1000)) + 1
    edges = [0, *cuts.tolist(), len(times)]
    return (slice(a, b) for a, b in itertools.pairwise(edges))


def cut(batch: dict[str, Any], run: slice) -> dict[str, Any]:
    """A stretch of a batch's columns; frames are ten bytes each."""
    part = {name: value[run] for name, value in batch.items() if isinstance(value, np.ndarray)}
    if "frames" in batch:
        part["frames"] = batch["frames"][run.start * 10 : run.stop * 10]
    return {**batch, **part}
