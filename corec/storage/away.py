"""The store of a node that started before its PostgreSQL: empty, and every read fails."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from corec.errors import ServerAway
from corec.storage.base import StoreState, TurnRecord


class AwayStore:
    """Stands in until the server answers. Nothing is folded meanwhile, so nothing is committed."""

    state = StoreState(0, 0, {})
    salvaged: Sequence[TurnRecord] = ()

    def __init__(self, problem: ServerAway) -> None:
        self.problem = problem

    @contextmanager
    def reader(self) -> Iterator[Any]:
        raise self.problem
        yield

    def run(self, now: int, log_first: int, *, boot_ms: int) -> bool:
        """Does nothing: there are no rows to drop."""
        return False

    def close(self) -> None:
        """Do nothing, since nothing is open."""
