"""corec.config.advice and corec.config.modules: typos that would go unnoticed, and what is allowed but hardly meant."""
import json

import pytest
from click.testing import CliRunner

from corec.cli import main
from corec.config import load
from corec.config.modules import installed_modules
from corec.errors import ConfigError, ExitCode
from tests.support.config_samples import CONFIGS, node

ENTRY = {"id": "a", "canal": 1, "entidades": 1000}


@pytest.fixture
def read(tmp_path):
    """Reads a configuration out of a file, as a node does."""

    def read(content):
        (tmp_path / "corec_config.json").write_text(json.dumps(content))
        return load(tmp_path)

    return read


# --- modules ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "hint"), [("auditorai", 'did you mean "auditoria"?'), ("sincronizacin", 'did you mean "sincronizacion"?'),
                                            ("xyzzy", "there are auditoria, ejecucion, registro, sincronizacion")])  # fmt: skip
def test_typo_in_modules_is_refused_with_the_name_that_was_meant(read, name, hint):
    with pytest.raises(ConfigError) as caught:
        read(node(modules=["registro", name]))
    assert f'expected the name of a module, got "{name}" - at $.modules[1] (line 1)' in caught.value.text
    assert hint in caught.value.hint


@pytest.mark.parametrize("name", ["registro", "ejecucion", "ejecución", "sincronización", "sincronizacio\u0301n", "auditoría"])
def test_modules_of_the_design_are_known_by_every_spelling(read, name):
    assert read(node(modules=[name])).modules[0] == "registro"


def test_file_and_entry_point_make_a_module_known(read, tmp_path, monkeypatch):
    # Given a module that an installed package provides
    package = tmp_path / "own-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[corec.modules]\npredicción = own:Module\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    # Then its name is one, and those of helpers are none
    assert read(node(modules=["prediccion"])).modules == ("registro", "prediccion")
    assert "registro" in installed_modules() and "base" not in installed_modules() and "__init__" not in installed_modules()


def test_typo_in_modules_ends_a_check_with_the_code_of_a_configuration(tmp_path):
    (tmp_path / "corec_config.json").write_text('{"modules": ["auditora"]}')
    done = CliRunner().invoke(main, ["check", "--config", str(tmp_path)])
    assert done.exit_code == ExitCode.CONFIG and 'did you mean "auditoria"?' in done.output


# --- advice ----------------------------------------------------------------------------------------


def test_names_of_two_tables_are_a_warning(read):
    # Given two device tables with names in common, and a third without
    entries = [{"id": name, "canal": 1, "entidades": 9, "ids": {"device": ids, "name": names}} for name, ids, names in (
        ("one", [1, 2], ["oven", ""]), ("two", [3, 4], ["oven", ""]), ("three", [5], ["door"]))]  # fmt: skip
    # Then one line says what a file of readings needs
    warnings = [line for line in read({"bloques": entries}).warnings if "oven" in line]
    assert len(warnings) == 1 and "bloques.one and bloques.two both have a device 'oven': " in warnings[0] and "--block two" in warnings[0]


def test_nothing_to_read_is_said_in_a_line(read):
    (nothing,) = read({}).warnings
    assert 'corec_config.json: "bloques" names no entry' in nothing and '"canal": 1' in nothing and "\n" not in nothing
    (unread,) = read({"bloques": [ENTRY]}).warnings
    assert 'no "fuentes": nothing will be read; "fuentes": ["host"] reads' in unread and "CoreCNucleus.submit" in unread


@pytest.mark.parametrize("content", [node(fuentes=["host"]), node({**ENTRY, "funcion": "sine"})])
def test_what_is_read_needs_no_word(read, content):
    assert read(content).warnings == ()


def test_configurations_that_come_with_corec_need_no_word():
    for folder in (CONFIGS, CONFIGS / "demo"):
        assert load(folder).warnings == ()


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (node({**ENTRY, "filtro": {"latido": 5}}, fuentes=[{"tipo": "host", "intervalo": 10}]),
         "bloques.a.filtro.latido 5 s is no longer than the 10 s between two readings of host"),
        (node({**ENTRY, "entidades": 600_000}, fuentes=[{"tipo": "simulada", "lecturas_por_segundo": 10_000}]),
         "latido 60 s is no longer than the 60 s between two readings of simulada: each of them leaves as a message; 600 would"),
        (node({**ENTRY, "funcion": "random", "intervalo": 90}), "latido 60 s is no longer than the 90 s between two readings of random"),
    ],
)  # fmt: skip
def test_heartbeat_faster_than_the_readings_is_told(read, content, line):
    (warning,) = read(content).warnings
    assert line in warning


def test_check_and_the_log_of_a_node_show_it(tmp_path):
    (tmp_path / "corec_config.json").write_text("{}")
    done = CliRunner().invoke(main, ["check", "--config", str(tmp_path)])
    assert done.exit_code == 0 and '"bloques" names no entry' in done.output


@pytest.mark.parametrize(("ventana", "says"), [
    (1, ["ask for 3,612 open windows, and a block has 64", "59 s would fit"]), (58.5, []), (57, ["ask for 65"]), (59, []),
])  # fmt: skip
def test_windows_that_close_early_are_named(tmp_path, ventana, says):
    # Given windows that wait for an hour
    (tmp_path / "corec_config.json").write_text(json.dumps(node(retraso_max=3600, bloques=[ENTRY | {"ventana": ventana}])))
    # When they are checked, then the command says which of them close before
    done = CliRunner().invoke(main, ["check", "--config", str(tmp_path)])
    said = " ".join(done.output.split())
    assert done.exit_code == 0 and all(part in said for part in says), done.output
    assert ("closes early" in said) == bool(says)
