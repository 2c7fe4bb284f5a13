"""High-water marks of producers: what keeps a batch that is sent again from counting twice."""
from collections import OrderedDict
from collections.abc import Iterable, Sequence

#: Producers remembered; the one heard longest ago is forgotten first.
MOST_PRODUCERS = 65_536
#: Marks in the record of one turn, about 50 bytes each.
MOST_NOTED = 1_000
#: Where the count of gaps stops: producers choose their numbers, and a snapshot keeps it in 64 bits.
MOST_GAPS = 2**63
#: Numbers from here on are places in an order, as of bare frames that came by the front door: what they leave out is no reading.
PLACES = 2**63


class Marks:
    """For each (producer, boot epoch), the sequence number expected next."""

    def __init__(self) -> None:
        self._next: OrderedDict[tuple[int, int], int] = OrderedDict()
        self._fresh: OrderedDict[tuple[int, int], None] = OrderedDict()  # moved, and not yet given by `take_fresh`
        self.gaps = 0  # readings that producers numbered and nobody ever saw
        self.forgotten = 0  # producers dropped for want of room

    def repeated(self, producer: int, epoch: int, sequence: int, count: int) -> int:
        """How many of the *count* readings from *sequence* on were seen before; moves the mark."""
        key = (producer, epoch)
        expected = self._next.pop(key, sequence)
        if sequence < PLACES:
            self.gaps = min(self.gaps + max(0, sequence - expected), MOST_GAPS)
        self._move(key, max(expected, sequence + count))
        self._fresh[key] = None
        return min(max(0, expected - sequence), count)

    def take_fresh(self) -> list[list[int]]:
        """The marks that moved and were not given yet, as `to_list` has them: of too many, the rest comes the next time."""
        keys = [self._fresh.popitem(last=False)[0] for _ in range(min(len(self._fresh), MOST_NOTED))]
        return [[*key, self._next[key]] for key in keys]

    def raise_to(self, rows: Iterable[Sequence[int]]) -> None:
        """Take over what `take_fresh` gave of a turn, where the batches themselves did not say as much; nothing is lowered."""
        for producer, epoch, expected in rows:
            if expected > self._next.get((producer, epoch), 0):
                self._move((producer, epoch), expected)

    def _move(self, key: tuple[int, int], expected: int) -> None:
        self._next[key] = expected
        if len(self._next) > MOST_PRODUCERS:
            oldest, _ = self._next.popitem(last=False)
            self._fresh.pop(oldest, None)
            self.forgotten += 1

    def to_list(self) -> list[list[int]]:
        """The marks, oldest first."""
        return [[producer, epoch, expected] for (producer, epoch), expected in self._next.items()]

    @classmethod
    def from_list(cls, rows: list[list[int]], gaps: int, forgotten: int) -> "Marks":
        """The marks that `to_list` gave."""
        marks = cls()
        marks._next = OrderedDict(((producer, epoch), expected) for producer, epoch, expected in rows)
        marks.gaps, marks.forgotten = gaps, forgotten
        return marks
