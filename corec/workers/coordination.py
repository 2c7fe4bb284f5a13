"""Runs a coordinator in a thread of a node, and sends its turns with Celery."""
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from corec.common.retrying_thread import RetryingThread
from corec.config import Config
from corec.config.registered import without_registered
from corec.errors import CoreCError, ServerError
from corec.pipeline.recent_rows import WorkerTurn
from corec.workers.celery_app import app_of, broker_name, is_connection, require_plain_broker
from corec.workers.coordinator import Coordinator
from corec.workers.fleet_news import NewsReader
from corec.workers.leases import RENEW_S, Lease, Leases
from corec.workers.long_work import LostWork, give_back
from corec.workers.orders import order

log = logging.getLogger(__name__)


class Coordination(RetryingThread):
    """Steps a coordinator, and tries again where a server is away.  `stop` gives up the lead at once."""

    again_s, join_s = RENEW_S, 2.0

    def __init__(self, config: Config, on_turn: Callable[[WorkerTurn], None]) -> None:
        """on_turn: called with each turn of a worker, in a thread of its own."""
        super().__init__("coordination", "ModuloEjecucion", log)
        self._config = config
        self._app, self._broker = app_of(config), broker_name(config)
        self._leases = Leases(config.redis_config, config.flota)
        self.coordinator = Coordinator(self._leases, config.instance_id, shards=config.fragmentos, config=without_registered(config),
                                       send=self._send, drop=self._drop)  # fmt: skip
        self._lost_work = LostWork(self._leases, partial(give_back, self._app))
        self._news = NewsReader(config.redis_config, config.flota, on_turn)

    def start(self) -> None:
        """Begin to coordinate and to read the turns of workers."""
        super().start()
        self._news.start()

    def take_config(self, config: Config) -> None:
        """Send *config* to the workers with the next assignment."""
        self.coordinator.config = without_registered(config)

    def order(self, shard: int, command: dict[str, Any]) -> dict[str, Any]:
        """Have the worker of the shard carry out a command; see `corec.workers.orders.order`."""
        return order(self._config.redis_config, shard, command)

    def stop(self) -> None:
        self.ask_to_stop()
        self._news.stop()
        super().stop()

    def status(self) -> dict[str, Any]:
        """The lead, the workers and their shards, for the node's status."""
        coordinator = self.coordinator
        workers = [{"name": lease.name, "pid": lease.pid, "host": lease.host, "shards": list(lease.shards), "opening": list(lease.opening),
                    "turns": lease.began, **lease.stats} for lease in coordinator.workers.values()]  # fmt: skip
        return {"leads": coordinator.leads, "problem": self.problem, "shards": self._config.fragmentos, "workers": workers}

    def _pass(self) -> float:
        try:
            if self.problem:
                require_plain_broker(self._config)
            self.coordinator.step()
            if self.coordinator.leads:
                self._lost_work.step()
        except CoreCError:
            raise
        except Exception as error:  # kombu, redis and Celery raise what they like; the next step tries again
            raise ServerError(str(error) or type(error).__name__, away=self._broker if is_connection(error) else None) from error
        self._recovered()
        return RENEW_S

    def _end(self) -> None:
        with suppress(CoreCError):
            self.coordinator.stop()
        self._leases.close()

    def _send(self, lease: Lease, number: int) -> None:
        # without `expires`, which the worker would compare with a clock of its own
        self._app.send_task("corec.turn", args=[number], queue=lease.queue, ignore_result=True, retry=False)

    def _drop(self, queue: str) -> None:
        with self._app.connection_for_write() as connection:
            connection.default_channel.queue_delete(queue)
