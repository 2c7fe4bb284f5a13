"""corec.config: the documented files, every default, the digest, the mapping, folders and files."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corec import config as configuration
from corec.config import fold_accents, load, next_wire_id, parse, wire_ranges
from corec.config.types import FuenteHost, FuenteSimulada
from corec.errors import ConfigError
from tests.support.config_samples import CONFIGS, FULL, block, node, text_of

DOCUMENTED = (CONFIGS / "servers" / "corec_config.json").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    """A folder with both files of the embedded default."""
    (tmp_path / "corec_config.json").write_text(text_of(node()), encoding="utf-8")
    (tmp_path / "plugins_config.json").write_text('{"alerts": {"canal": 5}}', encoding="utf-8")
    return tmp_path


def test_documented_configuration_reads_as_printed():
    # Given the documented file with its two server sections
    # When it is read embedded
    config = parse(DOCUMENTED, embedded=True)
    # Then its entries, modules and role are what it prints
    swarm, security, analysis = config.bloques
    assert (swarm.id, swarm.canal, swarm.entidades, swarm.blocks) == (
        "enjambre_sensor",
        1,
        980_000,
        980,
    )
    assert (security.id, security.canal, security.blocks) == ("nodo_seguridad", 2, 1)
    assert (security.autoreparacion.max_errores, security.autoreparacion.min_fitness) == (0.02, 0.5)
    assert (analysis.canal, analysis.blocks, analysis.plugin) == (3, 10, "procesador_inteligente")
    assert (analysis.max_size_mb, analysis.entidades_por_bloque) == (5, 2000)
    assert config.modules == ("registro", "ejecucion", "sincronizacion", "auditoria")
    assert (config.instance_id, config.rol) == ("corec1", "generica")


def test_documented_configuration_is_the_printed_text():
    # The documented figures stand here a second time, so that an edit of the file shows.
    printed = json.loads(DOCUMENTED)
    assert printed["db_config"] == {
        "dbname": "corec_db",
        "user": "postgres",
        "password": "your_real_password",
        "host": "localhost",
        "port": "5432",
    }
    assert printed["redis_config"] == {
        "host": "localhost",
        "port": 6379,
        "username": "",
        "password": "your_real_redis_password",
    }
    assert list(printed) == [
        "instance_id",
        "db_config",
        "redis_config",
        "bloques",
        "modules",
        "rol",
    ]


def test_default_configuration_is_the_documented_one_without_servers():
    # Given what `make run` reads, and the documented file
    default, documented = load(CONFIGS), parse(DOCUMENTED, embedded=True)
    # Then they mean the same to the engine, and the default one reads this machine's sensors
    assert default.digest == documented.digest
    assert default.fuentes == (FuenteHost(bloque="enjambre_sensor"),)
    assert default.plugins == {
        "alerts": {"enabled": True, "bloque": "alerts_notificaciones", "canal": 5}
    }
    assert default.warnings == ()


def test_demo_configuration_is_a_million_simulated_sensors():
    config = load(CONFIGS / "demo")
    assert [entry.entidades for entry in config.bloques] == [1_000_000, 1000, 20_000]
    assert config.bloques[0].canal == 1
    source = FuenteSimulada(lecturas_por_segundo=200_000, fallos=0.001, semilla=1)
    assert config.fuentes == (source,)
    assert config.plugins == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("instance_id", "corec1"),
        ("db_config", None),
        ("redis_config", None),
        ("bloques", ()),
        ("modules", ("registro", "ejecucion", "sincronizacion", "auditoria")),
        ("rol", "generica"),
        ("max_ram_mb", 1024),
        ("max_disk_mb", 1024),
        ("max_flash_mb_per_day", 0),
        ("retencion_dias", 30),
        ("max_store_mb", 200),
        ("max_skew", 86_400),
        ("retraso_max", 2.0),
        ("hibernar_tras", 600),
        ("mensajes_mb", 64),
        ("conservar_diario_mb", 0),
        ("fuentes", ()),
        ("plugins", {}),
    ],
)
def test_default_of_the_node(key, value):
    # Given an empty configuration, when it is read, then the key has its documented default
    assert getattr(parse({}), key) == value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("max_size_mb", 1),
        ("entidades_por_bloque", 1000),
        ("autoreparacion.max_errores", 0.05),
        ("autoreparacion.min_fitness", 0.2),
        ("plugin", None),
        ("ids", None),
        ("silencio_max", 0),
        ("ventana", 1.0),
        ("limites.bajo", None),
        ("limites.alto", None),
        ("intervalo", 1.0),
        ("filtro.umbral", 0.0),
        ("filtro.desviacion", 2.0),
        ("filtro.carga", 1.0),
        ("filtro.errores", 1.0),
        ("filtro.latido", 60),
        ("filtro.memoria", 0.00002),
        ("funcion", None),
    ],
)
def test_default_of_an_entry(path, value):
    # Given an entry of three keys, when it is read, then the key has its documented default
    found = parse(node()).bloques[0]
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value


def test_default_of_an_entry_with_a_plugin():
    # Given an entry that names a plugin, when it is read, then its blocks are the larger kind
    entry = parse(node(block(plugin="red", entidades=4000))).bloques[0]
    assert (entry.entidades_por_bloque, entry.max_size_mb, entry.blocks) == (2000, 5, 2)


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("host", FuenteHost(bloque="a", intervalo=1.0)),
        ("simulada", FuenteSimulada(lecturas_por_segundo=200_000, fallos=0.001, semilla=1)),
        ({"tipo": "host"}, FuenteHost(bloque="a", intervalo=1.0)),
        ({"tipo": "simulada"}, FuenteSimulada()),
    ],
)
def test_short_form_of_a_source(short, full):
    # Given a source without its keys, when it is read, then its defaults are filled in
    assert parse(node(fuentes=[short])).fuentes == (full,)


@pytest.mark.parametrize("name", ["random", "constant", "sine", "counter"])
def test_short_form_of_a_function(name):
    # Given a function by its name alone, when it is read, then its parameters are the defaults
    found = parse(node(block(funcion=name))).bloques[0].funcion
    assert (found.nombre, found.a, found.b, found.periodo) == (name, 0.0, 1.0, 60.0)


@pytest.mark.parametrize("name", ["sincronización", "sincronizacio\u0301n", "sincronizacion"])
def test_every_spelling_of_a_module_is_one_module(name):
    # Given a module's name composed, decomposed or plain, when read, then it is the same name
    assert parse({"modules": ["registro", name]}).modules == ("registro", "sincronizacion")
    assert fold_accents(name) == "sincronizacion"


def test_registro_always_runs():
    # Given modules without registro, when read, then it stands first
    assert parse({"modules": ["auditoria", "auditoria"]}).modules == ("registro", "auditoria")


@pytest.mark.parametrize("role", ["análisis", "ana\u0301lisis", "analisis"])
def test_every_spelling_of_a_role_is_one_role(role):
    assert parse({"rol": role}).rol == "analisis"


def test_unknown_role_is_refused_with_a_suggestion():
    with pytest.raises(ConfigError) as caught:
        parse({"rol": "sensro"}, source="c.json")
    assert str(caught.value) == (
        'c.json: expected one of "generica", "sensor", "analisis", got "sensro" - at $.rol\n'
        'HINT: did you mean "sensor"?'
    )


def test_source_of_an_unknown_entry_is_refused_with_a_suggestion():
    with pytest.raises(ConfigError, match=r'got "orno" - at \$\.fuentes\[0\]\.bloque') as caught:
        parse(node(block(id="horno"), fuentes=[{"tipo": "host", "bloque": "orno"}]))
    assert caught.value.hint == 'did you mean "horno"?'


def test_source_without_any_entry_is_refused():
    with pytest.raises(ConfigError, match=r"expected a block for its readings"):
        parse({"fuentes": ["host"]})


def test_wire_ids_are_contiguous_in_the_order_of_the_entries():
    # Given entries without ids and one with a base
    blocks = [block(), block(id="b", ids=70_000), block(id="c", entidades=5)]
    config = parse(node(*blocks))
    # Then the base moves none of the others, and plugins' ids start above all
    assert wire_ranges(config) == [(0, 0, 1000), (1, 70_000, 1000), (2, 1000, 5)]
    assert next_wire_id(config.bloques) == 71_000


def test_full_configuration_reads_every_key():
    # Given every key there is, when read, then each value arrives where it belongs
    config = parse(text_of(FULL), embedded=True)
    entry = config.bloques[0]
    assert (entry.sizes, entry.block_ids) == ((1500, 1000), ("horno/0", "horno/1"))
    assert (entry.filtro.latido, entry.limites.alto, entry.funcion.nombre) == (120, 90.5, "sine")
    assert config.bloques[1].table.names == ("uno", "dos")
    assert wire_ranges(config) == [(0, 5000, 2500)]
    assert (config.max_skew, config.retraso_max, config.rol) == (60, 1.5, "sensor")


def test_folder_and_file_read_the_same(folder):
    # Given a folder, when read by itself or by its file, then both files are read
    by_folder, by_file = load(folder), load(folder / "corec_config.json")
    assert by_folder.to_mapping() == by_file.to_mapping()
    assert by_folder.plugins == by_file.plugins == {"alerts": {"canal": 5}}
    assert by_folder.source == str(folder / "corec_config.json")


def test_folder_without_plugins_file_has_no_plugin_configuration(folder):
    (folder / "plugins_config.json").unlink()
    assert load(folder).plugins == {}


def test_folder_without_configuration_says_which_file_is_missing(tmp_path):
    with pytest.raises(
        ConfigError, match=r"corec_config\.json: expected a configuration file"
    ) as caught:
        load(tmp_path)
    assert "--config" in caught.value.hint


def test_file_that_is_no_text_is_refused(folder):
    (folder / "corec_config.json").write_bytes(b'{"instance_id": "\xff"}')
    with pytest.raises(ConfigError, match="expected a readable file in UTF-8"):
        load(folder)


def test_bytes_and_byte_order_mark_are_read():
    text = text_of(node())
    assert parse(text.encode()).digest == parse("\ufeff" + text).digest == parse(node()).digest


@pytest.mark.parametrize("content", [b"\xff\xfe", 7, [], None])
def test_content_of_another_kind_is_refused(content):
    with pytest.raises(ConfigError, match="<mapping>: expected"):
        parse(content)


def test_repr_shows_no_values():
    # Given a plugin's token and the servers' passwords, when shown, then none of them stands there
    config = parse(text_of(FULL), embedded=True)
    assert repr(config) == "<Config <mapping>: 2 entries, 2,510 entities>"


def test_configuration_is_frozen():
    with pytest.raises(AttributeError):
        parse({}).max_ram_mb = 1


ALONE = """
import sys, types
sys.modules["corec"] = types.ModuleType("corec")  # without what the package itself imports
sys.modules["corec"].__path__ = ["corec"]
import corec.config
corec.config.load("configs")
print(*sys.modules)
"""


def test_import_brings_no_heavy_library():
    # Given a fresh interpreter, when a configuration without devices is read
    command = [sys.executable, "-c", ALONE]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=CONFIGS.parent, check=True)
    # Then what only a few configurations need stays out
    loaded = set(ran.stdout.split())
    assert "corec.config.document" in loaded
    assert not {"numpy", "hashlib", "corec.config.device_table"} & loaded


def test_all_lists_what_is_there():
    assert all(hasattr(configuration, name) for name in configuration.__all__)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 10_000), min_size=1, max_size=6),
    size=st.integers(1, 1024),
)
def test_blocks_and_ids_add_up(counts, size):
    # Given any entries
    blocks = [
        block(id=f"e{i}", entidades=n, entidades_por_bloque=size) for i, n in enumerate(counts)
    ]
    config = parse(node(*blocks))
    # Then the blocks of an entry hold its entities, and the ids of all entries leave no gap
    for entry, count in zip(config.bloques, counts, strict=True):
        assert sum(entry.sizes) == count
        assert len(entry.sizes) == entry.blocks == len(entry.block_ids)
        assert max(entry.sizes) <= size
    ends = [first + count for _, first, count in wire_ranges(config)]
    assert [first for _, first, _ in wire_ranges(config)] == [0, *ends[:-1]]
