"""Where a shard's batches are read from: once, in order, and again in the same order when turns are replayed."""
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from corec.common.times import wall_ms
from corec.common.units import MB
from corec.streams.base import Entry, Log, unpacked_bytes

if TYPE_CHECKING:
    from corec.storage.base import TurnRecord


class Intake(Protocol):
    """What the pipeline asks of a log that it reads; used by one thread."""

    @property
    def offset(self) -> int:
        """Entries read since the log began, counted: what turn records carry."""

    @property
    def pending(self) -> int:
        """Entries known to wait; a guess where only a server knows."""

    @property
    def holds_back(self) -> str:
        """What keeps entries from coming now, as text: silence is no news then.  "" where nothing does."""

    @property
    def fullness(self) -> float:
        """The share of its bound that it takes elsewhere than in the node's journal; what was folded goes behind snapshots."""

    @property
    def first(self) -> int:
        """Offset of the oldest entry that can be read again."""

    def listen(self, accepted: Callable[[bool], None], lost: Callable[[], Any]) -> None:
        """Have *accepted* called, from any thread, when there is more to read (True: something critical).

        *lost* is called when the log forgot entries: what was folded of them can then be had from snapshots only.
        """

    def stamp_now(self) -> int | None:
        """How the log would stamp an entry now (ms); None while that cannot be told."""

    @property
    def anchor(self) -> int | None:
        """ms of the stamps before the boot clock of this machine, another one at each start of it.

        On a server it is another one also when the server's clock was set; None before a first look at that.
        """

    def server_ms(self) -> int | None:
        """The clock (ms) of the server that gives the stamps; None where this machine gives them, or before a first look."""

    def seek(self, offset: int, cursor: dict[str, str]) -> None:
        """Go on behind *offset*; *cursor* is what the engine kept of the last `note`."""

    def read(self, max_bytes: int) -> list[Entry]:
        """What comes next, about *max_bytes* once it is unpacked and at least one entry; empty when nothing waits."""

    def note(self) -> dict[str, Any] | None:
        """A command that says what was read since the last note, for the turn record; None where offsets say it all."""

    def again(self, record: "TurnRecord") -> Iterator[tuple[bytes, int]]:
        """(envelope, arrival ms) of a committed turn, in the order it was folded."""

    def trim(self, offset: int) -> None:
        """A snapshot at *offset* is durable, and another one behind it: what came before may go."""


class JournalIntake:
    """The embedded journal: offsets say everything."""

    holds_back = ""
    fullness = 0.0  # the node looks at its journal itself

    def __init__(self, journal: Log, stamp: Callable[[], int] = wall_ms, anchor: int = 0) -> None:
        """stamp: gives the stamp of a moment, ms."""
        self._journal, self._stamp, self.anchor = journal, stamp, anchor
        self._ahead: deque[Entry] = deque()     # read from the journal and not given yet
        self.offset = 0

    def stamp_now(self) -> int:
        return self._stamp()

    def server_ms(self) -> None:
        return None

    @property
    def pending(self) -> int:
        return self._journal.last - self.offset

    @property
    def first(self) -> int:
        return self._journal.first

    def listen(self, accepted: Callable[[bool], None], lost: Callable[[], Any]) -> None:
        """The thread that syncs the journal tells of new entries itself, and a journal forgets nothing."""

    def seek(self, offset: int, cursor: dict[str, str]) -> None:
        self.offset = offset
        self._ahead.clear()

    def read(self, max_bytes: int) -> list[Entry]:
        if not self._ahead and self.pending:
            self._ahead.extend(self._journal.read(self.offset, max_bytes))
        entries: list[Entry] = []
        while self._ahead and max_bytes > 0:
            entries.append(self._ahead.popleft())
            max_bytes -= unpacked_bytes(entries[-1].payload)
        if entries:
            self.offset = entries[-1].offset
        return entries

    def note(self) -> None:
        return None

    def again(self, record: "TurnRecord") -> Iterator[tuple[bytes, int]]:
        if self.offset != record.from_offset:
            self.seek(record.from_offset, {})
        while self.offset < record.to_offset and (entry := self._next()) and entry.offset <= record.to_offset:
            self._ahead.popleft()   # the others are of the turns behind
            self.offset = entry.offset
            yield entry.payload, entry.arrival
        self.offset = record.to_offset

    def _next(self) -> Entry | None:
        """The entry behind `offset`, still in `_ahead`; None where the journal has none."""
        if not self._ahead:
            self._ahead.extend(self._journal.read(self.offset, MB))
        return self._ahead[0] if self._ahead else None

    def trim(self, offset: int) -> None:
        self._journal.trim(offset)


def read_note(record: "TurnRecord") -> dict[str, Any] | None:
    """What a turn read on Redis, as its record says."""
    return next((command for command in record.commands if command["op"] == "read"), None)
