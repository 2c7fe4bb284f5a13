"""Nodes on a folder of plugins, for tests that write the plugins themselves."""
import asyncio
import json
import textwrap

from corec.nucleus import CoreCNucleus
from tests.support.nodes import small


class Node:
    """A node on a folder of plugins, stopped at the end with its ledger balanced."""

    def __init__(self, tmp_path, config=None):
        self.plugins, self.data, self.config = tmp_path / "plugins", tmp_path / "data", config or small()

    def plugin(self, name, code, config=None):
        """Write a plugin's main.py and config.json into the node's folder."""
        folder = self.plugins / name
        folder.mkdir(parents=True)
        (folder / "main.py").write_text(textwrap.dedent(code))
        if config is not None:
            (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))

    def __enter__(self):
        self.nucleus = CoreCNucleus(self.config, data=self.data, plugins=self.plugins, with_sources=False)
        self.nucleus.start()
        return self.nucleus

    def __exit__(self, *_):
        self.nucleus.stop()
        ledger = self.nucleus.engine.ledger
        assert ledger["in"] == sum(ledger[part] for part in ("stored", "filtered", "late", "shed", "rejected"))


GOOD = """
    class Plugin:
        passes = 0
        async def procesar(self, datos, carga):
            Plugin.passes += 1
            Plugin.seen = datos, carga
            return {}
    def inicializar(nucleus, config):
        Plugin.config = config
        nucleus.registrar_plugin("good", Plugin())
"""


def stream(nucleus, name):
    return asyncio.run(nucleus.redis_client.xrange(name))


