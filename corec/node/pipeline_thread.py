"""The thread that drives a node's pipeline."""
import logging
from collections.abc import Callable

from corec.common.clock import Clock
from corec.pipeline.turns import EAGER_LOAD, Pipeline

log = logging.getLogger("corec.node.loop")

#: After a stop is asked for, accepted readings are folded for at most this long.
STOP_WITHIN_S = 0.3
#: The last commit and a snapshot may take this much longer.
SNAPSHOT_WITHIN_S = 0.35


class PipelineThread:
    """Steps a pipeline until it is asked to stop, or fails."""

    def __init__(self, pipeline: Pipeline, *, instance: str, on_failure: Callable[[BaseException], None], clock: Clock) -> None:
        self._pipeline, self._instance, self._on_failure, self._clock = pipeline, instance, on_failure, clock
        self._driver = clock.drive(self._step, name="pipeline", woken=pipeline.woken, daemon=False)
        self._stop_by = 0.0
        self._began, self._busy = clock.steady_s(), 0.0  # of the pass before
        self.failure: BaseException | None = None
        self._to_raise: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        """Have the thread end with *error* before its next step; from any thread."""
        self._to_raise = error
        self._pipeline.woken.set()

    def start(self) -> None:
        self._driver.start()

    def stop(self) -> None:
        """Fold what fits into STOP_WITHIN_S, finish a snapshot that was begun, and join the thread."""
        self._stop_by = self._clock.steady_s() + STOP_WITHIN_S
        self._pipeline.stopping = True
        self._pipeline.woken.set()
        self._driver.join()

    def _step(self) -> float | None:
        try:
            if self._to_raise:
                raise self._to_raise
            if not self._is_done():
                return self._pass()
            self._pipeline.finish(self._stop_by + SNAPSHOT_WITHIN_S)
        except BaseException as error:
            self.failure = error
            log.error("[Pipeline-%s] %s", self._instance, error)
            self._on_failure(error)
        self._pipeline.give_up()
        return None

    def _is_done(self) -> bool:
        """Whether to end: a stop was asked for, and nothing is left to fold or the time is up.  The journal keeps the rest."""
        return self._pipeline.stopping and not (self._pipeline.has_work and self._clock.steady_s() < self._stop_by)

    def _pass(self) -> float:
        """Step the pipeline once; returns the seconds until the next time."""
        began = self._clock.steady_s()
        self._pipeline.measure_load(self._busy, began - self._began)
        self._pipeline.step()
        self._began, self._busy = began, self._clock.steady_s() - began
        rest = self._pipeline.rest_s(self._busy)
        if self._pipeline.stopping or not rest:
            return 0.0
        if rest < 1.0 and self._pipeline.load > EAGER_LOAD:
            self._clock.sleep(rest)  # what comes meanwhile is folded together
            return 0.0
        return rest
