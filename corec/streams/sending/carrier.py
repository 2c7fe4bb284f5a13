"""The thread that empties a sender's `Unsent`, and how far it is."""

import logging
import threading

from corec.common.clock import Clock
from corec.common.retrying_thread import RetryingThread
from corec.streams.sending.unsent import SenderStats, Unsent


class Carrier(RetryingThread):
    """The base of senders: takes batches from *unsent* to their destination. After `stop` the unsent batches stay on disk."""

    def __init__(self, unsent: Unsent, *, thread: str, instance: str, log: logging.Logger, clock: Clock) -> None:
        super().__init__(thread, f"Sender-{instance}", log, meanwhile="batches wait in the tail", clock=clock)
        self._unsent, self._instance = unsent, instance
        self._progress = threading.Condition()
        self._moves = 0  # how often something was sent or dropped; with the lock of _progress
        self.readings = 0

    def more(self, _: int = 0) -> None:
        """Wake the thread: there are new batches."""
        self._wake.set()

    def wait_sent(self, upto: int, timeout: float | None) -> bool:
        """Wait until the other side has everything up to offset *upto*; False after *timeout* seconds."""
        with self._progress:
            return self._clock.wait_for(self._progress, lambda: self._sent_upto() >= upto, timeout)

    def wait_moved(self, timeout: float) -> None:
        """Wait until something was sent or dropped, for *timeout* seconds at most."""
        with self._progress:
            before = self._moves
            self._clock.wait_for(self._progress, lambda: self._moves != before, timeout)

    def stats(self) -> SenderStats:
        sent = self._sent_upto()
        return SenderStats(self.readings, self._unsent.last - sent, max(0, sent - self._unsent.done), self.problem)

    def _sent_upto(self) -> int:
        """The offset up to which the other side has everything."""
        return self._unsent.done

    def _drop(self, upto: int) -> None:
        """Drop the batches up to offset *upto*, and wake those who wait for progress."""
        if upto > self._unsent.done:
            self._unsent.drop(upto)
            with self._progress:
                self._moved()

    def _moved(self) -> None:
        """Wake those who wait for progress; with the lock of _progress."""
        self._moves += 1
        self._progress.notify_all()
