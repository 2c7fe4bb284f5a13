"""Passes the outcome of each durable turn to the alert log, Redis, the recent rows and the subscriptions."""
from collections.abc import Sequence
from typing import TYPE_CHECKING

from corec.engine.outcome import Outcome
from corec.node.alert_log import AlertLog
from corec.pipeline.plugin_entries import Sent
from corec.pipeline.recent_rows import RecentRows, WorkerTurn
from corec.pipeline.turns import Pipeline, PipelineListener
from corec.plugin_api.subscriptions import Subscriptions
from corec.streams.base import Entry

if TYPE_CHECKING:
    from corec.node.redis_side import RedisSide  # redis is loaded only where it is configured


class AfterCommit(PipelineListener):
    """Called in the pipeline's thread."""

    def __init__(self, alerts: AlertLog, subscriptions: Subscriptions) -> None:
        self.alerts, self.subscriptions = alerts, subscriptions
        self.recent = RecentRows()
        self._redis: RedisSide | None = None

    def send_to(self, redis: "RedisSide") -> None:
        """Have what is committed written to Redis too."""
        self._redis = redis

    def folded(self, entries: Sequence[Entry]) -> None:
        self.subscriptions.folded(entries)

    def waits(self, pipeline: Pipeline, outcome: Outcome) -> None:
        """The store does not take this turn for now: its alerts are logged and published as provisional."""
        self.alerts.log_provisional(pipeline, outcome)
        self.subscriptions.provisional(outcome)

    def committed(self, pipeline: Pipeline, outcome: Outcome, sent: list[Sent]) -> None:
        self.alerts.take(pipeline, outcome)
        if self._redis:
            self._redis.committed(pipeline, outcome)
        self.recent.keep(outcome.aggregates, outcome.alerts)
        self.subscriptions.committed(outcome, sent)

    def take_worker_turn(self, turn: WorkerTurn) -> None:
        """Show plugins what a worker committed, or cannot commit for now, as if it were the node's own."""
        if not turn.provisional:
            self.recent.keep(turn.rows, turn.alerts)
        if not turn.alerted_before:
            self.subscriptions.alerted(turn.alerts, provisional=turn.provisional)
