"""corec.config.document: JSON mistakes are told by line, and every path knows its place."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corec.config import load, parse
from corec.config.document import Document, render_path, show, value_offsets
from corec.errors import ConfigError
from tests.support.config_samples import FULL, every_key, node, text_of


def refused(text):
    """The error that this text gives."""
    with pytest.raises(ConfigError) as caught:
        Document(text, "c.json")
    return caught.value


@pytest.mark.parametrize(
    ("text", "where", "hint"),
    [
        ('{\n  "a": 1,\n}', "line 3, column 1", "a comma before } is one too many"),
        ('{"a": [1,\n]}', "line 2, column 1", "a comma before ] is one too many"),
        ('{\n  "a": 1\n  "b": 2\n}', "line 3, column 3", "expecting ',' delimiter"),
        ('{"a" 1}', "line 1, column 6", "expecting ':' delimiter"),
        ('{"a": uno}', "line 1, column 7", "expecting value"),
        ('{"a": "uno', "line 1, column 7", "unterminated string starting at"),
        ("", "line 1, column 1", "the file is empty"),
        ("device,name,unit,low\n1,oven,C,60", "line 1, column 1", 'a configuration begins with {, this with "device,name,unit,low"'),
        ("{} {}", "line 1, column 4", "extra data"),
        ("// comment\n{}", "line 1, column 1", 'a configuration begins with {, this with "// comment\\n{}"'),
    ],
)
def test_invalid_json_is_told_by_line_and_column(text, where, hint):
    error = refused(text)
    assert error.text == f"c.json: expected valid JSON, got a mistake - at {where}"
    assert error.hint == hint


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_outside_json_are_refused(number):
    error = refused(f'{{"a": 1,\n"b": [2, {{"c":\n {number}}}]}}')
    assert error.text == f"c.json: expected a finite number, got {number} - at $.b[1].c (line 2)"
    assert "null" in error.hint


def test_number_above_all_floats_is_refused_at_its_line():
    assert (
        refused('{\n"a": 1e999}').text
        == "c.json: expected a finite number, got Infinity - at $.a (line 2)"
    )


@pytest.mark.parametrize("text", ['{"\\ud800": 1}', '{"a": "\\ud800"}', '{"a": ["\\udfff"]}'])
def test_half_a_letter_is_refused(text):
    assert "expected text in Unicode" in refused(text).text


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "1" * 5000])
def test_text_that_no_configuration_has_is_refused(text):
    assert "expected" in refused(text).text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{\n"canal": 1,\n"canal": 2}', '"canal" twice - at $.canal (line 3)'),
        ('{"bloques": [\n{"id": "a"},\n{"id": "b",\n"id": "c"}]}', "$.bloques[1].id (line 4)"),
        ('{"a": {"x": 1},\n"a": {"x": 1, "x": 2}}', '"a" twice - at $.a (line 2)'),
        ('{"a": 1, "\\u0061": 2}', '"a" twice - at $.a (line 1)'),
    ],
)
def test_duplicate_key_is_refused_at_its_second_place(text, said):
    error = refused(text)
    assert "expected each key once" in error.text
    assert said in error.text
    assert "the first one stands in line" in error.hint


def test_same_key_in_two_objects_is_no_duplicate():
    assert Document('[{"a": 1}, {"a": 2}]', "c.json").tree == [{"a": 1}, {"a": 2}]


def test_duplicate_key_of_either_file_never_starts_a_node(tmp_path):
    (tmp_path / "corec_config.json").write_text(text_of(node()))
    (tmp_path / "plugins_config.json").write_text('{"alerts": {},\n "alerts": {}}')
    with pytest.raises(ConfigError, match=r'plugins_config\.json: .* "alerts" twice .*\(line 2\)'):
        load(tmp_path)


def test_every_key_of_a_file_is_found_on_its_line():
    # Given the text of a file that has each key on a line of its own
    text = text_of(FULL)
    lines = text.splitlines()
    found = dict(value_offsets(text))
    # Then each path is known, and its line holds its key
    assert found.keys() == set(every_key())
    for path, offset in found.items():
        line = lines[text.count("\n", 0, offset)]
        assert isinstance(path[-1], int) or f'"{path[-1]}":' in line


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(tree=TREES, indent=st.sampled_from([None, 1, 4]), ascii_only=st.booleans())
def test_value_offsets_of_any_document_are_its_keys_and_items(tree, indent, ascii_only):
    # Given any JSON text
    text = json.dumps(tree, indent=indent, ensure_ascii=ascii_only)
    # Then the paths are its keys and items in order, and each offset is where the text has it
    keys = every_key(tree) if isinstance(tree, dict | list) else []
    assert [path for path, _ in value_offsets(text)] == keys
    for path, offset in value_offsets(text):
        if isinstance(path[-1], str):
            assert json.JSONDecoder().raw_decode(text, offset)[0] == path[-1]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("uno", '"uno"'),
        (True, "true"),
        (None, "null"),
        (1.5, "1.5"),
        ({"a": 1}, "an object"),
        ([1], "a list"),
        ("ñ", '"ñ"'),
        ("x" * 100, '"' + "x" * 56 + "..."),
        ("\ud800", '"\\ud800"'),
    ],
)
def test_values_are_shown_short_and_printable(value, text):
    assert show(value) == text
    show(value).encode()


def test_path_is_rendered_as_json_path():
    assert render_path(("bloques", 0, "canal")) == "$.bloques[0].canal"
    assert render_path(()) == "$"


def test_byte_order_mark_shifts_no_line():
    with pytest.raises(ConfigError, match=r"\(line 2\)"):
        parse('\ufeff{\n"max_ram_mb": 0}')
