"""What became of the readings of one sender, put together from the accounts that nodes keep."""
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from corec.common.text import counted
from corec.engine.producer_marks import Account

#: Causes for which a node refuses a reading -> what they mean to who sent it.
MEANINGS = {
    "late": "older than retencion_dias",
    "malformed": "with an estado that is neither 0 nor 1, or damaged",
    "channel": "on another canal than that of the block that has the id",
    "id": "with an id that no block has",
    "skew": "older than max_skew, or further ahead than max_adelanto",
}


class ProducerPart(NamedTuple):
    """What a sender sent to one stream."""

    stream: str
    producer: int
    epoch: int
    end: int  # its readings have the numbers below this one
    sent: int  # without those that were numbered and had no room in the tail


class Receipt(NamedTuple):
    """Readings by what became of them; sent == taken + refused + waiting + missing."""

    sent: int
    taken: int
    refused: dict[str, int]  # cause -> readings; causes are the keys of MEANINGS
    waiting: int  # no node has counted them yet
    missing: int  # lost, or counted by a CoreC that kept no accounts
    earlier: int  # of all these, had been counted before this sender was opened; they count once

    @classmethod
    def none(cls) -> "Receipt":
        """That of no readings."""
        return cls(0, 0, {}, 0, 0, 0)

    def __str__(self) -> str:
        parts = [(self.taken, "taken"), *((count, cause) for cause, count in self.refused.items()),
                 (self.waiting, "not counted yet"), (self.missing, "unaccounted for")]  # fmt: skip
        became = ", ".join(f"{count:,} {what}" for count, what in parts if count)
        again = f" ({self.earlier:,} of them earlier)" if self.earlier else ""
        return f"{counted(self.sent, 'reading')} sent" + (f": {became}" if became else "") + again

    @property
    def problems(self) -> list[str]:
        """A line for each cause for which readings were refused."""
        return refusals(self.refused)


def refusals(refused: Mapping[str, int]) -> list[str]:
    """A line for each cause for which readings were refused.  refused: cause -> readings; causes are the keys of MEANINGS."""
    return [f"{counted(count, 'reading')} refused as {cause!r}: {MEANINGS[cause]}" for cause, count in refused.items() if count]


def receipt_of(parts: Iterable[tuple[ProducerPart, Account | None, Account | None]]) -> Receipt:
    """The sum over all streams of a sender: (part, its account, its account when the sender was opened)."""
    sent = taken = waiting = missing = earlier = 0
    refused = dict.fromkeys(MEANINGS, 0)
    for part, found, before in parts:
        account = found or Account(0)
        left = min(part.sent, max(0, part.end - account.next))
        known = account.taken + sum(getattr(account, cause) for cause in MEANINGS)
        sent, taken, waiting = sent + part.sent, taken + account.taken, waiting + left
        missing, earlier = missing + max(0, part.sent - left - known), earlier + min(before.next if before else 0, part.sent)
        for cause in MEANINGS:
            refused[cause] += getattr(account, cause)
    return Receipt(sent, taken, {cause: count for cause, count in refused.items() if count}, waiting, missing, earlier)
