"""corec.config.schema: the schemas that editors read are the ones the types give."""

import json

import pytest

from corec.config.schema import core_schema, main, plugins_schema, schemas
from tests.support.config_samples import CONFIGS, FULL, every_key


def properties(schema):
    """(object, key, its schema) of every key in *schema*."""
    for name, definition in schema["$defs"].items():
        for key, value in definition["properties"].items():
            yield name, key, value


@pytest.mark.parametrize("name", schemas())
def test_committed_schema_is_current(name):
    committed = (CONFIGS / name).read_text(encoding="utf-8")
    assert committed == schemas()[name], "run python -m corec.config.schema --write configs"


@pytest.mark.parametrize("schema", [core_schema(), plugins_schema()], ids=["core", "plugins"])
def test_every_key_has_a_description(schema):
    for name, key, value in properties(schema):
        assert value.get("description") or key == "tipo", f"{name}.{key}"


def test_sample_of_the_tests_has_every_key():
    # A key that is new to the types must be new to the sample too, or no test would try it.
    known = {key for _, key, _ in properties(core_schema())}
    assert known == {path[-1] for path in every_key(FULL) if isinstance(path[-1], str)}


def test_objects_of_corec_take_no_other_keys_and_plugins_do():
    assert all(d["additionalProperties"] is False for d in core_schema()["$defs"].values())
    section = plugins_schema()["$defs"]["PluginSection"]
    assert section.get("additionalProperties", True) is True


@pytest.mark.parametrize("schema", [core_schema(), plugins_schema()], ids=["core", "plugins"])
def test_every_number_has_both_ends(schema):
    # Errors print the range, and no number a file may hold is without one.
    for name, key, value in properties(schema):
        if value.get("type") in ("integer", "number"):
            assert "maximum" in value, f"{name}.{key}"
            assert {"minimum", "exclusiveMinimum"} & value.keys(), f"{name}.{key}"


def test_channel_carries_its_range():
    canal = core_schema()["$defs"]["BlockSpec"]["properties"]["canal"]
    assert (canal["minimum"], canal["maximum"], canal["type"]) == (0, 127, "integer")


@pytest.mark.parametrize(
    "file", sorted(CONFIGS.rglob("corec_config.json")), ids=lambda f: f.parent.name
)
def test_schema_named_in_a_file_is_there(file):
    named = json.loads(file.read_text(encoding="utf-8")).get("$schema")
    assert named is None or (file.parent / named).is_file()


def test_command_prints_and_writes(tmp_path, capsys):
    assert main([]) == 0
    assert capsys.readouterr().out == schemas()["corec_config.schema.json"]
    assert main(["--write", str(tmp_path)]) == 0
    assert {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()} == schemas()
    assert main(["--wrong"]) == 2
    assert "usage: " in capsys.readouterr().err
