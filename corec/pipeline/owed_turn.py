"""A turn that is folded and that the store has to take."""
import logging
from typing import Any

from corec.common.clock import Clock
from corec.common.trouble import Trouble
from corec.engine import Engine
from corec.engine.outcome import Outcome
from corec.errors import CoreCError, DamagedFile, FenceLost
from corec.pipeline.plugin_entries import Sent
from corec.pipeline.recovery import commit
from corec.storage.base import TurnRecord
from corec.storage.sqlite.store import SqliteStore

log = logging.getLogger("corec.node.pipeline")

#: Pause before a commit that failed is tried again.
RETRY_S = 0.5


class OwedTurn:
    """Nothing is folded before it is committed.  Meanwhile the log goes on accepting readings, within its bound."""

    def __init__(self, turn: TurnRecord, outcome: Outcome, sent: list[Sent], record: dict[str, Any], clock: Clock) -> None:
        """record: what the pipeline knows of the turn."""
        self.turn, self.outcome, self.sent, self.record = turn, outcome, sent, record
        self.waits = False  # the store did not take it at once
        self.began, self._due, self._clock = clock.steady_s(), 0.0, clock

    def is_committed(self, store: SqliteStore, engine: Engine, trouble: Trouble, *, last: bool) -> bool:
        """Try to commit it, if it is time to; last: raise the error where that fails, as there is no later try."""
        if self._clock.steady_s() < self._due and not last:
            return False
        try:
            commit(store, self.turn, self.outcome, engine, self.sent)
        except (DamagedFile, FenceLost):
            raise
        except CoreCError as error:
            trouble.failed(f"turn {self.turn.turn} is not committed yet", error)
            if last:
                raise type(error)(f"turn {self.turn.turn} was not committed before the stop; the journal holds its readings",
                                  detail=error.text, hint=error.hint) from error  # fmt: skip
            self._due = self._clock.steady_s() + RETRY_S
            return False
        trouble.recovered()
        return True
