"""What became of each producer's readings, and which sequence number is expected next: a batch that is sent again counts once."""
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from operator import add
from typing import NamedTuple

#: Producers whose account is kept; the one that sent nothing for longest is dropped first.
MOST_PRODUCERS = 65_536
#: Accounts in the record of one turn, about 70 bytes each.
MOST_NOTED = 1_000
#: Where the count of gaps stops: producers choose their numbers, and a snapshot keeps it in 64 bits.
MOST_GAPS = 2**63
#: Sequence numbers from here on tell the order of readings but do not count them: a number left out is no lost reading.
ORDER_NUMBERS = 2**63


class Account(NamedTuple):
    """Readings of one producer by what became of them, since its first batch."""

    next: int  # sequence number expected next; readings before it are in the counts below, unless they never came
    taken: int = 0  # folded
    late: int = 0
    malformed: int = 0
    channel: int = 0
    id: int = 0
    skew: int = 0
    repeated: int = 0  # came once more, and were not counted again


#: The counts of an account, in its order.
COUNTED = Account._fields[1:]


class Marks:
    """The accounts of all producers, each known by (producer, boot epoch).

    gaps: readings that were numbered and never came.  forgotten: producers dropped for want of room.
    """

    def __init__(self, rows: Iterable[Sequence[int]] = (), gaps: int = 0, forgotten: int = 0, *,
                 most_noted: int = MOST_NOTED, most_producers: int = MOST_PRODUCERS) -> None:  # fmt: skip
        """rows: as `to_list` gave them; those of an earlier CoreC end behind the number expected next."""
        self._most_noted, self._most_producers = most_noted, most_producers
        self._accounts = OrderedDict(((producer, epoch), Account(*account)) for producer, epoch, *account in rows)
        self._fresh: OrderedDict[tuple[int, int], None] = OrderedDict()  # changed since `take_fresh` gave them
        self._committed: dict[tuple[int, int], Account] = {}
        self._changed = dict.fromkeys(self._accounts)  # since `commit`
        self.gaps = gaps
        self.forgotten = forgotten

    def repeated(self, producer: int, epoch: int, sequence: int, count: int) -> int:
        """How many of the *count* readings from *sequence* on came before."""
        known = self._accounts.get((producer, epoch))
        return min(max(0, known.next - sequence), count) if known else 0

    def settle(self, producer: int, epoch: int, sequence: int, count: int, became: Sequence[int] = ()) -> None:
        """Note that the *count* readings from *sequence* on came.  became: how many of them count as what, in the order of COUNTED."""
        key, end = (producer, epoch), sequence + count
        known = self._accounts.get(key) or Account(sequence)
        expected, *counts = known
        if expected < sequence < ORDER_NUMBERS:
            self.gaps = min(self.gaps + sequence - expected, MOST_GAPS)
        if became:
            counts = map(add, counts, became)
        self._keep(key, Account._make((end if end > expected else expected, *counts)))
        self._fresh[key] = None

    def correct(self, producer: int, epoch: int, became: Sequence[int]) -> None:
        """Add to the counts of an account that is still known.  became: as in `settle`, also negative."""
        if known := self._accounts.get((producer, epoch)):
            self.settle(producer, epoch, known.next, 0, became)

    def account(self, producer: int, epoch: int) -> Account | None:
        """The account of a producer; None where it is not known, or not any more."""
        return self._accounts.get((producer, epoch))

    def committed_account(self, producer: int, epoch: int) -> Account | None:
        """The same as it was at the last `commit`; from any thread."""
        return self._committed.get((producer, epoch))

    def commit(self) -> list[list[int]]:
        """Note that all readings so far are in the store; returns the accounts that changed since the last call, as in `to_list`."""
        changed, self._changed = self._changed, {}
        for key in changed:
            self._committed[key] = self._accounts[key]
        return [[*key, *self._accounts[key]] for key in changed]

    def take_fresh(self) -> list[list[int]]:
        """The accounts that changed and were not given yet, as in `to_list`, up to *most_noted*; the next call gives the rest."""
        keys = [self._fresh.popitem(last=False)[0] for _ in range(min(len(self._fresh), self._most_noted))]
        return [[*key, *self._accounts[key]] for key in keys]

    def raise_to(self, rows: Iterable[Sequence[int]]) -> None:
        """Raise accounts to those that `take_fresh` gave of a turn; no number is lowered."""
        for producer, epoch, *given in rows:
            account, known = Account(*given), self._accounts.get((producer, epoch)) or Account(0)
            raised = Account(*map(max, account, known))
            if raised != known:
                self._keep((producer, epoch), raised)

    def _keep(self, key: tuple[int, int], account: Account) -> None:
        self._accounts[key] = account
        self._accounts.move_to_end(key)
        self._changed[key] = None
        if len(self._accounts) > self._most_producers:
            oldest, _ = self._accounts.popitem(last=False)
            for others in (self._fresh, self._committed, self._changed):
                others.pop(oldest, None)
            self.forgotten += 1

    def to_list(self) -> list[list[int]]:
        """[producer, epoch, and the numbers of its account] of each; the one that sent nothing for longest is first."""
        return [[*key, *account] for key, account in self._accounts.items()]
