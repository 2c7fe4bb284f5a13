"""What modules, plugins and the blocks they register ask of their node."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np

from corec.plugin_api.subscriptions import Entry, Subscription

if TYPE_CHECKING:
    from corec.node.block_ids import Places
    from corec.pipeline.recent_rows import News
    from corec.pipeline.turns import Pipeline
    from corec.plugins.manager import PluginManager
    from corec.plugins.runner import Organism


class PluginDoor:
    """The part of a CoreCNucleus that plugins see."""

    pipeline: "Pipeline"
    _organism: "Organism"
    _places: "Places"
    _news: "News"

    @property
    def modulos(self) -> dict[str, Any]:
        """The modules that run, by name."""
        return self._organism.modulos

    @property
    def plugins(self) -> "PluginManager":
        """The plugins that were registered."""
        return self._organism.manager

    @property
    def load(self) -> float:
        """The share of its time that the node is busy, [0, 1]: the seed's *carga*."""
        return self.pipeline.load

    def registrar_plugin(self, name: str, plugin: Any) -> None:
        """Record a plugin; its `inicializar` is awaited once all modules run."""
        self._organism.manager.register(name, plugin)

    def suscribir(self, stream: str, handler: Callable[[Entry], Any]) -> Subscription:
        """Have *handler* called with every entry of *stream* from now on; `cancel` of what is returned ends it.

        Streams: `corec:in`, `corec:messages:<canal>`, `corec:alerts`, and those that plugins name.
        """
        return self._organism.subscribe(stream, handler)

    def claim_block(self, block: str, canal: int, names: Sequence[str], holder: str = "") -> np.ndarray:
        """uint32: the wire ids of a registered block's entities; assigning to `modulos["registro"].bloques` asks for them."""
        return self._places.claim(block, canal, names, holder)

    def block_names(self, block: str) -> Sequence[str]:
        """The names that a registered block's entities have."""
        return self._places.names(block)

    def forget_holder(self, holder: str) -> None:
        """A plugin's process is gone: its blocks may be claimed again."""
        self._places.forget(holder)

    def in_loop(self, call: Callable[..., Any], **arguments: Any) -> "Future[Any]":
        """Await a call in the loop of modules and plugins, where clients of servers live."""
        return self._organism.submit(lambda: call(**arguments))

    def release_block(self, block: str) -> None:
        """Detach a registered block; deleting from `modulos["registro"].bloques` asks for it."""
        self._places.release(block)

    def news(self, since: int) -> tuple[dict[str, Any], int]:
        """What was committed behind number *since*: aggregates and alerts as structured arrays, and the time; its number."""
        return self._news.behind(since)
