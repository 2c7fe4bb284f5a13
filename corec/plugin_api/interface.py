"""Nucleus: the part of a node that modules, plugins and registered blocks may use, in its process or in an isolated one."""
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from corec.pipeline.recent_rows import WorkerTurn
from corec.plugin_api.subscriptions import StreamEntry, Subscription
from corec.streams.sending.producer import Producer


class EngineView(Protocol):
    """A read-only view of the engine.  An isolated plugin sees `block_ids` only."""

    block_ids: Sequence[str]  # by the index that aggregates and alerts name a block with
    blocks: np.ndarray  # dtypes.BLOCK, one row a block
    fusions: Sequence[Any]  # those that stand
    shard: int
    config: Any  # as reloads left it


class Nucleus(Protocol):
    """A node, as modules and plugins see it.  Methods may be called from any thread unless they say otherwise."""

    config: Any  # as the node started; an isolated plugin sees `instance_id` only
    data: Path
    redis_client: Any  # an async client for streams; of a real server where `redis_config` names one

    @property
    def engine(self) -> EngineView:
        """The engine at work; a recovery replaces it, so it is not to be kept."""

    @property
    def modulos(self) -> Mapping[str, Any]:
        """The modules that run, by name; `modulos["registro"].bloques` registers blocks."""

    @property
    def load(self) -> float:
        """The share of its time that the node is busy, [0, 1]: the *carga* that `procesar` gets."""

    def registrar_plugin(self, name: str, plugin: Any) -> None:
        """Record a plugin; its `inicializar` is awaited once all modules run.  PluginError where it is none, or the name is taken."""

    def suscribir(self, stream: str, handler: Callable[[StreamEntry], Any]) -> Subscription:
        """Have *handler* called with every entry of *stream* from now on; `cancel` of what is returned ends it.

        Streams: `corec:in`, `corec:messages:<canal>`, `corec:alerts`, and those that plugins name.
        """

    def submit(self, frames: bytes, *, time: int, producer: Producer | None = None) -> "Future[int] | None":
        """Hand in frames (n * 10 bytes) of *time* ms; the future, where there is one, resolves once they are durable."""

    def shed(self, frames: bytes) -> None:
        """Count frames of a plugin above its bound as refused; they are not stored."""

    def claim_block(self, block: str, canal: int, names: Sequence[str]) -> np.ndarray:
        """uint32[n]: the wire ids of a registered block's entities, the same at every start; waits until they are durable.

        Assigning to `modulos["registro"].bloques` asks for them.  PluginError where the block does not fit what it was before.
        """

    def release_block(self, block: str) -> None:
        """Detach a registered block: its memory is given back; rows, ids and state are kept for when it comes again."""

    def block_names(self, block: str) -> Sequence[str]:
        """The names of a registered block's entities; none where it was never registered."""

    def entity_name(self, id: int) -> tuple[str, str]:
        """(name, unit) of an entity by its wire id; its block and place where it has no name.  KeyError where there is none."""

    def note_repair(self, block: str, *, entities: int, inherited: int, why: str) -> None:
        """Put a repair of a registered block into its history: how many entities, how many with the function of a healthy one."""

    def fuse(self, block: str, host: str, why: str) -> "Future[int]":
        """Have *block* join *host* in the next turn; resolves to its number.  UsageError where the engine would refuse it now."""

    def news(self, since: int) -> tuple[dict[str, Any], int]:
        """What was committed behind number *since*, and the number to ask with next.

        {"bloques": dtypes.AGGREGATE[n], "alertas": dtypes.ALERT[n], "ahora": ms since 1970}; the oldest rows may be missing.
        """

    def take_worker_turn(self, turn: WorkerTurn) -> None:
        """Add what a worker committed to `news` and the subscriptions; for the module that coordinates workers."""
