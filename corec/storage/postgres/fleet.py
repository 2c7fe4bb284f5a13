"""The stored rows of a whole fleet. Several workers commit its shards."""
import json
from collections import Counter
from typing import Any

from corec.config.servers import DbServer
from corec.storage.base import Block, StoreState
from corec.storage.postgres.read import PostgresReader


class FleetReader(PostgresReader):
    """Reads the rows of all shards as if they were of one node."""

    def __init__(self, server: DbServer, *, instance: str, shards: int) -> None:
        """instance: the name of the fleet."""
        super().__init__(server, instance=instance, shard=shards)

    @property
    def state(self) -> StoreState:
        """Turns and readings of all shards added up. The offset is 0, because each shard has its own."""
        rows = self._query("SELECT turn, ledger FROM shards WHERE instance_id = %s AND shard = %s")
        ledger: Counter[str] = Counter()
        for _, document in rows:
            ledger.update(json.loads(document))
        return StoreState(sum(turn for turn, _ in rows), 0, dict(ledger))

    def blocks(self, pattern: str = "*") -> list[Block]:
        """Every shard has the names of all blocks; each block comes once."""
        return sorted(set(super().blocks(pattern)))

    def _query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return super()._query(sql.replace("shard = %s", "shard < %s"), *values)
