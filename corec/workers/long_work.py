"""Gives long work of a worker that is gone to another worker.

Celery's Redis transport does so only after its visibility timeout, which must exceed the longest task.  So a worker marks its
message again and again, and the coordinator gives back messages whose mark has expired.  Other brokers see that a connection ends.
"""
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from corec.common.retrying_thread import RetryingThread
from corec.config import Config
from corec.errors import CoreCError
from corec.workers.leases import Leases

log = logging.getLogger(__name__)

#: Seconds between two marks.
SAY_S = 2.0
#: A message is given back when its mark has been expired for this long.
PATIENCE_S = 10.0


class AtWork(RetryingThread):
    """A thread that marks a message as worked on, until it is stopped."""

    again_s = SAY_S

    def __init__(self, config: Config, tag: str) -> None:
        """tag: the broker's delivery tag of the message."""
        super().__init__("at-work", f"AtWork-{config.flota}", log, meanwhile="the work goes on")
        self._leases, self._tag = Leases(config.redis_config, config.flota), tag

    def _pass(self) -> float:
        self._leases.work(self._tag)
        self._recovered()
        return SAY_S

    def _end(self) -> None:
        with suppress(CoreCError):
            self._leases.work_ended(self._tag)
        self._leases.close()


class LostWork:
    """Finds messages whose worker is gone.  Call `step` now and then, in the node that leads."""

    def __init__(self, leases: Leases, give_back: Callable[[str], None], *, now: Callable[[], float] = time.monotonic) -> None:
        self._leases, self._give_back, self._now = leases, give_back, now
        self._silent: dict[str, float] = {}  # tag -> when its mark was first seen expired

    def step(self) -> None:
        """Give back messages whose mark expired PATIENCE_S ago."""
        now = self._now()
        self._silent = {tag: self._silent.get(tag, now) for tag in self._leases.work_in_silence()}
        for tag in [tag for tag, since in self._silent.items() if now - since > PATIENCE_S]:
            log.warning("[ModuloEjecucion] a task is given out again: its worker is gone")
            self._give_back(tag)
            self._leases.work_ended(tag)


def give_back(app: Any, tag: str) -> None:
    """Put a fetched message back into its queue, where the broker's transport can; only that of Redis can."""
    with app.connection_for_write() as connection:
        restore = getattr(connection.default_channel.qos, "restore_by_tag", None)
        if restore:
            restore(tag)
