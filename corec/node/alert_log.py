"""The latest alerts of a node, with names."""
import logging
import threading
from collections import deque
from typing import Any

from corec.engine.outcome import Outcome, kind_name
from corec.node.entity_names import EntityNames
from corec.pipeline.provisional import log_provisional
from corec.pipeline.turns import Pipeline

log = logging.getLogger("corec.node.status")

RECENT_ALERTS = 20


class AlertLog:
    """Counts alerts since the start, across recoveries, and keeps the newest RECENT_ALERTS with their names."""

    def __init__(self, instance: str, names: EntityNames) -> None:
        self._instance, self._names = instance, names
        self.recent: deque[dict[str, Any]] = deque(maxlen=RECENT_ALERTS)
        self.count = self.rows = 0
        self.provisional = 0  # logged already, while the store does not take their turn
        self._lock = threading.Lock()

    def status(self) -> dict[str, Any]:
        """All figures, read at one moment; callable from any thread."""
        with self._lock:
            return {"count": self.count, "rows": self.rows, "provisional": self.provisional, "recent": [dict(each) for each in self.recent]}

    def log_provisional(self, pipeline: Pipeline, outcome: Outcome) -> None:
        """Log the alerts of a turn that is not committed yet."""
        self.provisional = len(outcome.alerts)
        log_provisional(log, f"AlertLog-{self._instance}", outcome.alerts, lambda id: self._names.of(pipeline.engine, id))

    def take(self, pipeline: Pipeline, outcome: Outcome) -> None:
        """Record the alerts and acknowledgements of the turn that was just committed."""
        with self._lock:
            self._take(pipeline, outcome)

    def _take(self, pipeline: Pipeline, outcome: Outcome) -> None:
        self.count, self.provisional = self.count + len(outcome.alerts), 0
        self.rows += len(outcome.aggregates)
        acknowledged = {event.subject for event in outcome.events if event.what == "ack"}
        for alert in self.recent:
            alert["acknowledged"] |= alert["alert"] in acknowledged
        first = max(0, len(outcome.alerts) - RECENT_ALERTS)
        for row, alert in enumerate(outcome.alerts[first:], first):
            name, unit = self._names.of(pipeline.engine, int(alert["id"]))
            self.recent.append({
                "alert": f"{pipeline.turn}.{row}", "acknowledged": False, "time": int(alert["time"]),
                "kind": kind_name(int(alert["kind"])), "entity": int(alert["id"]), "name": name,
                "unit": unit, "valor": float(alert["valor"]), "limit": float(alert["limit"]),
                "block": pipeline.engine.block_ids[int(alert["block"])]})  # fmt: skip
