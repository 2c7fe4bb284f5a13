"""The store of a node that started before its server: it holds nothing, and says so."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from corec.errors import ServerAway
from corec.storage.base import StoreState, TurnRecord


class AwayStore:
    """Stands in until the server comes; nothing is folded meanwhile, so nothing is committed."""

    state = StoreState(0, 0, {})
    salvaged: Sequence[TurnRecord] = ()

    def __init__(self, problem: ServerAway) -> None:
        self.problem = problem

    @contextmanager
    def reader(self) -> Iterator[Any]:
        raise self.problem
        yield

    def run(self, now: int, log_first: int) -> None:
        """No house to keep."""

    def close(self) -> None:
        """Nothing to let go of."""
