"""A start without the server of the store: readings are accepted into the journal, and folded when it comes."""
import logging
import threading
from typing import TYPE_CHECKING

from corec.errors import CoreCError, ServerAway
from corec.pipeline.recovery import Opened, require_reach
from corec.storage.open_store import probe

if TYPE_CHECKING:
    from corec.nucleus import CoreCNucleus

log = logging.getLogger("corec.node.waiting")

#: The server is asked for this often.
EVERY_S = 0.3


class StoreWait:
    """Waits in a thread of its own until the node can be opened as a whole, or has to end."""

    def __init__(self, nucleus: "CoreCNucleus", problem: ServerAway) -> None:
        self._nucleus, self._problem = nucleus, problem
        self._last = nucleus.journal.last   # where the journal ended before anything was accepted
        self._thread = threading.Thread(target=self._run, name="store-wait")
        self.failure: CoreCError | None = None

    def start(self) -> None:
        """Begin to wait."""
        self._thread.start()

    def stop(self) -> None:
        """After the node was asked to end."""
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        problem: CoreCError = self._problem
        while isinstance(problem, ServerAway):
            self._nucleus.pipeline.trouble.met("the store is waited for, readings are accepted meanwhile", problem)
            if self._nucleus.over.wait(EVERY_S):
                return
            try:
                self._nucleus.fold(self._open())
                return
            except CoreCError as error:
                problem = error
        log.error("[CoreCNucleus-%s] %s", self._nucleus.config.instance_id, problem)
        self.failure = problem
        self._nucleus.ask_to_stop()

    def _open(self) -> Opened:
        nucleus = self._nucleus
        probe(nucleus.config)
        opened = nucleus.open(nucleus.journal)
        require_reach(nucleus.config, opened, self._last)
        nucleus.pipeline.trouble.over()
        nucleus.take(opened)
        return opened
