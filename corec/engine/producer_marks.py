"""Which sequence number is expected next of each producer: so a batch that is sent again does not count twice."""
from collections import OrderedDict
from collections.abc import Iterable, Sequence

#: Producers whose mark is kept; the one that sent nothing for longest is dropped first.
MOST_PRODUCERS = 65_536
#: Marks in the record of one turn, about 50 bytes each.
MOST_NOTED = 1_000
#: Where the count of gaps stops: producers choose their numbers, and a snapshot keeps it in 64 bits.
MOST_GAPS = 2**63
#: Sequence numbers from here on tell the order of readings but do not count them: a number left out is no lost reading.
ORDER_NUMBERS = 2**63


class Marks:
    """The sequence number expected next of each (producer, boot epoch).

    gaps: readings that were numbered and never came.  forgotten: producers dropped for want of room.
    """

    def __init__(self, rows: Iterable[Sequence[int]] = (), gaps: int = 0, forgotten: int = 0, *,
                 most_noted: int = MOST_NOTED, most_producers: int = MOST_PRODUCERS) -> None:  # fmt: skip
        """rows: as `to_list` gave them."""
        self._most_noted, self._most_producers = most_noted, most_producers
        self._next = OrderedDict(((producer, epoch), expected) for producer, epoch, expected in rows)
        self._fresh: OrderedDict[tuple[int, int], None] = OrderedDict()  # moved since `take_fresh` gave them
        self.gaps = gaps
        self.forgotten = forgotten

    def repeated(self, producer: int, epoch: int, sequence: int, count: int) -> int:
        """How many of the *count* readings from *sequence* on came before; moves the mark."""
        key = (producer, epoch)
        expected = self._next.pop(key, sequence)
        if sequence < ORDER_NUMBERS:
            self.gaps = min(self.gaps + max(0, sequence - expected), MOST_GAPS)
        self._move(key, max(expected, sequence + count))
        self._fresh[key] = None
        return min(max(0, expected - sequence), count)

    def take_fresh(self) -> list[list[int]]:
        """The marks that moved and were not given yet, as in `to_list`, up to *most_noted*; the next call gives the rest."""
        keys = [self._fresh.popitem(last=False)[0] for _ in range(min(len(self._fresh), self._most_noted))]
        return [[*key, self._next[key]] for key in keys]

    def raise_to(self, rows: Iterable[Sequence[int]]) -> None:
        """Raise marks to those that `take_fresh` gave of a turn; none is lowered."""
        for producer, epoch, expected in rows:
            if expected > self._next.get((producer, epoch), 0):
                self._move((producer, epoch), expected)

    def _move(self, key: tuple[int, int], expected: int) -> None:
        self._next[key] = expected
        if len(self._next) > self._most_producers:
            oldest, _ = self._next.popitem(last=False)
            self._fresh.pop(oldest, None)
            self.forgotten += 1

    def to_list(self) -> list[list[int]]:
        """[producer, epoch, number expected next] of each; the one that sent nothing for longest is first."""
        return [[producer, epoch, expected] for (producer, epoch), expected in self._next.items()]
