"""The parts of a node that use Redis; imported only where `redis_config` is set."""

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from corec.common.clock import MACHINE, Clock
from corec.common.trouble import Trouble
from corec.common.units import MB
from corec.config import Config
from corec.engine.outcome import Outcome
from corec.errors import CoreCError, FenceLost, ServerError
from corec.node.router import Router
from corec.pipeline.recovery import Opened
from corec.pipeline.redis_outputs import Outputs
from corec.pipeline.turns import Pipeline
from corec.plugin_api.stream_writer import StreamWriter
from corec.publish import Publisher
from corec.storage.numbered import numbered
from corec.streams.journal import Journal
from corec.streams.redis.claim import StreamClaim
from corec.streams.redis.intake import RedisIntake
from corec.streams.redis.link import Connect, RedisLink, connection_options
from corec.streams.redis.moved_intake import MovedIntake
from corec.streams.redis.spool import Spool

log = logging.getLogger(__name__)

#: How long a clean stop may take over its snapshot.
LAST_SNAPSHOT_S = 3.0

Intake = RedisIntake | MovedIntake


class RedisSide:
    """Sends the node's own readings, reads its shard's streams, and writes its outputs."""

    def __init__(self, folder: Path, config: Config, *, given_up: Callable[[], bool], clock: Clock = MACHINE,
                 connect: Connect | None = None) -> None:  # fmt: skip
        """folder: the data folder.  given_up: polled while a start waits for a server that is away.  connect: see `RedisLink`."""
        self._world = {"clock": clock, "connect": connect}
        self._folder, self._config, self._given_up = folder, config, given_up
        self._server = config.redis_config
        self.publisher = Publisher(config, name=config.instance_id, folder=folder / "tail", max_disk_mb=config.max_disk_mb,
                                   **self._world)  # fmt: skip
        self.intake: Intake | None = None
        self.outputs: Outputs | None = None
        self.router = Router(config, **self._world)
        self._claim: StreamClaim | None = None

    def claim(self, on_lost: Callable[[FenceLost], None]) -> None:
        """Take the streams that this node reads; FolderInUse while a node of another `instance_id` reads them.

        on_lost: called, from another thread, when another node took them.
        """
        self._claim = StreamClaim(self._server, 0, self._config.instance_id, on_lost, **self._world)
        self._claim.take()

    def new_intake(self) -> Intake:
        """A new intake for a pipeline; the one before is closed."""
        if self.intake:
            self.intake.close()
        spool = Spool(self._folder / "spool", max_bytes=self._config.max_disk_mb * MB, instance=self._config.instance_id)
        intake = RedisIntake(self._server, spool=spool, instance=self._config.instance_id,
                             keep_bytes=self._config.conservar_diario_mb * MB,
                             lead_s=self._config.retraso_max / 2, given_up=self._given_up, **self._world)  # fmt: skip
        journal = self._folder / "journal"
        left = bool(numbered(journal, ".log"))
        self.intake = MovedIntake(Journal(journal, instance=self._config.instance_id), intake) if left else intake
        return self.intake

    def start(self, opened: Callable[[], Opened]) -> None:
        """Begin to send what is committed and to route bare streams.  opened: returns what the node works on now."""
        self.outputs = Outputs(self._server, lambda: opened().store, lambda: opened().engine.block_ids, folder=self._folder,
                               instance=self._config.instance_id, **self._world)  # fmt: skip
        self.outputs.take_accounts(opened().engine.marks.to_list())
        self.outputs.start()
        self.router.start()

    def committed(self, pipeline: Pipeline, outcome: Outcome) -> None:
        """Send what a durable turn gave."""
        if self.outputs:
            run = self.intake.reader.run if self.intake else ""
            self.outputs.committed(outcome, pipeline.engine.cursor, run, pipeline.changed_accounts)

    def client(self, pipeline: Callable[[], Pipeline]) -> Any:
        """The redis.asyncio client for plugins.  What `enviar_mensaje_redis` sends with it goes through the outbox."""
        client = _client(self._config)
        client.corec_put_out = StreamWriter(pipeline).add
        return client

    def stop_reading(self, pipeline: Pipeline) -> None:
        """Stop reading and take a snapshot, so that the next start needs no entries that Redis may have trimmed."""
        self.router.ask_to_stop()
        if self.intake is None:
            return
        self.intake.close()
        with suppress(CoreCError, TimeoutError):
            pipeline.take_snapshot(LAST_SNAPSHOT_S)

    def close(self) -> None:
        """Send what can be sent at once, and close everything."""
        if self.intake:
            self.intake.close()
        self.router.stop()
        if self.outputs:
            self.outputs.stop()
        self.publisher.close()
        if self._claim:
            self._claim.stop()

    def holds_back(self) -> str:
        """What keeps readings from Redis, as far as those see it who write there: for example that it refuses to; "" for nothing."""
        outputs = self.outputs.problem if self.outputs else ""
        return self.publisher.sender.stats().problem or self.router.problem or self.router.full or outputs

    def troubles(self) -> dict[str, Trouble]:
        """The trouble of each file that it keeps on the local disk, by name."""
        return {"tail": self.publisher.unsent.trouble} | ({"spool": self.intake.reader.spool_trouble} if self.intake else {})

    def status(self) -> dict[str, Any]:
        """Positions and counts as plain values, for the node's status."""
        sender = self.publisher.sender.stats()
        reading = self._reading() if self.intake else {"problem": "", "streams": [], "lost": [], "losses": 0, "spool_bytes": 0}
        return reading | {
            "address": self._server.address, "problem": reading["problem"] or sender.problem or self.router.full,
            "tail": {"waiting": sender.waiting, "kept": sender.kept, "readings": sender.sent},
            "sent": self.outputs.sent if self.outputs else 0,
        }  # fmt: skip

    def _reading(self) -> dict[str, Any]:
        reader = self.intake.reader
        return {
            "problem": reader.problem,
            "streams": [{"name": queue.position.stream, "entries": queue.length, "bytes": queue.memory, "waiting": queue.waiting,
                         "last": queue.taken.partition(" ")[0]} for queue in reader.queues],
            "lost": [str(loss) for loss in reader.losses[-5:]], "losses": len(reader.losses),
            "spool_bytes": reader.spool.size_bytes if reader.spool else 0, **reader.server,
        }  # fmt: skip


def _client(config: Config) -> Any:
    from redis import asyncio as aio
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    server, retry = config.redis_config, Retry(NoBackoff(), 0)
    if server.unix_socket:
        options = {key: value for key, value in connection_options(server).items() if not key.startswith("ssl")}
        return aio.Redis(unix_socket_path=server.unix_socket, retry=retry, **options)
    options = connection_options(server)
    if _is_cluster(config):
        del options["retry_on_error"]
        return aio.RedisCluster(host=server.host, port=server.port, retry=retry, **options)
    return aio.Redis(host=server.host, port=server.port, retry=retry, **options)


def _is_cluster(config: Config) -> bool:
    link = RedisLink(config.redis_config)
    try:
        with link.errors("say what it is"):
            link.address_of("corec")
        return link.is_cluster
    except ServerError as error:
        log.error("[CoreCNucleus-%s] %s", config.instance_id, error)
        return False
    finally:
        link.close()
