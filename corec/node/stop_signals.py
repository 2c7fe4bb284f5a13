"""SIGINT and SIGTERM as calls of a thread."""
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

NOBODY = 0


@contextmanager
def stop_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Have *stop* called at SIGINT and SIGTERM, from a thread; at the end they do again what they did before.

    What a handler interrupts may hold the lock that it wants itself, of an event for one, and would never give it
    back.  A SimpleQueue may be put into at any place.
    """
    arrived: queue.SimpleQueue[int] = queue.SimpleQueue()

    def attend() -> None:
        while arrived.get() != NOBODY:
            stop()

    threading.Thread(target=attend, name="signals", daemon=True).start()
    before = {number: signal.signal(number, lambda caught, _: arrived.put(caught)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        arrived.put(NOBODY)
