"""What a turn gives: aggregates, messages, alerts, and a count of all that was refused."""
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from corec._core import dtypes

#: Kinds of alerts in words; `anomaly` is about a block, the others about an entity.
KINDS = {1: "high", 2: "low", 3: "silence", 4: "failure", 5: "anomaly"}
#: Added to the kind of an alert that was muted.
MUTED = 128
#: Events by which failing entities of a block were regenerated in place.
REPAIRS = ("repair", "regenerate")
#: Kind of the alert that an entity raises when it is restarted: layout.h, CC_ALERT_FAILURE.
FAILURE = 4
#: Kind of the alert about a block whose score tops all of its newest windows.
ANOMALY = 5


def kind_name(kind: int) -> str:
    """`high`, `low (muted)` and so on."""
    name = KINDS.get(kind & ~MUTED, str(kind & ~MUTED))
    return f"{name} (muted)" if kind & MUTED else name


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


class Event(NamedTuple):
    """Something that happened to a block besides readings: a row of its history."""

    time: int  # ms
    block: int  # index
    what: str  # repair, regenerate, inherit, restart, fuse, undo, mute, unmute, ack
    host: int = -1  # index of the block that it joined or left
    fitness: float = 1.0  # of the block, before
    host_fitness: float = 1.0
    failing: int = 0  # entities at or above the error level that counts as failing, before
    entities: int = 0  # how many it was about
    inherited: int = 0  # how many took over the function and parameters of a healthy one
    reason: str = ""
    subject: str = ""  # an entity or alerts, where it was about these


class Refusal(NamedTuple):
    """A command that could not be carried out when its turn came; it changed nothing."""

    command: int  # its place in the turn
    text: str
    hint: str | None


def restarts(alerts: np.ndarray, now: int) -> list[Event]:
    """How many entities of each block were restarted: each raised one alert of its failure."""
    failed = alerts["block"][alerts["kind"] == FAILURE]
    blocks, counts = np.unique(failed, return_counts=True)
    return [Event(now, index, "restart", entities=count, reason="failed twice in a row")
            for index, count in zip(blocks.tolist(), counts.tolist(), strict=True)]  # fmt: skip


def _nothing(dtype: np.dtype):
    return field(default_factory=lambda: np.empty(0, dtype))


@dataclass
class Outcome:
    """The result of a turn; arrays are structured, one element a row.

    aggregates: `dtypes.AGGREGATE`, one row for each block and window that closed.
    messages: `dtypes.MESSAGE`, the readings that passed the filter.
    alerts: `dtypes.ALERT`; `KINDS` names them.
    muted: alerts of what is muted: stored, counted, told to nobody.
    rejected: cause -> readings refused in this turn (malformed, channel, id, skew, repeated).
    late: readings in this turn whose window was closed.
    aside: batches whose time was further than `max_skew` from their arrival.
    events: what happened to blocks: repairs, restarts of entities in numbers, fusions and their undoing.
    refused: commands that could not be carried out.
    """

    aggregates: np.ndarray = _nothing(dtypes.AGGREGATE)
    messages: np.ndarray = _nothing(dtypes.MESSAGE)
    alerts: np.ndarray = _nothing(dtypes.ALERT)
    rejected: dict[str, int] = field(default_factory=dict)
    late: int = 0
    aside: list[PutAside] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    muted: np.ndarray = _nothing(dtypes.ALERT)

    @property
    def all_alerts(self) -> np.ndarray:
        """The alerts, then the muted ones, marked as such in their kind."""
        if not len(self.muted):
            return self.alerts
        marked = self.muted.copy()
        marked["kind"] |= MUTED
        return np.concatenate([self.alerts, marked])

    @property
    def repairs(self) -> list[Repair]:
        """Blocks that regenerated failing entities."""
        return [Repair(event.time, event.block, event.entities) for event in self.events if event.what in REPAIRS]

    @property
    def empty(self) -> bool:
        """True when the turn gave nothing that needs storing."""
        return not (len(self.aggregates) or len(self.messages) or len(self.alerts) or len(self.muted) or self.aside or self.events)
