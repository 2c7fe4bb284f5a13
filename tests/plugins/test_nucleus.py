"""plugin_api.Nucleus: what extends a node uses nothing else of it, and both the node and an isolated plugin's proxy have all of it."""
import ast
import inspect

import pytest

from corec.nucleus import CoreCNucleus
from corec.plugin_api.interface import Nucleus
from corec.plugin_api.metering import Meter
from corec.plugins.isolated.nucleus_proxy import Budget, NodeCalls, NucleusProxy
from tests.support.nodes import running, small
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

#: Every public name of the protocol, whether attribute, property or method.
NAMES = sorted(name for name in {*vars(Nucleus), *Nucleus.__annotations__} if not name.startswith("_"))
METHODS = [name for name in NAMES if inspect.isfunction(vars(Nucleus).get(name))]
#: What extends a node, and calls it `nucleus`.
EXTENSIONS = [file for folder in ("corec/modules", "plugins", "examples") for file in sorted((ROOT / folder).rglob("*.py"))]


class Silent:
    """A pipe that nobody reads."""

    def send(self, *message):
        return 0


@pytest.fixture
def proxy(tmp_path):
    link = NodeCalls(Silent())
    return NucleusProxy(link, "corec1", tmp_path, ["a/0"], Budget(link, Meter("p")))


def test_the_protocol_names_what_is_documented():
    assert {"config", "engine", "data", "load", "redis_client", "modulos", "submit", "shed", "note_repair", "claim_block", "release_block",
            "block_names", "suscribir", "registrar_plugin", "entity_name", "news"} <= set(NAMES)  # fmt: skip
    # And each method says what it is for
    assert [name for name in METHODS if not vars(Nucleus)[name].__doc__] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_node_has_every_name(name, tmp_path):
    # Given a node that runs, then it has the name itself: what it inherited from the protocol would do nothing
    with running(small(), tmp_path / "data") as nucleus:
        assert name in vars(nucleus) or name in vars(CoreCNucleus)
        assert getattr(nucleus, name) is not None


@pytest.mark.parametrize("name", NAMES)
def test_an_isolated_plugin_has_every_name(name, proxy):
    assert name in vars(proxy) or name in vars(NucleusProxy)
    assert getattr(proxy, name) is not None


@pytest.mark.parametrize("kind", [CoreCNucleus, NucleusProxy], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", METHODS)
def test_methods_take_what_the_protocol_says(name, kind):
    # Given a method of the protocol, then both take its arguments by the same names, in the same order
    wanted, found = (inspect.signature(getattr(each, name)).parameters for each in (Nucleus, kind))
    assert [each for each in found if each in wanted] == list(wanted)
    # And ask for nothing more
    assert [each.name for each in found.values() if each.name not in wanted and each.default is inspect.Parameter.empty] == []


@pytest.mark.parametrize("file", EXTENSIONS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_extensions_use_only_the_protocol(file):
    # Given what a file uses on `nucleus`, then the protocol has it
    used = {node.attr for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute) and is_nucleus(node.value)}
    assert used <= set(NAMES)


def is_nucleus(node):
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name in ("nucleus", "_nucleus")
