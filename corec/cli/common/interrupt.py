"""Ctrl-C as a wish to end that is heeded where nothing is half done."""

import signal
import time
from types import FrameType

#: Longest sleep without looking whether somebody asked for the end, in seconds.
LOOK_S = 0.05


class Interrupt:
    """From entering to leaving, the first Ctrl-C is only noted; a second one ends the command where it is."""

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
        """Until time.monotonic() is *due*, or somebody asked for the end."""
        while not self.asked and (left := due - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_S))

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, self._before)
