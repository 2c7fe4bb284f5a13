"""A start without the store's server: readings are accepted while this thread tries to open the store."""
import logging
import threading
from collections.abc import Callable

from corec.common.trouble import Trouble
from corec.errors import CoreCError, ServerAway

log = logging.getLogger("corec.node.waiting")

#: Seconds between two tries.
EVERY_S = 0.3


class StoreWait:
    """Tries until the store opens, fails for any reason but an absent server, or *over* is set."""

    def __init__(self, instance: str, problem: ServerAway, open_store: Callable[[], None], *, trouble: Trouble,
                 over: threading.Event) -> None:  # fmt: skip
        """problem: why the store did not open at the start.  open_store: raises CoreCError where it does not now.
        over: ends the wait; it is set here where the store cannot be opened at all.
        """
        self._instance, self._problem, self._open_store, self._trouble, self._over = instance, problem, open_store, trouble, over
        self._thread = threading.Thread(target=self._run, name="store-wait")
        self.failure: CoreCError | None = None

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        problem: CoreCError = self._problem
        while isinstance(problem, ServerAway):
            self._trouble.failed("the store is waited for, readings are accepted meanwhile", problem)
            if self._over.wait(EVERY_S):
                return
            try:
                self._open_store()
                return
            except CoreCError as error:
                problem = error
        log.error("[CoreCNucleus-%s] %s", self._instance, problem)
        self.failure = problem
        self._over.set()
