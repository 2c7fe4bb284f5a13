"""corec.config.plugins: plugins_config.json, a plugin's own file, and which of them wins."""

import pytest

from corec.config import load, load_plugin_config, merge_plugin_config
from corec.errors import ConfigError
from tests.support.config_samples import CONFIGS, node, text_of

OWN = {"bloque": "alerts_notificaciones", "enabled": True, "canal": 5, "umbral_alerta": 0.9}


@pytest.fixture
def plugins(tmp_path):
    """Reads a node whose plugins_config.json holds the given text."""
    (tmp_path / "corec_config.json").write_text(text_of(node(fuentes=["host"])))

    def read(text):
        (tmp_path / "plugins_config.json").write_text(text, encoding="utf-8")
        return load(tmp_path)

    return read


def test_global_file_wins_key_by_key():
    # Given the plugin's own keys and two of the global file
    merged = merge_plugin_config({"canal": 3, "extra": [1]}, OWN)
    # Then the global ones win and all others stay
    assert merged == OWN | {"canal": 3, "extra": [1]}


@pytest.mark.parametrize(
    ("overrides", "own", "enabled"),
    [
        ({}, {}, None),
        ({"enabled": False}, {"enabled": True}, False),
        ({"enabled": True}, {"enabled": False}, False),
    ],
)
def test_either_file_disables(overrides, own, enabled):
    assert merge_plugin_config(overrides, own).get("enabled") is enabled


def test_merging_changes_neither_file():
    overrides, own = {"enabled": True}, {"enabled": False}
    merge_plugin_config(overrides, own)["x"] = 1
    assert (overrides, own) == ({"enabled": True}, {"enabled": False})


def test_keys_of_plugins_that_are_not_installed_are_never_refused(plugins):
    # Given sections and keys that are not CoreC's
    config = plugins('{"$schema": "x", "no_such": {"db": {"dbname": "trading_db"}, "n": null}}')
    # Then they pass as they are
    assert config.plugins == {"no_such": {"db": {"dbname": "trading_db"}, "n": None}}
    assert config.warnings == ()


@pytest.mark.parametrize("typo", ["enabeld", "enable", "Enabled", "intervaloo", "aislad"])
def test_likely_typo_of_a_key_that_corec_reads_is_a_warning(plugins, typo):
    (warning,) = plugins(f'{{"alerts": {{"{typo}": false}}}}').warnings
    assert f'"{typo}" of plugin "alerts" passes to the plugin; did you mean "' in warning


def test_key_beside_the_one_it_is_like_is_no_typo(plugins):
    assert plugins('{"alerts": {"intervalo": 2, "intervalos": [1]}}').warnings == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "expected an object, got a list - at $"),
        (
            '{"enabled":\n true}',
            "expected an object of a plugin's keys, got true or false - at $.enabled",
        ),
        (
            '{"alerts": {\n"enabled": "no"}}',
            'expected true or false, got "no" - at $.alerts.enabled (line 2)',
        ),
        ('{"alerts": {"intervalo": 0}}', "expected a number above 0, at most 86400, got 0"),
        (
            '{"alerts": {"aislado": 1}}',
            "expected true or false, got 1 - at $.alerts.aislado (line 1)",
        ),
        ('{"alerts": {"enabled": true}', "expected valid JSON"),
        ('{"a.b": {"enabled": 1}}', "expected true or false, got 1"),
    ],
)
def test_mistake_in_the_global_file_is_refused(plugins, text, said):
    with pytest.raises(ConfigError) as caught:
        plugins(text)
    assert said in caught.value.text
    assert "plugins_config.json: " in caught.value.text


def test_own_file_of_a_plugin_is_read_and_may_be_missing(tmp_path):
    file = tmp_path / "config.json"
    assert load_plugin_config(file) == {}
    file.write_text(text_of(OWN))
    assert load_plugin_config(file) == OWN


def test_mistake_in_the_own_file_of_a_plugin_is_refused(tmp_path):
    file = tmp_path / "config.json"
    file.write_text('{\n"enabled": "si"}')
    with pytest.raises(
        ConfigError, match=r'config\.json: expected true or false, got "si" .*line 2'
    ):
        load_plugin_config(file)


def test_documented_file_reads_as_printed():
    alerts = {"enabled": True, "bloque": "alerts_notificaciones", "canal": 5}
    assert load(CONFIGS / "servers", embedded=True).plugins == {"alerts": alerts}
