"""What an engine gives: the outcome of a turn, and one entity in words and units."""
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from corec._core import dtypes
from corec._core.dtypes import ALERT_ANOMALY, ALERT_FAILURE, ALERT_HIGH, ALERT_LATE, ALERT_LOW, ALERT_MUTED, ALERT_SILENCE

#: Kinds of alerts in words; `anomaly` is about a block, the others about an entity.
KINDS = {ALERT_HIGH: "high", ALERT_LOW: "low", ALERT_SILENCE: "silence", ALERT_FAILURE: "failure", ALERT_ANOMALY: "anomaly",
         ALERT_LATE: "late"}
#: Events by which failing entities of a block were regenerated in place.
REPAIRS = ("repair", "regenerate")
#: Quality of an entity in words, by its number in layout.h.
QUALITIES = ("never", "good", "warming", "high", "low", "not finite", "declared failed", "silent", "repaired")


def kind_name(kind: int) -> str:
    """The kind of an alert as text: "high", "low (muted)"; the number where it has no name."""
    name = KINDS.get(kind & ~ALERT_MUTED, str(kind & ~ALERT_MUTED))
    return f"{name} (muted)" if kind & ALERT_MUTED else name


def is_amending(rows: np.ndarray) -> np.ndarray:
    """bool[n]: the row adds to a window that was closed before; it has no fitness and no score of its block."""
    return np.isnan(rows["fitness"])


class PutAside(NamedTuple):
    """Readings that were not folded, because their time is too far from their arrival."""

    time: int  # ms, as the batch has it
    arrival: int  # ms
    frames: bytes  # n * 10 bytes
    cause: str


class RefusedPart(NamedTuple):
    """Readings of one sender that a turn refused for one cause."""

    cause: str
    producer: int  # 0 where the batch has none
    epoch: int
    readings: int
    envelope: bytes  # the first batch that had some
    arrival: int  # of that batch, ms


class Repair(NamedTuple):
    """How many entities of a block were regenerated at once."""

    time: int  # ms
    block: int  # index
    entities: int


#: The block of an event that concerns all of them.
EVERY_BLOCK = -1


class Event(NamedTuple):
    """A change of a block that readings alone did not make: a row of its history."""

    time: int  # ms
    block: int  # index, or EVERY_BLOCK
    what: str  # repair, regenerate, inherit, restart, fuse, undo, mute, unmute, ack, clock
    host: int = -1  # index of the block that it joined or left, -1 where there is none
    fitness: float = 1.0  # of the block, before
    host_fitness: float = 1.0
    failing: int = 0  # entities at or above the error level that counts as failing, before
    entities: int = 0  # how many it concerns
    inherited: int = 0  # how many took over the function and parameters of a healthy one
    reason: str = ""
    subject: str = ""  # the muted block or entity, or the acknowledged alert


class Refusal(NamedTuple):
    """A command that could not be carried out in its turn; it changed nothing."""

    command: int  # its index among the commands of the turn
    text: str
    hint: str | None


def restarts(alerts: np.ndarray, now: int) -> list[Event]:
    """One event for each block with entities that were restarted; each of these raised an alert of its failure."""
    if not len(alerts):
        return []
    failed = alerts["block"][alerts["kind"] == ALERT_FAILURE]
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
    alerts: `dtypes.ALERT`; `KINDS` names their kinds.
    clock_jump: ms by which the time given to `Engine.feed` is further than `max_skew` from the clock, negative where it went back; else 0.
    muted: `dtypes.ALERT` of blocks and entities that are muted: stored and counted, but not reported.
    rejected: cause -> readings refused in this turn (malformed, channel, id, skew, repeated).
    late: readings in this turn that are older than `retencion_dias`.
    refusals: whose batches had readings that were refused in this turn, repeats apart.
    recovered: readings of earlier turns, refused for their time, that this turn folded: the machine's clock had been wrong.
    aside: batches older than `max_skew` or further ahead than `max_adelanto` at their arrival.
    events: repairs, restarts, fusions and their undoing, mutes and acknowledgements.
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
    recovered: int = 0
    refusals: list[RefusedPart] = field(default_factory=list)
    clock_jump: int = 0

    @property
    def all_alerts(self) -> np.ndarray:
        """`dtypes.ALERT`: the alerts, then the muted ones with ALERT_MUTED added to their kind."""
        if not len(self.muted):
            return self.alerts
        marked = self.muted.copy()
        marked["kind"] |= ALERT_MUTED
        return np.concatenate([self.alerts, marked])

    @property
    def repairs(self) -> list[Repair]:
        """The events by which failing entities were regenerated."""
        return [Repair(event.time, event.block, event.entities) for event in self.events if event.what in REPAIRS]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to store."""
        return not (len(self.aggregates) or len(self.messages) or len(self.alerts) or len(self.muted) or self.aside or self.events)


def describe_entity(tile: np.void, lane: int) -> dict[str, Any]:
    """One entity in words and units; tile: one element of dtypes.TILE, lane: 0..7."""
    state, trend, role = (int(tile[name][lane]) for name in ("state", "trend", "role"))
    trend = 0 if trend & dtypes.TRIED else trend     # of a repaired entity it holds how often and when, and no numbers
    halves = np.array([trend & 0xFFFF0000, trend << 16 & 0xFFFFFFFF], np.uint32).view(np.float32)
    return {
        "valor": float(tile["value"][lane]), "activo": bool(state & dtypes.ACTIVE), "emitted": float(tile["emitted"][lane]),
        "mean": float(tile["slow"][lane]), "std": float(np.sqrt(tile["var"][lane])), "fast_mean": float(tile["fast"][lane]),
        "mean_step": float(halves[0]), "peak_score": float(halves[1]),
        "quality": QUALITIES[state >> dtypes.QUALITY_SHIFT & dtypes.QUALITY_MASK],
        "failures": state >> dtypes.FAILS_SHIFT & dtypes.FAILS_MASK,
        "error_level": state >> dtypes.ERRORS_SHIFT & dtypes.ERRORS_MASK, "warm_up": state >> dtypes.WARM_SHIFT & dtypes.WARM_MASK,
        "function": role & dtypes.ROLE_FUNCTION_MASK,
        "threshold_scale": (role >> dtypes.ROLE_SCALE_SHIFT ^ dtypes.ROLE_SCALE_ONE) / dtypes.ROLE_SCALE_ONE,
    }
