"""The bundled host plugin: this machine's sensors over the plugin door, with the reading code of the source."""
import json
import shutil

import pytest

from corec.sources import host
from corec.sources.host import Value
from tests.support.nodes import until
from tests.support.paths import ROOT
from tests.support.plugin_nodes import Node

pytestmark = pytest.mark.slow

PLUGIN = ROOT / "plugins" / "host"


@pytest.fixture
def node(tmp_path, monkeypatch):
    """A node with the plugin enabled, on a machine whose sensors the test sets."""
    node = Node(tmp_path)
    shutil.copytree(PLUGIN, node.plugins / "host")
    node.configure = lambda **keys: (node.plugins / "host" / "config.json").write_text(
        json.dumps({**json.loads((PLUGIN / "config.json").read_text()), "enabled": True, "intervalo": 0.05, **keys}))
    node.configure()
    node.values = {"cpu0.load": 12.5, "disk./.used": 80.0}
    monkeypatch.setattr(host, "read_values", lambda: iter([Value(name, "%", valor) for name, valor in node.values.items()]))
    monkeypatch.setattr(host, "read_counters", lambda: iter(()))
    return node


def valor(nucleus, place):
    return nucleus.engine.entity(2**31 + place)["valor"]


@pytest.mark.parametrize("isolated", [False, True])
def test_sensors_are_entities_with_their_names(node, isolated):
    # Given the plugin in the node, and in a process of its own, where the machine's true sensors are
    node.configure(aislado=isolated)
    with node as nucleus:
        # Then each sensor is an entity under its name, and each value counts once a pass
        assert until(lambda: nucleus.engine.ledger["in"] > 0, seconds=60)
        assert until(lambda: nucleus.entity_name(2**31)[0] == "cpu0.load")
        passes = nucleus.status()["plugins"][0]["passes"]
        assert nucleus.engine.ledger["in"] <= (passes + 1) * nucleus.engine.config.bloques[-1].entidades
        if not isolated:
            assert (valor(nucleus, 0), valor(nucleus, 1)) == (12.5, 80.0)


def test_sensors_that_appear_get_a_block_of_their_own_and_keep_it(node):
    # Given a sensor that appears while the node runs
    with node as nucleus:
        assert until(lambda: nucleus.engine.ledger["in"] > 0)
        node.values["temp.cpu"] = 55.0
        assert until(lambda: "host.2" in nucleus.modulos["registro"].bloques)
        assert until(lambda: valor(nucleus, 2) == 55.0)
    # When the node starts again with another one more, in another order
    node.values = {"fan.cpu": 900.0, "temp.cpu": 44.0, "disk./.used": 81.0, "cpu0.load": 13.5}
    with node as nucleus:
        # Then each has the id that it had
        assert until(lambda: valor(nucleus, 0) == 13.5)
        assert until(lambda: [valor(nucleus, place) for place in range(4)] == [13.5, 81.0, 44.0, 900.0])
        assert [entry.id for entry in nucleus.engine.config.bloques[2:]] == ["host", "host.2", "host.3"]


def test_sensor_that_vanishes_is_declared_failed_then_silent(node):
    with node as nucleus:
        assert until(lambda: nucleus.engine.ledger["in"] > 0)
        del node.values["disk./.used"]
        assert until(lambda: nucleus.engine.entity(2**31 + 1)["quality"] in ("not finite", "not_finite", "declared"))
        assert nucleus.status()["plugins"][0]["failures"] == 0


def test_bundled_plugin_is_off_until_it_is_wanted():
    assert json.loads((PLUGIN / "config.json").read_text())["enabled"] is False
