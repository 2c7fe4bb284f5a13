"""Turns SIGINT and SIGTERM into calls from a thread."""
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

NOBODY = 0


@contextmanager
def stop_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Have *stop* called from a thread at SIGINT and SIGTERM; the earlier handlers are restored at the end.

    A signal handler may interrupt code that holds the lock of an Event, so it must not set one.  Putting into a SimpleQueue
    is safe there.
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
