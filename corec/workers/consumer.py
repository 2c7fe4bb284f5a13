"""Celery's consumer, which looks for a broker that is away every second: shards wait for its messages."""
from functools import partial
from typing import Any

from celery.worker.consumer import Consumer as CelerysConsumer

#: Celery's own pauses grow to half a minute.
AGAIN_S = 1.0


class Consumer(CelerysConsumer):
    """As Celery's, but for how long it waits between two looks."""

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, however long it takes."""
        conn.ensure_connection = partial(conn.ensure_connection, interval_start=AGAIN_S, interval_step=0, interval_max=AGAIN_S)
        return super().ensure_connected(conn)
