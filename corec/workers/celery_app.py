"""The Celery application: broker and settings from the configuration, tasks from `corec.workers.tasks`."""
import os
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from msgspec.structs import replace

from corec.config import Config, load
from corec.config.servers import CeleryServer, RedisServer
from corec.errors import ConfigError, CoreCError, UsageError

#: Environment variable with the path of the configuration, ./configs by default.
CONFIG_VARIABLE = "COREC_CONFIG"
#: Environment variable that overrides `rol`.
ROLE_VARIABLE = "COREC_ROL"
#: What a worker goes by where the configuration has no `celery_config`.
NONE_GIVEN = CeleryServer(broker=None, worker_concurrency=1)
#: Seconds that results of long work are kept.
RESULTS_S = 3600
#: Redis visibility timeout in s.  It must exceed the longest task, or the broker delivers it a second time while it still runs.
VISIBILITY_S = 6 * 3600


@cache
def configuration() -> Config:
    """The configuration of this process.

    Without a `celery_config` nodes fold their blocks themselves: there is long work alone for a worker, and the broker is the Redis
    of `redis_config`.  ConfigError where one of both servers is not named.
    """
    path = Path(os.environ.get(CONFIG_VARIABLE, "configs"))
    config = load(path)
    if config.celery_config is None:
        missing = [name for name in ("redis_config", "db_config") if getattr(config, name) is None]
        if missing:
            raise ConfigError(f"expected a celery_config, or redis_config and db_config, in {path}, got no {' and no '.join(missing)}:"
                              " this node needs no worker",
                              hint=f"docs/celery.md says what goes in; {CONFIG_VARIABLE} names another folder or file")  # fmt: skip
        return replace(config, rol="analisis", celery_config=NONE_GIVEN)
    return replace(config, rol=os.environ.get(ROLE_VARIABLE) or config.rol)


def configuration_if_any() -> Config | None:
    """As `configuration`, but None where that fails."""
    try:
        return configuration()
    except CoreCError:
        return None


def broker_url(config: Config) -> str:
    """The URL of `celery_config.broker`, else of the Redis in `redis_config`."""
    if config.celery_config.broker:
        return config.celery_config.broker.reveal()
    return redis_url(config.redis_config)


def broker_name(config: Config) -> str:
    """The broker in logs: that Redis in the words of whoever else needs it."""
    return "Celery's broker" if config.celery_config.broker else f"Redis at {config.redis_config.address}"


def is_connection(error: Exception) -> bool:
    """Whether an error of kombu is one of the connection to the broker."""
    from kombu.exceptions import OperationalError

    return isinstance(error, (OperationalError, OSError))


def redis_url(server: RedisServer) -> str:
    """The URL of a Redis server in the form that kombu expects, with its password; any character may stand in each part."""
    user = quote(server.username or "", safe="")
    secret = f"{user}:{quote(server.password.reveal(), safe='')}@" if server.password else f"{user}@" if user else ""
    if server.unix_socket:
        return f"redis+socket://{secret}{quote(server.unix_socket, safe='/')}"
    host = quote(server.host, safe=":")
    place = f"[{host}]:{server.port}" if ":" in host else f"{host}:{server.port}"      # IPv6 stands in brackets
    if not server.tls:
        return f"redis://{secret}{place}/0"
    options = {"ssl_ca_certs": server.ca, "ssl_certfile": server.cert, "ssl_keyfile": server.key}
    query = "&".join(f"{name}={quote(value, safe='/')}" for name, value in options.items() if value)
    return f"rediss://{secret}{place}/0?ssl_cert_reqs=required&ssl_check_hostname=true&{query}".rstrip("&")


def require_plain_broker(config: Config) -> None:
    """UsageError where the broker is a Redis Cluster, for which Celery has no transport."""
    from corec.streams.redis.link import RedisLink

    if config.celery_config.broker:
        return
    link = RedisLink(config.redis_config)
    try:
        with link.errors("say what it is"):
            link.address_of("corec")
        if link.is_cluster:
            raise UsageError(f"expected a broker for Celery, got the Redis Cluster at {config.redis_config.address}",
                             hint='Celery cannot use one: name a plain Redis in celery_config.broker, "redis://host:6379/0"')  # fmt: skip
    finally:
        link.close()


def _results_of(broker: str) -> str | None:
    """The URL for results: the broker's, if it is a Redis."""
    return broker if broker.startswith("redis") else None


def turns_queue(fleet: str, worker: str, epoch: str) -> str:
    """The name of a worker's queue.  epoch: differs at each start, so that old messages reach no new process."""
    return f"corec.{fleet}.turns.{worker}.{epoch}"


def analysis_queue(fleet: str) -> str:
    """The name of the queue of long work, for workers whose `rol` is `analisis`."""
    return f"corec.{fleet}.analysis"


def app_of(config: Config | None) -> Any:
    """The Celery application, without a broker where *config* is None.  UsageError where Celery cannot be imported."""
    try:
        from celery import Celery
    except ImportError as error:
        raise UsageError(f"celery_app needs Celery, which does not load: {error}",
                         hint='pip install "celery[redis]"; without it the node runs its turns itself') from None  # fmt: skip

    app = Celery("corec", broker=broker_url(config) if config else None, include=["corec.workers.tasks"])
    app.conf.update(
        task_serializer="json", result_serializer="json", accept_content=["json"], result_accept_content=["json"],
        task_acks_late=True, task_ignore_result=True, worker_prefetch_multiplier=1, worker_pool="solo",
        worker_concurrency=config.celery_config.worker_concurrency if config else 2,
        task_default_queue=analysis_queue(config.flota) if config else "corec.analysis",
        result_backend=_results_of(broker_url(config)) if config else None, result_expires=RESULTS_S,
        broker_connection_retry_on_startup=True, broker_connection_max_retries=None, worker_consumer="corec.workers.consumer:Consumer",
        broker_transport_options={"visibility_timeout": VISIBILITY_S},
        worker_send_task_events=False, worker_hijack_root_logger=True, task_store_errors_even_if_ignored=False,
    )  # fmt: skip
    return app
