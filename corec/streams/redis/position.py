"""Where a reader stands in a stream, and whether it is still the stream that it was reading.

An id tells that by itself only in part: a server that lost its memory gives ids again from its clock on, and a reader
with an old one reads nothing, for ever, without an error.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from corec.streams.redis.keys import BEGINNING, id_pair

#: Earlier places remembered for each stream: one that is still there says that the stream is the same.
ANCHORS = 32


class Life(NamedTuple):
    """What the server says of a stream."""

    last: str  # the newest id given
    added: int | None  # entries since it was made; None before Redis 7
    length: int
    deleted: str | None = None  # the newest entry that was taken out by its id; None before Redis 7


def cursor_text(id: str, seen: int | None, run: str) -> str:
    """A place in a stream, as turn records and snapshots keep it; *run*: the life of the server."""
    return f"{id} {'?' if seen is None else seen} {run[:8]}"


class Loss(NamedTuple):
    """Entries that nobody read before they were gone."""

    stream: str
    after: str  # id of the last entry read
    entries: int | None  # None: nobody knows how many
    why: str

    def __str__(self) -> str:
        number = "an unknown number of entries" if self.entries is None else f"{self.entries:,} entries"
        return f"{self.stream} {self.why}: {number} behind {self.after} were never read"


@dataclass
class Position:
    """The last entry read of a stream."""

    stream: str
    id: str = BEGINNING
    run: str = ""  # the life of the server in which it was read
    seen: int | None = 0  # entries up to there since the stream was made
    added: int | None = None  # entries ever added, when the server was asked last
    anchors: list[str] = field(default_factory=list)
    _loss_after: str = ""  # the last entry read when a loss that nobody can count was told

    @classmethod
    def parse(cls, stream: str, text: str) -> "Position":
        """What `cursor_text` gave."""
        id, seen, run = (*text.split(" "), "?", "")[:3]
        return cls(stream, id, run, None if seen == "?" else int(seen), anchors=[id])

    def advance(self, id: str, entries: int) -> None:
        """So many entries were read, up to *id*."""
        self.id = id
        if self.seen is not None:
            self.seen += entries

    def remember(self) -> None:
        """Keep this place as an anchor; the older they are, the fewer are kept."""
        if self.id != BEGINNING and self.id not in self.anchors[-1:]:
            self.anchors.append(self.id)
        if len(self.anchors) > ANCHORS:
            del self.anchors[1 : ANCHORS // 2 : 2]

    def compare(self, client: Any, run: str) -> Loss | None:
        """Look at the server, which is in its life *run*, over a new connection or a standing one; move to where reading has to go on."""
        same, self.run = run[:8] == self.run[:8], run
        life = look(client, self.stream)
        known = self._unread(self.added)
        if life is None:
            return self._begin_again(known, "is gone") if self.id != BEGINNING else None
        self.added = life.added
        if self.id == BEGINNING:
            self.seen = None if life.added is None else life.added - life.length
            return None
        if life.last == self.id:
            return self._at_end(life, same, known)
        if has(client, self.stream, self.id):
            return None
        if same and life.added is not None and self.seen is not None and life.added >= self.seen:
            return self._go_on_in(life, known)
        if any(has(client, self.stream, anchor) for anchor in reversed(self.anchors)):
            return self._go_on_in(life, known)
        return self._begin_again(known, "was made anew", life)

    def _at_end(self, life: Life, same: bool, known: int | None) -> Loss | None:
        """Nothing is left to read: what was ever added is what was read, or the stream is not what it was all the time."""
        seen, self.seen = self.seen, life.added
        if not same or life.added is None or seen is None or life.added == seen:
            return None
        if life.added < seen:  # reading went on in the new stream: its ids are greater
            return Loss(self.stream, self.id, known, "was made anew")
        return Loss(self.stream, self.id, life.added - seen, "was trimmed by somebody else")

    def _unread(self, added: int | None) -> int | None:
        return None if added is None or self.seen is None else max(0, added - self.seen)

    def _go_on_in(self, life: Life, known: int | None) -> Loss | None:
        """The stream of before, without the entry read last: it was trimmed by somebody, or is an older copy of itself."""
        after = self.id
        if id_pair(life.last) < id_pair(self.id):
            self.id, self.seen = life.last, life.added
            return Loss(self.stream, after, known, "has lost its newest entries")
        if life.added is None or self.seen is None:
            self.seen = None if life.added is None else life.added - life.length
            reported, self._loss_after = self._loss_after, after
            return None if reported == after else Loss(self.stream, after, None, "was trimmed by somebody else")
        trimmed = max(0, life.added - life.length - self.seen)
        self.seen += trimmed
        return Loss(self.stream, after, trimmed, "was trimmed by somebody else") if trimmed else None

    def _begin_again(self, known: int | None, why: str, life: Life | None = None) -> Loss:
        loss = Loss(self.stream, self.id, known, why)
        self.id, self.anchors = BEGINNING, []
        self.seen = 0 if life is None or life.added is None else life.added - life.length
        return loss


def look(client: Any, stream: str) -> Life | None:
    """What the server says of *stream*; None when there is none."""
    try:
        info = client.xinfo_stream(stream)
    except ResponseError as error:
        if "no such key" in str(error):
            return None
        raise
    found = {_text(key): value for key, value in info.items()}
    deleted = found.get("max-deleted-entry-id")
    return Life(_text(found["last-generated-id"]), found.get("entries-added"), found["length"], deleted and _text(deleted))


def has(client: Any, stream: str, id: str) -> bool:
    """Whether an entry is there."""
    return bool(client.xrange(stream, id, id, count=1))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else value
