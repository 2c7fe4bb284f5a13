"""Celery's consumer without mingle, gossip and heartbeat, which tries to reach the broker every second.

The leases show which workers live, so workers need not find each other.  Shards wait for messages of the broker, so a pause
between two tries must be short.  An outage of the broker is one log line at its beginning and one at its end.
"""
import logging
import warnings
from typing import Any

from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer as CelerysConsumer
from celery.worker.state import maybe_shutdown

from corec.common.trouble import Trouble
from corec.errors import ServerError
from corec.workers.celery_app import broker_name, configuration

log = logging.getLogger(__name__)

#: Seconds between two tries; Celery's own pauses grow to half a minute.
AGAIN_S = 1.0
ALONE = {"without_mingle": True, "without_gossip": True, "without_heartbeat": True}


class Consumer(CelerysConsumer):
    """Celery's consumer with other settings for its connection."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **{**named, **ALONE})
        self._trouble = Trouble(log, f"Worker-{self.hostname.partition('@')[0]}", meanwhile="its turns wait")

    def ensure_connected(self, conn: Any) -> Any:
        """Connect; tries without end."""
        connection = conn.ensure_connection(self._cannot, interval_start=AGAIN_S, interval_step=0, interval_max=AGAIN_S,
                                            callback=maybe_shutdown)  # fmt: skip
        self._trouble.recovered()
        return connection

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """As Celery's, without a warning at each outage of what its next version will do."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            super().on_connection_error_after_connected(exc)

    def _cannot(self, error: Exception, interval: float) -> None:
        broker = broker_name(configuration())
        self._trouble.failed("", ServerError(f"{broker} cannot be reached: {error}", away=broker))
