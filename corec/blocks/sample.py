"""What the functions of a block gave in one pass, before it is folded."""
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from corec._core.calls import judge
from corec.entities.functions import LARGEST, BadReading, number_of


class Job(NamedTuple):
    """A call that may have to be awaited: of one entity, or of all that share a vectorised function."""

    slots: int | np.ndarray
    call: Callable[[], Any]

    @property
    def key(self) -> int:
        """One of its slots: an entity is in one job only."""
        return self.slots if isinstance(self.slots, int) else int(self.slots[0])


class Sample:
    """The values of one pass, float64[n], NaN where there is none, and why there is none.

    failed: slot -> the error.  silent: slots without a reading, because none came or the processor filtered it out.
    jobs: calls of functions that turned out to give something to await.  Once it is closed: narrow, the values as
    float32[n]; good, bool[n]; whole, whether all are good.
    """

    __slots__ = ("closed", "failed", "good", "jobs", "narrow", "silent", "values", "whole")

    def __init__(self, entities: int) -> None:
        self.values, self.narrow, self.good = np.empty(entities), np.empty(entities, np.float32), np.empty(entities, bool)
        self.values.fill(np.nan)
        self.whole = True
        self.failed: dict[int, BaseException] = {}
        self.silent: list[int] = []
        self.jobs: list[Job] = []
        self.closed = False

    def put(self, slots: int | np.ndarray, got: Any) -> None:
        """Store what a function gave; BadReading where that is no value.  Nothing is stored once the sample is closed."""
        if self.closed:
            return
        if isinstance(slots, int):
            if inspect.isawaitable(got):
                self.jobs.append(Job(slots, lambda: got))
            else:
                self.values[slots] = number_of(got)
        else:
            self.values[slots] = _array_of(got, len(slots))

    def fail(self, slots: int | np.ndarray, error: BaseException) -> None:
        """Mark the readings of *slots* as failed; the first reason stays."""
        for slot in (slots,) if isinstance(slots, int) else slots.tolist():
            self.values[slot] = np.nan
            self.failed.setdefault(slot, error)

    def run(self, slots: int | np.ndarray, call: Callable[[], Any]) -> None:
        """Store what one call gives, or that it failed."""
        try:
            self.put(slots, call())
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            self.fail(slots, error)

    def close(self) -> None:
        """Let nothing more in, and separate the good values from the others."""
        self.closed = True
        if judge(self.values, LARGEST, self.narrow, self.good.view(np.uint8)):
            self.whole = False
            self._explain(np.flatnonzero(~self.good))

    def answered(self) -> np.ndarray:
        """uint32[m]: the slots that gave a reading, good or failed."""
        answered = np.ones(len(self.values), bool)
        answered[self.silent] = False
        return np.flatnonzero(answered).astype(np.uint32)

    def _explain(self, slots: np.ndarray) -> None:
        explained = self.failed.keys() | self.silent
        for slot, value in zip(slots.tolist(), self.values[slots].tolist(), strict=True):
            if slot not in explained:
                self.failed[slot] = BadReading("not finite", f"expected a finite number of at most {LARGEST:g}, got {value:g}")


def _array_of(got: Any, length: int) -> np.ndarray:
    try:
        values = np.asarray(got, np.float64)
    except (TypeError, ValueError):
        raise BadReading("no array", f"expected an array of {length} numbers, got {type(got).__name__}: {got!r:.60}") from None
    if values.shape != (length,):
        raise BadReading("shape", f"expected an array of {length} numbers, got one of shape {values.shape}")
    return values
