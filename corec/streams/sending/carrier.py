"""Who gets rid of what a tail holds: a thread that tells how far it is."""

import logging
import threading

from corec.common.retrying_thread import RetryingThread
from corec.streams.sending.unsent import SenderStats, Unsent


class Carrier(RetryingThread):
    """Between a tail and where its batches go; `stop` leaves in the tail what is not sent."""

    def __init__(self, unsent: Unsent, *, thread: str, instance: str, log: logging.Logger) -> None:
        super().__init__(thread, f"Sender-{instance}", log, meanwhile="batches wait in the tail")
        self._unsent, self._instance = unsent, instance
        self._progress = threading.Condition()
        self.readings = 0

    def more(self, _: int = 0) -> None:
        """The tail has more."""
        self._wake.set()

    def wait_sent(self, upto: int, timeout: float | None) -> bool:
        """Until the other side has everything up to offset *upto*."""
        with self._progress:
            return self._progress.wait_for(lambda: self._sent_upto() >= upto, timeout)

    def wait_moved(self, timeout: float) -> None:
        """Until something was sent or dropped, or *timeout*."""
        with self._progress:
            self._progress.wait(timeout)

    def stats(self) -> SenderStats:
        """Where it stands."""
        sent = self._sent_upto()
        return SenderStats(self.readings, self._unsent.last - sent, max(0, sent - self._unsent.done), self.problem)

    def _sent_upto(self) -> int:
        """The offset up to which the other side has everything."""
        return self._unsent.done

    def _drop(self, upto: int) -> None:
        """The tail may forget what stands up to *upto*."""
        if upto > self._unsent.done:
            self._unsent.drop(upto)
            with self._progress:
                self._progress.notify_all()
