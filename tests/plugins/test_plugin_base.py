"""A plugin's own database, embedded and on PostgreSQL, by the same code."""
import asyncio
import json
import shutil
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from corec.core import abrir_base
from corec.errors import ConfigError, PluginError, ServerAway, StorageError
from tests.support.nodes import now_ms, readings, small, until
from tests.support.paths import ROOT
from tests.support.servers.proxy import Proxy

pytestmark = pytest.mark.slow

TRADING = ROOT / "examples" / "plugins" / "trading"


@pytest.fixture(params=["sqlite", "postgresql"])
def named(request, tmp_path):
    """What a plugin's config.json says, and what stands in for the node."""
    database = request.getfixturevalue("database") if request.param == "postgresql" else None
    return request.param, {"base": "mine", **({"db_config": database} if database else {})}, SimpleNamespace(data=tmp_path)


def test_statements_and_rows(named, tmp_path):
    # Given a plugin's database of either kind
    kind, config, nucleus = named

    async def use():
        base = abrir_base(nucleus, config)
        assert base.tipo == kind
        # When it makes a table, adds rows and asks for them, then they are there, with % and ? in text left alone
        assert await base.ejecutar("CREATE TABLE t (a INTEGER, b TEXT)") == []
        await base.ejecutar_varios("INSERT INTO t VALUES (?, ?)", [(1, "x"), (np.int64(2), np.str_("100 %?"))])
        assert await base.ejecutar("SELECT a FROM t WHERE b LIKE '%?' AND a > ?", (np.int64(1),)) == [(2,)]
        # And of several statements all stand or none
        with pytest.raises((PluginError, StorageError)):
            await base.ejecutar_varios("INSERT INTO t VALUES (1 / ?, ?)" if kind == "postgresql" else "INSERT INTO t VALUES (?, abs(?))",
                                       [(1, 5), (0, -(2**63))])  # fmt: skip
        assert await base.ejecutar("SELECT count(*) FROM t") == [(2,)]
        await base.cerrar()
        again = abrir_base(nucleus, config)
        assert await again.ejecutar("SELECT count(*) FROM t") == [(2,)]
        await again.cerrar()

    asyncio.run(use())
    assert (tmp_path / "plugins" / "mine.db").exists() == (kind == "sqlite")


def test_statements_run_in_a_thread_of_their_own(named):
    _, config, nucleus = named
    threads = set()

    async def use():
        base = abrir_base(nucleus, config)
        await base.ejecutar("SELECT 1")
        threads.update(thread.name for thread in threading.enumerate())
        await base.cerrar()

    asyncio.run(use())
    assert any(name.startswith("plugin-base") for name in threads)


@pytest.mark.parametrize("config", [{}, {"base": ""}, {"base": "../up"}, {"base": 3}])
def test_base_without_a_name_is_refused(config, tmp_path):
    with pytest.raises(PluginError, match='expected "base"'):
        abrir_base(SimpleNamespace(data=tmp_path), config)


def test_section_is_checked_as_the_node_s_own(tmp_path):
    with pytest.raises(ConfigError, match="db_config.port"):
        abrir_base(SimpleNamespace(data=tmp_path), {"db_config": {"port": 0}})


def test_server_that_goes_and_comes(database, tmp_path):
    async def use(proxy):
        base = abrir_base(SimpleNamespace(data=tmp_path), {"db_config": {**database, "host": "127.0.0.1", "port": proxy.port}})
        await base.ejecutar("SELECT 1")
        proxy.down()
        with pytest.raises(ServerAway):
            await base.ejecutar("SELECT 1")
        proxy.up()
        assert await base.ejecutar("SELECT 2") == [(2,)]
        await base.cerrar()

    with Proxy(database["port"], database["host"]) as proxy:
        asyncio.run(use(proxy))


def test_example_plugin_keeps_its_table_either_way(named, tmp_path):
    # Given the example plugin in a node, with a database of either kind
    from corec.nucleus import CoreCNucleus

    kind, config, _ = named
    shutil.copytree(TRADING, tmp_path / "folder" / "trading")
    own = json.loads((TRADING / "config.json").read_text())
    (tmp_path / "folder" / "trading" / "config.json").write_text(json.dumps({**own, **config}))
    nucleus = CoreCNucleus(small(), data=tmp_path / "data", plugins=tmp_path / "folder", with_sources=False)
    nucleus.start()
    # When a block's mean falls and rises
    for value in (50, 50, 20, 20, 90, 90):
        nucleus.submit(readings([1, 2], values=float(value)), time=now_ms()).result()
        until(lambda: False, 0.25)
    # Then it bought and sold, and its table says so
    async def ask():
        base = abrir_base(SimpleNamespace(data=tmp_path / "data"), {**own, **config})
        rows = await base.ejecutar("SELECT tipo, precio FROM operaciones ORDER BY tiempo")
        await base.cerrar()
        return rows

    try:
        assert until(lambda: len(asyncio.run(ask())) >= 2)
    finally:
        nucleus.stop()
    assert asyncio.run(ask())[:2] == [("compra", 20.0), ("venta", 90.0)]
