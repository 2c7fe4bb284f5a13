"""Celery's consumer without mingle, gossip and heartbeat, which tries to reach the broker every second.

The leases show which workers live, so workers need not find each other.  Shards wait for messages of the broker, so a pause
between two tries must be short.
"""
from functools import partial
from typing import Any

from celery.worker.consumer import Consumer as CelerysConsumer

#: Seconds between two tries; Celery's own pauses grow to half a minute.
AGAIN_S = 1.0
ALONE = {"without_mingle": True, "without_gossip": True, "without_heartbeat": True}


class Consumer(CelerysConsumer):
    """Celery's consumer with other settings for its connection."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **{**named, **ALONE})

    def ensure_connected(self, conn: Any) -> Any:
        """Connect; tries without end."""
        conn.ensure_connection = partial(conn.ensure_connection, interval_start=AGAIN_S, interval_step=0, interval_max=AGAIN_S)
        return super().ensure_connected(conn)
