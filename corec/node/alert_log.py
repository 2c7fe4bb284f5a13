"""The latest alerts of a node, with names."""
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from corec.engine.outcome import Outcome, kind_name
from corec.pipeline.provisional import tell_held

if TYPE_CHECKING:
    from corec.nucleus import CoreCNucleus

log = logging.getLogger("corec.node.status")

RECENT_ALERTS = 20


class AlertLog:
    """The latest alerts, with names."""

    def __init__(self, nucleus: "CoreCNucleus") -> None:
        self._nucleus = nucleus
        self.recent: deque[dict[str, Any]] = deque(maxlen=RECENT_ALERTS)
        self.count = self.rows = 0  # since the start, a recovery in between or not
        self.held = 0  # told already, while the store does not take their turn

    def hold(self, outcome: Outcome) -> None:
        """Say the alerts of a turn that is not committed yet."""
        self.held = len(outcome.alerts)
        tell_held(log, f"AlertLog-{self._nucleus.config.instance_id}", outcome.alerts, self._nucleus.entity_name)

    def take(self, outcome: Outcome) -> None:
        """Remember the alerts of a turn, which was just committed, and what was acknowledged in it."""
        self.count, self.held = self.count + len(outcome.alerts), 0
        self.rows += len(outcome.aggregates)
        acknowledged = {event.subject for event in outcome.events if event.what == "ack"}
        for alert in self.recent:
            alert["acknowledged"] |= alert["alert"] in acknowledged
        turn, first = self._nucleus.store_turn, max(0, len(outcome.alerts) - RECENT_ALERTS)
        for row, alert in enumerate(outcome.alerts[first:], first):
            name, unit = self._nucleus.entity_name(int(alert["id"]))
            self.recent.append({
                "alert": f"{turn}.{row}", "acknowledged": False, "time": int(alert["time"]),
                "kind": kind_name(int(alert["kind"])), "entity": int(alert["id"]), "name": name,
                "unit": unit, "valor": float(alert["valor"]), "limit": float(alert["limit"]),
                "block": self._nucleus.engine.block_ids[int(alert["block"])]})  # fmt: skip
