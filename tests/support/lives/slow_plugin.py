"""A plugin that takes as long for each alert as it is told, in simulated time."""
from corec.plugin_api.subscriptions import MOST_WAITING, Subscription
from corec.simulation import SimulatedNode
from corec.storage.outbox import ALERT_STREAM
from corec.streams.redis.keys import FIELD
from tests.support.lives.expected import Broken

MUTED = 64


class Queue(Subscription):
    """What waits for the plugin."""

    taken = 0

    def take(self) -> None:
        if self._waiting:
            assert self._waiting.popleft().fields[FIELD]
            self.taken += 1

    @property
    def put_in(self) -> int:
        return self.taken + self.dropped + len(self._waiting)

    @property
    def waits(self) -> int:
        return len(self._waiting)


class SlowPlugin:
    """Subscribes to the alerts of a node for as long as that runs."""

    def __init__(self, node: SimulatedNode) -> None:
        self.seconds = 1.0  # for each alert
        self._node, self._since = node, node.life.turn
        self._queue = node.subscriptions.add(ALERT_STREAM, print, kind=Queue)

    def step(self) -> float:
        """What drives it."""
        self._queue.take()
        return max(self.seconds, 0.5) if self._queue.waits else 60.0

    def check(self) -> None:
        """Each turn with alerts was handed to it, or dropped and counted, and its queue is bounded; call it behind a clean stop."""
        with self._node.life.opened.store.reader() as reader:
            alerts = reader.numbered_alerts()
        turns = {turn for turn, kind in zip(alerts["turn"].tolist(), alerts["kind"].tolist(), strict=True) if turn > self._since}
        if self._queue.put_in != len(turns):
            raise Broken("a plugin was not told", self._queue.put_in, len(turns))
        if self._queue.waits > MOST_WAITING:
            raise Broken("a plugin's queue has no bound", self._queue.waits)
