"""The interface of a store: it commits each turn as a whole, once, in order, by one owner."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np

from corec.common.units import MB

#: Bound of the frames put aside as late; beyond it the oldest are dropped.
LATE_BYTES = 16 * MB
#: Snapshots noted. Turn records are kept from the oldest of them on.
SNAPSHOTS_KEPT = 2


class TurnRecord(NamedTuple):
    """All inputs of a turn except the readings. Folding a turn again from its record gives the same outcome."""

    turn: int  # 1, 2, 3 ...
    from_offset: int  # exclusive; the `to_offset` of the turn before
    to_offset: int  # inclusive
    load_q: int  # 0..255
    tick: int  # ms, 0 for none
    commands: list[dict[str, Any]]  # in the order they were applied
    config_hash: str
    created: int  # ms since 1970


class LateBatch(NamedTuple):
    """Frames put aside because their time is impossible, or too far in the past."""

    time: int  # ms, what the envelope says
    arrival: int  # ms
    frames: bytes
    cause: str


class StoreBase(NamedTuple):
    """Where a new store starts: behind this turn and journal offset."""

    turn: int = 0
    offset: int = 0
    ledger: Mapping[str, int] = {}

    def document(self) -> dict[str, Any]:
        return {"turn": self.turn, "offset": self.offset, "ledger": dict(self.ledger)}


EMPTY_BASE = StoreBase()


class StoreState(NamedTuple):
    """The last committed turn, its offset and its ledger."""

    turn: int
    offset: int
    ledger: Mapping[str, int]


class StoredBlock(NamedTuple):
    index: int
    id: str
    canal: int
    entities: int


class Store(Protocol):
    """One owner at a time writes; any number of processes may read."""

    @property
    def state(self) -> StoreState:
        """The last committed turn, its offset and its ledger."""

    def commit(
        self,
        record: TurnRecord,
        *,
        aggregates: np.ndarray | None = None,
        alerts: np.ndarray | None = None,
        late: Sequence[LateBatch] = (),
        messages: np.ndarray | None = None,
        ledger: Mapping[str, int] | None = None,
        sent: Sequence[tuple[str, int, bytes]] = (),
        events: Sequence[tuple[Any, ...]] = (),
        blocks: Sequence[StoredBlock] = (),
    ) -> None:
        """Make a turn and all its results durable in one transaction. FenceLost when another owner took over.

        sent: (stream, ms, entry) that plugins and modules send to output streams.  events: what happened to blocks.
        blocks: the new ones.
        """

    @property
    def named(self) -> int:
        """Number of blocks whose names the store has: those with the lowest indexes."""

    def set_blocks(self, blocks: Sequence[StoredBlock]) -> None:
        """Write the names of the blocks. Aggregates refer to blocks by index."""

    def note_snapshot(self, turn: int, offset: int, generation: int) -> None:
        """Note the newest snapshot. Turn records are kept from the oldest noted snapshot on."""

    def turns(self, after: int) -> Iterator[TurnRecord]:
        """Committed turn records behind turn *after*, in order."""

    def history(self, pattern: str, since: int, until: int, resolution: str) -> np.ndarray:
        """Aggregates of the blocks whose id matches *pattern*, for windows in [since, until) ms.

        resolution: "finest" or "minute".
        """

    def alerts(self, since: int, until: int) -> np.ndarray:
        """Alerts in [since, until) ms."""

    def reader(self) -> AbstractContextManager["OutboxReader"]:
        """A separate reader for another thread."""

    def close(self) -> None:
        """Close the files and connections."""


class OutboxReader(Protocol):
    """Reads committed entries of output streams."""

    def outbox(self, stream: str, after: int = 0, limit: int = 1000) -> list[tuple[int, int, bytes]]:
        """(number, time, entry) of an output stream behind number *after*."""

    def outbox_behind(self, number: int, limit: int = 1000) -> list[tuple[int, str, int, bytes]]:
        """(number, stream, time, entry) of all output streams behind *number*, in order."""


class Retention(Protocol):
    """Keeps a store within its bounds, in small steps, in the thread that commits."""

    def run(self, now: int, log_first: int, *, boot_ms: int) -> bool:
        """Do one step; False where nothing is left to do for now.

        now: the engine's clock, ms.  boot_ms: since the machine started.
        log_first: the oldest offset in the log; turn records that can be replayed from it are kept.
        """
