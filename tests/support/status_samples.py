"""A node's status as tests need it."""

import copy
from typing import Any

STATUS: dict[str, Any] = {
    "instance_id": "corec1", "version": "0.1.0", "pid": 4711, "uptime_s": 754.2, "simd": "avx2", "state": "running",
    "load": 0.314, "rss_bytes": 98 << 20, "data": "data", "watermark": 1_735_689_600_000,
    "readings": {"total": 12_345_678, "since_start": 11_222_333, "per_s": 203_114.2, "accepted_per_s": 203_000.0},
    "messages": {"total": 98_765, "since_start": 87_654, "per_s": 1532.0},
    "alerts": {"since_start": 2, "per_s": 0.4, "recent": [
        {"time": 1_735_689_601_000, "kind": "failure", "entity": 9, "name": "", "unit": "", "valor": 0.0, "limit": 0.0,
         "block": "casa/0"},
        {"time": 1_735_689_662_000, "kind": "high", "entity": 0, "name": "cpu0.load", "unit": "%", "valor": 98.25, "limit": 95.0,
         "block": "casa/0"},
    ]},
    "blocks": {"total": 1021, "live": 1000, "idle": 10, "hibernated": 3, "never": 8, "fitness_mean": 0.991, "fitness_min": 0.71,
               "weakest": [{"id": "casa/17", "fitness": 0.71, "failing": 3, "entities": 1000}]},
    "ledger": {"in": 12_345_678, "stored": 98_765, "filtered": 12_246_900, "late": 5, "shed": 0, "rejected": 8,
               "rejected_id": 8, "rejected_channel": 0},
    "commit": {"p50_ms": 8.1, "p99_ms": 11.3, "turns": 1234, "rows_since_start": 45_678},
    "journal": {"bytes": 12_900_000, "last": 12_345, "pending": 1, "sync_p50_ms": 1.1, "sync_p99_ms": 4.2},
    "store": {"bytes": 3_500_000}, "snapshots": {"count": 4, "bytes": 1_258_291, "since_start": 3, "last_ms": 812.0, "last_bytes": 700},
    "sources": [{"name": "host", "entities": 22, "per_s": 22.0, "detail": "this machine, into casa"}],
}  # fmt: skip


def status(**changes: Any) -> dict[str, Any]:
    """A status with some of its top-level keys changed."""
    return {**copy.deepcopy(STATUS), **changes}


class FakeNode:
    """What a view looks at."""

    def __init__(self, *statuses: dict[str, Any], state: str = "running") -> None:
        self.state = state
        self.asked = 0
        self._statuses = statuses or (status(),)

    def status(self) -> dict[str, Any]:
        """The next status, or the last one again."""
        self.asked += 1
        return self._statuses[min(self.asked, len(self._statuses)) - 1]
