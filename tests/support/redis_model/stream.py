"""A stream as Redis 7 keeps it: entries by id, and what XINFO tells of it."""
from bisect import bisect_left, bisect_right

Id = tuple[int, int]

MOST = 2**64 - 1
LOWEST, HIGHEST = (0, 0), (MOST, MOST)
#: Entries of a node of the server's tree: an approximate trim drops whole nodes.
NODE = 100
_INVALID = "ERR Invalid stream ID specified as stream command argument"
_TOO_SMALL = "ERR The ID specified in XADD is equal or smaller than the target stream top item"


class Stream:
    """Ids are pairs of numbers; the fields of an entry are a flat list of bytes."""

    def __init__(self) -> None:
        self.ids: list[Id] = []
        self.entries: dict[Id, list[bytes]] = {}
        self.last, self.deleted, self.added = LOWEST, LOWEST, 0
        self.size = 0  # bytes of fields
        self.first_id = LOWEST  # as the server records it: it is not brought up to date when an entry in the middle goes

    def __len__(self) -> int:
        return len(self.ids)

    def next_id(self, wanted: bytes, now_ms: int) -> Id:
        """The id that XADD gives for *wanted*: `*`, `ms-*` or an id.  ValueError with the server's words."""
        if self.last == HIGHEST:
            raise ValueError("ERR The stream has exhausted the last possible ID, unable to add more items")
        if wanted == b"*":
            return (now_ms, 0) if now_ms > self.last[0] else _after(self.last)
        if wanted.endswith(b"-*"):
            ms = number(wanted[:-2])
            if ms < self.last[0]:
                raise ValueError(_TOO_SMALL)
            return _after(self.last) if ms == self.last[0] and self.last != LOWEST else (ms, 1 if ms == 0 else 0)
        id = parse_id(wanted, 0)
        if id <= self.last:
            raise ValueError(_TOO_SMALL)
        return id

    def add(self, id: Id, fields: list[bytes]) -> None:
        self.ids.append(id)
        self.entries[id] = fields
        self.last, self.added = id, self.added + 1
        self.size += sum(map(len, fields))
        if len(self.ids) == 1:
            self.first_id = id

    def span(self, begin: Id, end: Id) -> list[Id]:
        return self.ids[bisect_left(self.ids, begin) : bisect_right(self.ids, end)]

    def behind(self, id: Id, count: int) -> list[Id]:
        start = bisect_right(self.ids, id)
        return self.ids[start : start + count]

    def delete(self, id: Id) -> bool:
        if id not in self.entries:
            return False
        self._drop(id)
        self.ids.remove(id)
        self.deleted = max(self.deleted, id)
        if id == self.first_id or not self.ids:
            self._record_first()
        return True

    def trim(self, drop: int, approximate: bool) -> int:
        """Drop the oldest *drop* entries; returns how many went."""
        if approximate:
            drop = drop // NODE * NODE
        for id in self.ids[:drop]:
            self._drop(id)
        del self.ids[:drop]
        if drop > 0:
            self._record_first()
        return max(0, drop)

    def _drop(self, id: Id) -> None:
        self.size -= sum(map(len, self.entries.pop(id)))

    def _record_first(self) -> None:
        self.first_id = self.ids[0] if self.ids else LOWEST


def _after(id: Id) -> Id:
    return (id[0], id[1] + 1) if id[1] < MOST else (id[0] + 1, 0)


def _before(id: Id) -> Id:
    if id == LOWEST:
        raise ValueError("ERR invalid end ID for the interval")
    return (id[0], id[1] - 1) if id[1] else (id[0] - 1, MOST)


def number(text: bytes) -> int:
    if not text.isdigit() or int(text) > MOST:
        raise ValueError(_INVALID)
    return int(text)


def parse_id(text: bytes, missing: int) -> Id:
    """missing: the second number where only the first is given."""
    first, dash, second = text.partition(b"-")
    return number(first), number(second) if dash else missing


def require_id(wanted: bytes) -> None:
    """ValueError where XADD cannot take *wanted*, whatever is in the stream."""
    if wanted.endswith(b"-*"):
        number(wanted[:-2])
    elif wanted != b"*" and parse_id(wanted, 0) == LOWEST:
        raise ValueError("ERR The ID specified in XADD must be greater than 0-0")


def parse_start(text: bytes) -> Id:
    if text == b"-":
        return LOWEST
    if text.startswith(b"("):
        start = parse_id(text[1:], 0)
        if start == HIGHEST:
            raise ValueError("ERR invalid start ID for the interval")
        return _after(start)
    return HIGHEST if text == b"+" else parse_id(text, 0)


def parse_end(text: bytes) -> Id:
    if text == b"+":
        return HIGHEST
    if text.startswith(b"("):
        return _before(parse_id(text[1:], MOST))
    return LOWEST if text == b"-" else parse_id(text, MOST)


def id_text(id: Id) -> bytes:
    return b"%d-%d" % id
