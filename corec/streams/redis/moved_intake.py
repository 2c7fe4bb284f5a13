"""First the batches that an embedded node left in its journal, then those from Redis.

The first starts with `redis_config` read in this order.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from corec.streams.base import Entry
from corec.streams.intake import JournalIntake, read_note
from corec.streams.journal import Journal
from corec.streams.redis.intake import RedisIntake

if TYPE_CHECKING:
    from corec.storage.base import TurnRecord


class MovedIntake:
    """An `Intake` over both. Offsets on Redis continue those of the journal, which nobody writes to any more."""

    def __init__(self, journal: Journal, then: RedisIntake) -> None:
        self._journal, self._last = journal, journal.last
        self._old, self._new = JournalIntake(journal), then

    @property
    def reader(self) -> Any:
        """The reader of the Redis streams."""
        return self._new.reader

    @property
    def losses(self) -> Any:
        """Gaps found in the Redis streams."""
        return self._new.losses

    @property
    def offset(self) -> int:
        return self._old.offset if self._old.pending else self._new.offset

    @property
    def pending(self) -> int:
        return self._old.pending + self._new.pending

    @property
    def holds_back(self) -> str:
        return "" if self._old.pending else self._new.holds_back

    @property
    def fullness(self) -> float:
        return self._new.fullness

    @property
    def first(self) -> int:
        return max(self._journal.first, self._new.first) if self._new.first > self._last else self._journal.first

    def listen(self, accepted: Callable[[bool], None], lost: Callable[[], Any]) -> None:
        self._new.listen(accepted, lost)

    @property
    def anchor(self) -> int | None:
        return self._new.anchor

    def stamp_now(self) -> int | None:
        return self._new.stamp_now()

    def server_ms(self) -> int | None:
        return self._new.server_ms()

    def seek(self, offset: int, cursor: dict[str, str]) -> None:
        self._old.seek(min(offset, self._last), cursor)
        self._new.seek(max(offset, self._last), cursor)

    def read(self, max_bytes: int) -> list[Entry]:
        return self._old.read(max_bytes) or self._new.read(max_bytes)

    def note(self) -> dict[str, Any] | None:
        return self._new.note()

    def again(self, record: "TurnRecord") -> Iterator[tuple[bytes, int]]:
        note = read_note(record)
        count = sum(run[3] for run in note["runs"]) if note else 0
        yield from self._old.again(record._replace(to_offset=record.to_offset - count))
        yield from self._new.again(record)

    def trim(self, offset: int) -> None:
        self._journal.trim(min(offset, self._last))
        self._new.trim(offset)

    def close(self) -> None:
        self._new.close()
        self._journal.close()
