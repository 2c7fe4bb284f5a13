"""Turns the first Ctrl-C into a flag, which a command checks between two steps."""

import signal
import time
from types import FrameType

#: Longest sleep in s without a look at the flag.
LOOK_S = 0.05


class Interrupt:
    """A context in which the first Ctrl-C only sets `asked`; a second one ends the command at once."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> "Interrupt":
        self._before = signal.getsignal(signal.SIGINT)
        if self._before != signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *failure: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def sleep_until(self, due: float) -> None:
        """Sleep until time.monotonic() is *due* or `asked` is set."""
        while not self.asked and (left := due - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_S))

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, self._before)
