"""Long work that a worker has fetched and not done is given out again soon once the worker is gone.

Celery's transport for Redis learns of that by a time that must be longer than any task takes.  So who works says so, again
and again, and whoever coordinates gives back what nobody works on any more.  Other brokers see that a connection ends.
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

#: A worker says that it works this often.
SAY_S = 2.0
#: What nobody has said to work on for this long, beyond the time that a word holds, is given back.
PATIENCE_S = 10.0


class AtWork(RetryingThread):
    """Says that a message is worked on, until it is stopped."""

    again_s = SAY_S

    def __init__(self, config: Config, tag: str) -> None:
        """tag: what the broker knows the message by."""
        super().__init__("at-work", f"AtWork-{config.flota}", log, meanwhile="the work goes on")
        self._leases, self._tag = Leases(config.redis_config, config.flota), tag

    def _pass(self) -> None:
        self._leases.work(self._tag)
        self._recovered()
        self._stop.wait(SAY_S)

    def _end(self) -> None:
        with suppress(CoreCError):
            self._leases.work_ended(self._tag)
        self._leases.close()


class LostWork:
    """Call `step` now and then, in the one node that leads."""

    def __init__(self, leases: Leases, give_back: Callable[[str], None], *, now: Callable[[], float] = time.monotonic) -> None:
        self._leases, self._give_back, self._now = leases, give_back, now
        self._silent: dict[str, float] = {}  # message -> since when nobody says to work on it

    def step(self) -> None:
        """Give back what was lost."""
        now = self._now()
        self._silent = {tag: self._silent.get(tag, now) for tag in self._leases.work_in_silence()}
        for tag in [tag for tag, since in self._silent.items() if now - since > PATIENCE_S]:
            log.warning("[ModuloEjecucion] a task is given out again: its worker is gone")
            self._give_back(tag)
            self._leases.work_ended(tag)


def give_back(app: Any, tag: str) -> None:
    """Put a message that was fetched back into its queue, if the broker is one that keeps it until then."""
    with app.connection_for_write() as connection:
        restore = getattr(connection.default_channel.qos, "restore_by_tag", None)
        if restore:
            restore(tag)
