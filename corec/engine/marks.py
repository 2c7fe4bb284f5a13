"""High-water marks of producers: what keeps a batch that is sent again from counting twice."""
from collections import OrderedDict

#: Producers remembered; the one heard longest ago is forgotten first.
MOST_PRODUCERS = 65_536
#: Where the count of gaps stops: producers choose their numbers, and a snapshot keeps it in 64 bits.
MOST_GAPS = 2**63


class Marks:
    """For each (producer, boot epoch), the sequence number expected next."""

    def __init__(self) -> None:
        self._next: OrderedDict[tuple[int, int], int] = OrderedDict()
        self.gaps = 0  # readings that producers numbered and nobody ever saw
        self.forgotten = 0  # producers dropped for want of room

    def repeated(self, producer: int, epoch: int, sequence: int, count: int) -> int:
        """How many of the *count* readings from *sequence* on were seen before; moves the mark."""
        key = (producer, epoch)
        expected = self._next.pop(key, sequence)
        self.gaps = min(self.gaps + max(0, sequence - expected), MOST_GAPS)
        self._next[key] = max(expected, sequence + count)
        if len(self._next) > MOST_PRODUCERS:
            self._next.popitem(last=False)
            self.forgotten += 1
        return min(max(0, expected - sequence), count)

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
