"""The thread of a node that coordinates, and what it needs of Celery."""
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from corec.celery_setup import EXPIRES_S, require_plain_broker
from corec.config import Config
from corec.core import celery_app_of
from corec.errors import CoreCError
from corec.workers.coordinator import Coordinator
from corec.workers.leases import RENEW_S, Lease, Leases
from corec.workers.news import Listener
from corec.workers.orders import order

log = logging.getLogger(__name__)


class Coordination:
    """Steps a coordinator; a server that is away only makes it wait."""

    def __init__(self, config: Config, heard: Callable[[np.ndarray, np.ndarray], None]) -> None:
        """heard: gets the rows and alerts of each turn that a worker committed."""
        self._config = config
        self._app = celery_app_of(config)
        self._leases = Leases(config.redis_config, config.flota)
        self.coordinator = Coordinator(self._leases, config.instance_id, shards=config.fragmentos, config=config.to_mapping(),
                                       send=self._send, drop=self._drop)  # fmt: skip
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="coordination", daemon=True)
        self._listener = Listener(config.redis_config, config.flota, heard)
        self._problem = ""

    def start(self) -> None:
        """Begin to lead, or to stand by."""
        self._thread.start()
        self._listener.start()

    def take_config(self, config: Config) -> None:
        """Have the workers take over *config*."""
        self.coordinator.config = config.to_mapping()

    def order(self, shard: int, command: dict[str, Any]) -> dict[str, Any]:
        """Have a command carried out by whoever has the shard."""
        return order(self._config.redis_config, shard, command)

    def stop(self) -> None:
        """Let another node lead."""
        self._stopped.set()
        self._listener.stop()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    def status(self) -> dict[str, Any]:
        """Who leads and who has what."""
        coordinator = self.coordinator
        workers = [{"name": lease.name, "pid": lease.pid, "host": lease.host, "shards": list(lease.held), "opening": list(lease.opening),
                    "turns": lease.began, **lease.stats} for lease in coordinator.workers.values()]  # fmt: skip
        return {"leads": coordinator.leads, "problem": self._problem, "shards": self._config.fragmentos, "workers": workers}

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                if self._problem:
                    require_plain_broker(self._config)
                self.coordinator.step()
                self._problem = ""
            except Exception as error:  # kombu, redis and Celery raise what they like; the next step tries again
                self._complain(error)
            self._stopped.wait(RENEW_S)
        with suppress(CoreCError):
            self.coordinator.stop()
        self._leases.close()

    def _complain(self, error: Exception) -> None:
        text = str(error) or type(error).__name__
        if not self._problem:
            log.error("[ModuloEjecucion] %s", text)
        self._problem = text

    def _send(self, lease: Lease) -> None:
        self._app.send_task("corec.turn", queue=lease.queue, expires=EXPIRES_S, ignore_result=True, retry=False)

    def _drop(self, queue: str) -> None:
        with self._app.connection_for_write() as connection:
            connection.default_channel.queue_delete(queue)
