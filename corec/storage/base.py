"""What the node asks of a store: turns committed whole, once, in order, by one owner."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np

from corec.common.units import MB

#: Bound of the frames put aside as late; beyond it the oldest go.
LATE_BYTES = 16 * MB
#: Snapshots remembered; the turn records from the oldest of them on are kept.
SNAPSHOTS_KEPT = 2


class TurnRecord(NamedTuple):
    """Everything but the readings themselves that a turn did; folding it again gives the same outcome."""

    turn: int  # 1, 2, 3 ...
    from_offset: int  # exclusive; the `to_offset` of the turn before
    to_offset: int  # inclusive
    load_q: int  # 0..255
    tick: int  # ms, 0 for none
    commands: list[dict[str, Any]]  # in the order they were applied
    config_hash: str
    created: int  # ms since 1970


class LateBatch(NamedTuple):
    """Frames put aside because their time could not be right, or came too late."""

    time: int  # ms, what the envelope says
    arrival: int  # ms
    frames: bytes
    cause: str


class StoreBase(NamedTuple):
    """Where a store starts: after this turn and journal offset."""

    turn: int = 0
    offset: int = 0
    ledger: Mapping[str, int] = {}

    def document(self) -> dict[str, Any]:
        return {"turn": self.turn, "offset": self.offset, "ledger": dict(self.ledger)}


EMPTY_BASE = StoreBase()


class StoreState(NamedTuple):
    """Where a store stands."""

    turn: int
    offset: int
    ledger: Mapping[str, int]


class Block(NamedTuple):
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
        blocks: Sequence[Block] = (),
    ) -> None:
        """Make a turn and all it produced durable at once; FenceLost when another owner took over.

        *sent*: (stream, ms, entry) of what programs send over the node's output streams; *events*: what happened to blocks;
        *blocks*: those that are new.
        """

    @property
    def named(self) -> int:
        """How many blocks the store has names of, the first ones."""

    def set_blocks(self, blocks: Sequence[Block]) -> None:
        """Name the blocks that aggregates refer to by index."""

    def note_snapshot(self, turn: int, offset: int, generation: int) -> None:
        """Remember the newest snapshot; turn records from it on are kept."""

    def turns(self, after: int) -> Iterator[TurnRecord]:
        """The committed turn records behind turn *after*, in order."""

    def history(self, pattern: str, since: int, until: int, resolution: str) -> np.ndarray:
        """Aggregates of the blocks whose id matches *pattern*, windows in [since, until)."""

    def alerts(self, since: int, until: int) -> np.ndarray:
        """Alerts in [since, until)."""

    def reader(self) -> AbstractContextManager["OutboxReader"]:
        """A reader of its own, for another thread."""

    def close(self) -> None:
        """Let go of the store."""


class OutboxReader(Protocol):
    """Looks at what is committed."""

    def outbox(self, stream: str, after: int = 0, limit: int = 1000) -> list[tuple[int, int, bytes]]:
        """(number, time, entry) of an output stream behind number *after*."""

    def outbox_behind(self, number: int, limit: int = 1000) -> list[tuple[int, str, int, bytes]]:
        """(number, stream, time, entry) of all output streams behind *number*, in order."""


class Retention(Protocol):
    """Keeps a store in its bounds, a slice at a time, in the thread that commits."""

    def run(self, now: int, log_first: int) -> None:
        """*now*: the engine's clock; *log_first*: turns that the log can still give again are kept."""
