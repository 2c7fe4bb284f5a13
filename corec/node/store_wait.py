"""A start without the store's server: readings are accepted while this thread tries to open the store."""
import logging
from collections.abc import Callable

from corec.common.clock import Clock
from corec.common.retrying_thread import RetryingThread
from corec.common.trouble import Trouble
from corec.errors import CoreCError, ServerAway

log = logging.getLogger("corec.node.waiting")


class StoreWait(RetryingThread):
    """Tries until the store opens, or fails for any reason but an absent server."""

    again_s = 0.3

    def __init__(self, instance: str, problem: ServerAway, open_store: Callable[[], None], *, trouble: Trouble,
                 on_failure: Callable[[], None], clock: Clock) -> None:  # fmt: skip
        """problem: why the store did not open at the start.  open_store: raises CoreCError where it does not now.
        on_failure: called once, where the store cannot be opened at all; then `failure` says why.
        """
        super().__init__("store-wait", f"CoreCNucleus-{instance}", log, clock=clock)
        self._trouble = trouble
        self._problem: ServerAway | None = problem
        self._open_store, self._on_failure = open_store, on_failure
        self.failure: CoreCError | None = None

    def _pass(self) -> None:
        if problem := self._problem:
            self._problem = None
            raise problem
        self._open_store()
        self.ask_to_stop()

    def _failed(self, error: CoreCError) -> None:
        if isinstance(error, ServerAway):
            self._trouble.failed("the store is waited for, readings are accepted meanwhile", error)
            return
        log.error("[%s] %s", self._who, error)
        self.failure = error
        self.ask_to_stop()
        self._on_failure()
