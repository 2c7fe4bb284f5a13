"""The Celery tasks.  They take and return JSON, and each may run again without harm: fence and offsets keep turns apart."""
import logging
import os
import socket
import sys
import threading
import time
from typing import Any

from celery import shared_task
from celery.signals import (
    after_setup_logger,
    celeryd_after_setup,
    task_postrun,
    task_prerun,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

from corec.common.systemd import Supervisor, beat_always
from corec.config import Config, parse
from corec.errors import CoreCError, exit_code
from corec.workers import analysis, fusions
from corec.workers.celery_app import NONE_GIVEN, analysis_queue, configuration, turns_queue
from corec.workers.leases import Leases
from corec.workers.long_work import AtWork
from corec.workers.shard import Shard, open_shard
from corec.workers.shard_worker import ShardWorker

log = logging.getLogger(__name__)

#: Length of a worker's turn in seconds.
TURN_S = 0.5

#: Loggers of Celery, and from which level on they say something.
QUIETENED = {"celery.worker.strategy": logging.WARNING, "celery.app.trace": logging.WARNING,
             "celery.worker.consumer.connection": logging.WARNING, "celery.worker.consumer.consumer": logging.ERROR}  # fmt: skip

_worker: ShardWorker | None = None
_at_work: AtWork | None = None


@after_setup_logger.connect
def _quieten(loglevel: int, **_: Any) -> None:
    """Show Celery's two log lines for each turn only at level DEBUG, and its lines on the broker, in whose place `consumer` has its own."""
    for name, level in QUIETENED.items():
        logging.getLogger(name).setLevel(logging.DEBUG if loglevel <= logging.DEBUG else level)


@celeryd_after_setup.connect
def _listen(sender: str, instance: Any, **_: Any) -> None:
    """Consume a queue of this process only, so that messages for an earlier process are never run."""
    global _worker
    config = _configuration_or_end()
    if config.celery_config is NONE_GIVEN:
        log.warning("[Worker] no celery_config: nodes fold their blocks themselves, and this worker takes no shards, only long work."
                    ' HINT: with "celery_config": {} in the configuration of all nodes and workers it takes shards')  # fmt: skip
    epoch = f"{time.time_ns():x}"
    name = f"{sender.partition('@')[2] or socket.gethostname()}.{os.getpid()}"
    if config.rol == "analisis":
        instance.app.amqp.queues.select([analysis_queue(config.flota)])
        return
    queue = turns_queue(config.flota, name, epoch)
    instance.app.amqp.queues.select([queue])
    leases = (Leases(config.redis_config, config.flota) for _ in range(2))
    _worker = ShardWorker(*leases, name, queue, open_shard=_opener(config))


def _configuration_or_end() -> Config:
    """The configuration; without one the process ends: Celery would log an error of a signal and try a broker of its own for ever."""
    try:
        return configuration()
    except CoreCError as error:
        print(error, file=sys.stderr, flush=True)
        raise SystemExit(int(exit_code(error))) from None


@worker_ready.connect
def _begin(**_: Any) -> None:
    Supervisor().send("READY=1")
    if _worker:
        _worker.start()
    else:
        threading.Thread(target=beat_always, name="watchdog", daemon=True).start()


@worker_shutting_down.connect
def _hurry(**_: Any) -> None:
    """End a turn that waits for PostgreSQL, which would delay the shutdown."""
    Supervisor().send("STOPPING=1")
    if _worker:
        _worker.give_up()


@worker_shutdown.connect
def _end(**_: Any) -> None:
    if _worker:
        _worker.stop()


@task_prerun.connect
def _say_so(task: Any, **_: Any) -> None:
    """Mark long work, so that it is given to another worker if this one is killed; see `corec.workers.long_work`."""
    global _at_work
    tag = (task.request.properties or {}).get("delivery_tag")
    if _worker is None and isinstance(tag, str):
        _at_work = AtWork(configuration(), tag)
        _at_work.start()


@task_postrun.connect
def _say_no_more(**_: Any) -> None:
    global _at_work
    if _at_work:
        _at_work.stop()
        _at_work = None


@shared_task(name="corec.turn", ignore_result=True, acks_late=True)
def turn(number: int | None = None) -> dict[str, Any]:
    """Fold this worker's shards for TURN_S.  A number that has had its turn is one that was sent again, and does nothing."""
    return {} if number is not None and number < _worker.began else _worker.turn(TURN_S)


@shared_task(name="corec.rescore", acks_late=True, ignore_result=False)
def rescore(since: int, until: int, umbral: float | None = None, ventanas: int | None = None) -> dict[str, Any]:
    return analysis.rescore(configuration(), since, until, umbral, ventanas)


@shared_task(name="corec.train", acks_late=True, ignore_result=False)
def train(since: int, until: int, por_dia: float = 1.0) -> dict[str, Any]:
    return analysis.train(configuration(), since, until, por_dia)


@shared_task(name="corec.plan", acks_late=True, ignore_result=False)
def plan(since: int, until: int, dry_run: bool = False) -> dict[str, Any]:
    return fusions.plan(configuration(), since, until, dry_run)


@shared_task(name="corec.compact", acks_late=True, ignore_result=False)
def compact(days: float) -> dict[str, Any]:
    return analysis.compact(configuration(), days)


def _opener(config: Config) -> Any:
    """Opens shards with the coordinator's configuration and the servers of this worker's own file."""

    def opened(number: int, mapping: dict[str, Any], woken: threading.Event) -> Shard:
        wanted = parse(mapping, source="the coordinator") if mapping else config
        return open_shard(with_servers(wanted, config), number, woken)

    return opened


def with_servers(wanted: Config, own: Config) -> Config:
    """*wanted* with the server sections of *own*: they hold secrets, which are never sent."""
    from msgspec.structs import replace

    return replace(wanted, db_config=own.db_config, redis_config=own.redis_config, celery_config=own.celery_config)
