"""Celery's consumer, as workers of one queue each need it.

Nobody has to be found, asked or told of at each connection: who lives is in the leases.  And a broker that is away is looked
for every second, because shards wait for its messages.
"""
from functools import partial
from typing import Any

from celery.worker.consumer import Consumer as CelerysConsumer

#: Celery's own pauses grow to half a minute.
AGAIN_S = 1.0
ALONE = {"without_mingle": True, "without_gossip": True, "without_heartbeat": True}


class Consumer(CelerysConsumer):
    """As Celery's, but for what it does at a connection."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **{**named, **ALONE})

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, however long it takes."""
        conn.ensure_connection = partial(conn.ensure_connection, interval_start=AGAIN_S, interval_step=0, interval_max=AGAIN_S)
        return super().ensure_connected(conn)
