"""Failed readings in the log: once for each entity and kind of failure, by name."""
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from corec.entities.functions import BadReading

logger = logging.getLogger("BloqueSimbiotico")

#: Names in one line, and kinds of failures that get lines: a block that fails as a whole writes one line, not a thousand.
MAX_NAMES, MAX_KINDS = 10, 32


class FailureLog:
    """Logs the failures of one block, each entity once for each kind."""

    def __init__(self, component: str, ids: Sequence[str]) -> None:
        self._component, self._ids = component, ids
        self._logged: dict[str, set[int]] = {}

    def report(self, failed: Mapping[int, BaseException]) -> None:
        """Log the failures (slot -> error) that are new."""
        fresh: dict[str, list[int]] = {}
        for slot, error in sorted(failed.items()):
            kind = kind_of(error)
            if slot not in self._logged.get(kind, ()) and (kind in self._logged or len(self._logged) < MAX_KINDS):
                self._logged.setdefault(kind, set()).add(slot)
                fresh.setdefault(kind, []).append(slot)
        for slots in fresh.values():
            logger.warning("[%s] %s failed: %s", self._component, self._names(slots), describe_error(failed[slots[0]]))

    def _names(self, slots: list[int]) -> str:
        names = ", ".join(self._ids[slot] for slot in slots[:MAX_NAMES])
        more = len(slots) - MAX_NAMES
        return f"{names} and {more:,} more" if more > 0 else names


def kind_of(error: BaseException) -> str:
    """Failures of the same kind are logged once for an entity: the kind of a BadReading, else the name of the exception."""
    return error.kind if isinstance(error, BadReading) else type(error).__name__


def describe_error(error: BaseException) -> str:
    """The error in one line, with the line of the function that raised it."""
    if isinstance(error, BadReading):
        return str(error)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return text if trace is None else f"{text} ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
