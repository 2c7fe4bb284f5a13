"""SIGINT and SIGTERM as calls of a thread."""
import queue
import signal
import threading
from collections.abc import Callable


def on_stop_signals(stop: Callable[[], None]) -> None:
    """Have *stop* called at SIGINT and SIGTERM, from a thread.

    What a handler interrupts may hold the lock that it wants itself, of an event for one, and would never give it
    back.  A SimpleQueue may be put into at any place.
    """
    arrived: queue.SimpleQueue[int] = queue.SimpleQueue()

    def attend() -> None:
        while arrived.get():
            stop()

    threading.Thread(target=attend, name="signals", daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda caught, _: arrived.put(caught))
