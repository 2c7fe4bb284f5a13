"""The thread that drives a node's pipeline."""
import logging
import threading
import time
from collections.abc import Callable

from corec.pipeline.turns import EAGER_LOAD, Pipeline

log = logging.getLogger("corec.node.loop")

#: After a stop is asked for, accepted readings are folded for at most this long.
STOP_WITHIN_S = 0.3
#: The last commit and a snapshot may take this much longer.
SNAPSHOT_WITHIN_S = 0.35


class PipelineThread:
    """Steps a pipeline until it is asked to stop, or fails."""

    def __init__(self, pipeline: Pipeline, *, instance: str, on_failure: Callable[[BaseException], None]) -> None:
        self._pipeline, self._instance, self._on_failure = pipeline, instance, on_failure
        self._thread = threading.Thread(target=self._run, name="pipeline")
        self._stop_by = 0.0
        self.failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Fold what fits into STOP_WITHIN_S, finish a snapshot that was begun, and join the thread."""
        self._stop_by = time.monotonic() + STOP_WITHIN_S
        self._pipeline.stopping = True
        self._pipeline.woken.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._is_done():
                self._pass()
            self._pipeline.finish(self._stop_by + SNAPSHOT_WITHIN_S)
        except BaseException as error:
            self.failure = error
            log.error("[Pipeline-%s] %s", self._instance, error)
            self._on_failure(error)
        self._pipeline.give_up()

    def _is_done(self) -> bool:
        """Whether to end: a stop was asked for, and nothing is left to fold or the time is up.  The journal keeps the rest."""
        return self._pipeline.stopping and not (self._pipeline.has_work and time.monotonic() < self._stop_by)

    def _pass(self) -> None:
        began = time.monotonic()
        self._pipeline.step()
        busy = time.monotonic() - began
        self._rest(self._pipeline.rest_s(busy))
        self._pipeline.measure_load(busy, time.monotonic() - began)

    def _rest(self, seconds: float) -> None:
        if self._pipeline.stopping or not seconds:
            return
        if seconds < 1.0 and self._pipeline.load > EAGER_LOAD:
            time.sleep(seconds)
        else:
            self._pipeline.woken.wait(seconds)
        self._pipeline.woken.clear()
