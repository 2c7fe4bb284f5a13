"""Bytes as a row of choices, and what choices do to a sample.  One input is one row: it can be run again."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

#: Numbers that lengths, counts and offsets are wrong with.
ODD = (0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1)


class Choices:
    """Choices made by *data*; zeros behind its end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def number(self, size: int = 4) -> int:
        piece = self._data[self._at : self._at + size]
        self._at += size
        return int.from_bytes(piece, "big")

    def below(self, limit: int) -> int:
        return self.number(1 if limit <= 256 else 4) % max(limit, 1)

    def one_of(self, things: Sequence[T]) -> T:
        return things[self.below(len(things))]

    def some_bytes(self) -> bytes:
        return self.number(8).to_bytes(8, "big")[: 1 + self.below(8)]


def place(data: bytearray, choices: Choices) -> int:
    """A position in *data*; every other time in its first 64 bytes, where headers are."""
    return choices.below(min(len(data), 64) if choices.below(2) else len(data))


def stretch(data: bytearray, choices: Choices) -> slice:
    start = place(data, choices)
    return slice(start, start + 1 + choices.below(len(data) - start if choices.below(2) else 16))


def _flip(data: bytearray, choices: Choices) -> None:
    data[place(data, choices)] ^= 1 << choices.below(8)


def _overwrite(data: bytearray, choices: Choices) -> None:
    start, fresh = place(data, choices), choices.some_bytes()
    data[start : start + len(fresh)] = fresh


def _put_number(data: bytearray, choices: Choices) -> None:
    start, size, order = place(data, choices), choices.one_of((1, 2, 4, 8)), choices.one_of(("big", "little"))
    data[start : start + size] = (choices.one_of(ODD) % (1 << 8 * size)).to_bytes(size, order)


def _cut_out(data: bytearray, choices: Choices) -> None:
    del data[stretch(data, choices)]


def _cut_off(data: bytearray, choices: Choices) -> None:
    del data[place(data, choices) :]


def _clear(data: bytearray, choices: Choices) -> None:
    gone = stretch(data, choices)
    data[gone] = bytes(len(data[gone]))


def _repeat(data: bytearray, choices: Choices) -> None:
    piece, start = data[stretch(data, choices)], place(data, choices)
    data[start:start] = piece


def _copy_over(data: bytearray, choices: Choices) -> None:
    piece, start = data[stretch(data, choices)], place(data, choices)
    data[start : start + len(piece)] = piece


def _append(data: bytearray, choices: Choices) -> None:
    data += choices.some_bytes()


WAYS: tuple[Callable[[bytearray, Choices], None], ...] = (
    _flip, _overwrite, _put_number, _cut_out, _cut_off, _clear, _repeat, _copy_over, _append,
)  # fmt: skip


def mutated(sample: bytes, choices: Choices) -> bytes:
    """*sample* after one to four mutations; never longer than twice as long and 64 bytes."""
    data = bytearray(sample)
    for _ in range(1 + choices.below(4)):
        way = choices.one_of(WAYS) if data else _append
        way(data, choices)
    return bytes(data[: 2 * len(sample) + 64])
