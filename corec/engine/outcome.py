"""What a turn gives: aggregates, messages, alerts, and a count of all that was refused."""
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from corec._core import dtypes


class PutAside(NamedTuple):
    """Readings kept out of the fold, as they came."""

    time: int  # ms, what the batch said
    arrival: int  # ms, when it came
    frames: bytes  # n * 10 bytes
    cause: str


class Repair(NamedTuple):
    """Entities of a block that were regenerated."""

    time: int  # ms
    block: int  # index
    entities: int


def _nothing(dtype: np.dtype):
    return field(default_factory=lambda: np.empty(0, dtype))


@dataclass
class Outcome:
    """The result of a turn; arrays are structured, one element a row.

    aggregates: `dtypes.AGGREGATE`, one row for each block and window that closed.
    messages: `dtypes.MESSAGE`, the readings that passed the filter.
    alerts: `dtypes.ALERT`; kind 1 high, 2 low, 3 silence, 4 two failures in a row.
    rejected: cause -> readings refused in this turn (malformed, channel, id, skew, repeated).
    late: readings in this turn whose window was closed.
    aside: batches whose time was further than `max_skew` from their arrival.
    repairs: blocks that regenerated failing entities.
    """

    aggregates: np.ndarray = _nothing(dtypes.AGGREGATE)
    messages: np.ndarray = _nothing(dtypes.MESSAGE)
    alerts: np.ndarray = _nothing(dtypes.ALERT)
    rejected: dict[str, int] = field(default_factory=dict)
    late: int = 0
    aside: list[PutAside] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """True when the turn gave nothing that needs storing."""
        return not (len(self.aggregates) or len(self.messages) or len(self.alerts) or self.aside or self.repairs)
