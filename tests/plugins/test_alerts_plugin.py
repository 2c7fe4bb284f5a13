"""The bundled alerts plugin: the node's alerts and loud blocks onto the stream, once a burst, no flood."""
import asyncio
import importlib.util
import logging

import numpy as np
import pytest

from corec._core import dtypes
from corec.nucleus import CoreCNucleus
from tests.support.nodes import now_ms, readings, small, until
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

PLUGINS = ROOT / "plugins"


class Nucleus:
    """What the plugin asks of a node."""

    def __init__(self):
        self.sent, self.redis_client = [], self
        self.engine, self.block_ids = self, ["a/0", "a/1"]

    def entity_name(self, id):
        return f"a/0:{id}", "%"

    async def xadd(self, name, fields, **options):
        self.sent.append((name, fields))
        return b"1-0"


def plugin_of(config):
    spec = importlib.util.spec_from_file_location("bundled_alerts", PLUGINS / "alerts/main.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    nucleus = Nucleus()
    return module.AlertsPlugin(nucleus, config), nucleus


def passed(plugin, scores=(), alerts=0, now=0, kind=1):
    rows, raised = np.zeros(len(scores), dtypes.AGGREGATE), np.zeros(alerts, dtypes.ALERT)
    rows["score"], raised["kind"], raised["block"], raised["valor"] = scores, kind, 1, 7.25
    return asyncio.run(plugin.procesar({"bloques": rows, "alertas": raised, "ahora": now}, 0.0))


def test_loud_block_is_told_once_a_burst():
    plugin, nucleus = plugin_of({"puntaje_alto": 10, "puntaje_bajo": 5})
    # Given scores that rise, waver above the lower bound, fall and rise again
    for score in (3, 11, 20, 7, 12, 4, 11):
        passed(plugin, [score])
    # Then two bursts were told
    assert len(nucleus.sent) == 2


def test_anomaly_is_told_as_of_its_block(caplog):
    caplog.set_level(logging.INFO)
    plugin, nucleus = plugin_of({})
    # Given an anomaly of a block that the node alerts, and loud rows beside it
    passed(plugin, [500.0, 900.0], alerts=1, kind=5)
    # Then the alert is told, by the block's name and score, and scores by themselves are not
    assert len(nucleus.sent) == 1
    assert "Alerta enviada: bloque a/1: puntaje 7.2" in caplog.text
    # And an alert of an entity is told by the entity's name
    passed(plugin, alerts=1)
    assert "Alerta enviada: a/0:0: valor 7.25 %" in caplog.text


def test_no_more_than_the_rate_leaves(caplog):
    caplog.set_level(logging.WARNING)
    plugin, nucleus = plugin_of({"por_minuto": 5})
    assert passed(plugin, alerts=8)["retenidas"] == 3
    assert len(nucleus.sent) == 5 and "3 alertas retenidas" in caplog.text
    passed(plugin, alerts=1, now=60_000)
    assert len(nucleus.sent) == 6


def test_alert_of_the_node_reaches_the_stream(tmp_path):
    nucleus = CoreCNucleus(small(), data=tmp_path, plugins=PLUGINS, with_sources=False)
    nucleus.start()
    try:
        nucleus.submit(readings([7], values=150.0), time=now_ms()).result(60)
        assert until(lambda: asyncio.run(nucleus.redis_client.xrange("alertas")))
    finally:
        nucleus.stop()
