"""Calls that run beside their caller, each in one step of a simulated world."""
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from corec.common.clock import Clock


class SimulatedPool(Executor):
    """Each call is a loop of its own with one step."""

    def __init__(self, clock: Clock, name: str) -> None:
        self._clock, self._name = clock, name
        self._calls: list[Future[Any]] = []

    def submit(self, call: Callable[..., Any], /, *given: Any, **named: Any) -> "Future[Any]":
        done: Future[Any] = Future()

        def step() -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                done.set_result(call(*given, **named))
            except Exception as error:
                done.set_exception(error)

        self._calls = [each for each in self._calls if not each.done()] + [done]
        self._clock.drive(step, name=self._name).start()
        return done

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        for each in self._calls if cancel_futures else ():
            each.cancel()
        while wait and not all(each.done() for each in self._calls):
            self._clock.sleep(0.01)
