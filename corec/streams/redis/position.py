"""The read position in a stream, and whether the stream is still the same one.

The id alone does not show that. A server that lost its memory gives new ids from its clock on; a reader with an older id
would read nothing for ever, without an error. And a server that lost its newest entries while its clock stood behind their ids gives the
same ids once more, to other entries: so an entry counts as the same only if its content is.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from corec._core.wire import crc32c
from corec.streams.redis.keys import BEGINNING, FIELD, id_pair

#: Earlier ids remembered for each stream. If one of them still exists, the stream is the same.
ANCHORS = 32


class Life(NamedTuple):
    """What XINFO STREAM says of a stream."""

    last: str  # the newest id given
    added: int | None  # entries since it was made; None before Redis 7
    length: int
    deleted: str | None = None  # the newest entry that was deleted by its id; None before Redis 7


def cursor_text(id: str, seen: int | None, run: str, payload: bytes) -> str:
    """A read position as turn records and snapshots store it: `id seen run:crc`. *run*: run id of the server; crc: of the *payload*."""
    return f"{id} {'?' if seen is None else seen} {run[:8]}:{crc32c(payload):x}"


class Place(NamedTuple):
    """An entry, by its id and what is in it."""

    id: str
    crc: int | None  # CRC-32C of its payload; None: not known

    def is_on(self, client: Any, stream: str) -> bool:
        """Whether the server has the entry."""
        payload = payload_at(client, stream, self.id)
        return payload is not None and self.crc in (None, crc32c(payload))

    def is_another_on(self, client: Any, stream: str) -> bool:
        """Whether the server has another entry of this id."""
        payload = payload_at(client, stream, self.id)
        return payload is not None and self.crc not in (None, crc32c(payload))


class Loss(NamedTuple):
    """Entries that were gone before they were read."""

    stream: str
    after: str  # id of the last entry read
    entries: int | None  # None: unknown
    why: str

    def __str__(self) -> str:
        number = "an unknown number of entries" if self.entries is None else f"{self.entries:,} entries"
        return f"{self.stream} {self.why}: {number} behind {self.after} were never read"


@dataclass
class Position:
    """The last entry read of a stream."""

    stream: str
    id: str = BEGINNING
    run: str = ""  # run id of the server at the last comparison
    seen: int | None = 0  # entries up to there since the stream began; None: unknown
    added: int | None = None  # entries ever added, at the last look
    anchors: list[Place] = field(default_factory=list)
    crc: int | None = None  # of the payload of the last entry; None: not known
    _loss_after: str = ""  # id behind which a loss of unknown size was reported

    @classmethod
    def parse(cls, stream: str, text: str) -> "Position":
        """The position that `cursor_text` wrote."""
        id, seen, run = (*text.split(" "), "?", "")[:3]
        run, _, crc = run.partition(":")
        place = Place(id, int(crc, 16) if crc else None)
        return cls(stream, id, run, None if seen == "?" else int(seen), anchors=[place], crc=place.crc)

    def advance(self, id: str, entries: int, payload: bytes | None = None) -> None:
        """Note that *entries* more were read, up to *id*, which has this *payload*."""
        self.id, self.crc = id, None if payload is None else crc32c(payload)
        if self.seen is not None:
            self.seen += entries

    def jump(self, id: str) -> None:
        """Go on behind *id*, wherever that is."""
        self.id, self.crc, self.seen = id, None, None

    def remember(self) -> None:
        """Keep the position as an anchor. Old anchors are thinned out, so that they reach far back."""
        if self.id != BEGINNING and self._place not in self.anchors[-1:]:
            self.anchors.append(self._place)
        if len(self.anchors) > ANCHORS:
            del self.anchors[1 : ANCHORS // 2 : 2]

    def compare(self, client: Any, run: str) -> Loss | None:
        """Compare the position with the stream on the server, and move it to where reading has to go on.

        run: run id of the server.  Returns what was lost, None when nothing was.
        """
        same, self.run = run[:8] == self.run[:8], run
        life = look(client, self.stream)
        known = self._unread(self.added)
        if life is None:
            return self._begin_again(known, "is gone") if self.id != BEGINNING else None
        self.added = life.added
        if self.id == BEGINNING:
            self.seen = None if life.added is None else life.added - life.length
            return None
        if id_pair(life.last) < id_pair(self.id) or self._place.is_another_on(client, self.stream):
            return self._go_back(client, life, known)
        if life.last == self.id:
            return self._at_end(life, same, known)
        if self._place.is_on(client, self.stream):
            return None
        if same and life.added is not None and self.seen is not None and life.added >= self.seen:
            return self._go_on_in(life)
        if any(anchor.is_on(client, self.stream) for anchor in reversed(self.anchors)):
            return self._go_on_in(life)
        return self._begin_again(known, "was made anew", life)

    @property
    def _place(self) -> Place:
        return Place(self.id, self.crc)

    def _go_back(self, client: Any, life: Life, known: int | None) -> Loss:
        """The server lost the newest entries: go on behind the newest one known that it still has, as it may have got others since."""
        after = self.id
        while self.anchors and not self.anchors[-1].is_on(client, self.stream):
            self.anchors.pop()
        if not self.anchors:
            return self._begin_again(known, "was made anew", life)
        (self.id, self.crc), self.seen = self.anchors[-1], None
        return Loss(self.stream, after, known, "has lost its newest entries")

    def _at_end(self, life: Life, same: bool, known: int | None) -> Loss | None:
        """The newest id is the one read last, so nothing is left to read. The counters show whether entries went unread before it."""
        seen, self.seen = self.seen, life.added
        if not same or life.added is None or seen is None or life.added == seen:
            return None
        if life.added < seen:  # reading went on in the new stream: its ids are greater
            return Loss(self.stream, self.id, known, "was made anew")
        return Loss(self.stream, self.id, life.added - seen, "was trimmed by somebody else")

    def _unread(self, added: int | None) -> int | None:
        return None if added is None or self.seen is None else max(0, added - self.seen)

    def _go_on_in(self, life: Life) -> Loss | None:
        """The same stream, but without the entry read last, which was trimmed."""
        after = self.id
        if life.added is None or self.seen is None:
            self.seen = None if life.added is None else life.added - life.length
            reported, self._loss_after = self._loss_after, after
            return None if reported == after else Loss(self.stream, after, None, "was trimmed by somebody else")
        trimmed = max(0, life.added - life.length - self.seen)
        self.seen += trimmed
        return Loss(self.stream, after, trimmed, "was trimmed by somebody else") if trimmed else None

    def _begin_again(self, known: int | None, why: str, life: Life | None = None) -> Loss:
        loss = Loss(self.stream, self.id, known, why)
        self.id, self.crc, self.anchors = BEGINNING, None, []
        self.seen = 0 if life is None or life.added is None else life.added - life.length
        return loss


def look(client: Any, stream: str) -> Life | None:
    """What the server says of *stream*; None when the stream does not exist."""
    try:
        info = client.xinfo_stream(stream)
    except ResponseError as error:
        if "no such key" in str(error):
            return None
        raise
    found = {_text(key): value for key, value in info.items()}
    deleted = found.get("max-deleted-entry-id")
    return Life(_text(found["last-generated-id"]), found.get("entries-added"), found["length"], deleted and _text(deleted))


def payload_at(client: Any, stream: str, id: str) -> bytes | None:
    """The payload of an entry; None where the server does not have it."""
    found = client.xrange(stream, id, id, count=1)
    return found[0][1].get(FIELD, b"") if found else None


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else value
