"""What a plugin sends inside a pass leaves with the commit: kill -9 between the two leaves all of it or nothing."""
import signal
import subprocess
import sys

import pytest

from corec.config import parse
from tests.support.crash.plugin_driver import CONFIG
from tests.support.nodes import running
from tests.support.paths import ROOT
from tests.support.plugin_nodes import Node, stream

pytestmark = pytest.mark.slow

SENDER = """
    from corec.core import enviar_mensaje_redis
    class Plugin:
        number = 0
        def __init__(self, nucleus):
            self.nucleus = nucleus
        async def procesar(self, datos, carga):
            for _ in range(3):
                await enviar_mensaje_redis(self.nucleus.redis_client, "numeros", b"%d" % Plugin.number, prioridad="critical")
                Plugin.number += 1
    def inicializar(nucleus, config):
        nucleus.registrar_plugin("sender", Plugin(nucleus))
"""


@pytest.mark.parametrize("isolated", [False, True], ids=["in the node", "aislado"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_kill_between_sending_and_commit(tmp_path, when, isolated):
    # Given a node that is killed while a commit is about to be written, or just after it was
    node = Node(tmp_path)
    node.plugin("sender", SENDER, {"intervalo": 0.02, "aislado": isolated})
    process = subprocess.Popen([sys.executable, "-m", "tests.support.crash.plugin_driver", node.data, node.plugins, when], cwd=ROOT,
                               stdout=subprocess.PIPE, text=True)  # fmt: skip
    word, carried, waiting = process.stdout.readline().split()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    # When it is opened again, Then the stream has what committed turns carried, once and in order, and nothing of the rest
    assert word == "halted" and int(carried) > 0 and int(waiting) > 0
    with running(parse(CONFIG), node.data) as nucleus:
        numbers = [int(fields[b"m"]) for _, fields in stream(nucleus, "numeros")]
    assert numbers == list(range(int(carried)))
