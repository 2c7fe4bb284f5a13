"""corec.config.problem: every mistake in a configuration is refused, with its path and its reason."""

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from corec.config import parse
from corec.errors import ConfigError, ExitCode, exit_code
from tests.support.config_samples import (
    FULL,
    block,
    every_key,
    get,
    node,
    rendered,
    text_of,
    with_key,
    with_value,
)

SOURCE = "configs/corec_config.json"
NULLABLE = {
    "modo",
    "celery_config",
    "flota",
    "fragmentos",
    "plugin",
    "bloque",
    "ids",
    "bajo",
    "alto",
    "funcion",
    "password_file",
    "unix_socket",
    "ca",
    "cert",
    "key",
    "db_config",
    "redis_config",
    "sslmode",
    "sslrootcert",
    "nombres",
    "replica",
    "user",
}
NAMED_KEYS = [path for path in every_key() if isinstance(path[-1], str)]


def refused(tree, **options):
    """The error that this configuration gives."""
    with pytest.raises(ConfigError) as caught:
        parse(tree if isinstance(tree, str) else text_of(tree), source=SOURCE, **options)
    return caught.value


def test_wrong_type_is_told_as_the_design_prints_it():
    error = refused(node(block(canal="uno")))
    assert error.text == (
        'configs/corec_config.json: expected an integer from 0 to 127, got "uno"'
        " - at $.bloques[0].canal (line 5)"
    )
    assert error.hint == "channels 2, 3 and 5 are critical; 1 is the usual one for sensors"
    assert exit_code(error) is ExitCode.CONFIG


def _wrong_type(value):
    if isinstance(value, list | dict):
        return "wrong_type_here"
    return ["wrong_type_here"]


@pytest.mark.parametrize("path", NAMED_KEYS, ids=rendered)
def test_wrong_type_of_each_key_is_refused_with_path_and_line(path):
    # Given every key there is, one of them with a value of a wrong type
    tree = with_value(path, _wrong_type(get(FULL, path)))
    if path[-1] == "ids":
        tree = with_value(path, ["wrong_type_here"])
    if path[-1] == "nombres":
        tree = with_value(path, {"wrong": "type"})
    text = text_of(tree)
    # When it is read
    error = refused(text)
    # Then the error names the key, and the line it stands on
    assert f" - at {rendered(path)} (line " in error.text
    assert f'"{path[-1]}"' in text.splitlines()[int(error.text.split("(line ")[1][:-1]) - 1]


@pytest.mark.parametrize(
    "path", [path for path in NAMED_KEYS if path[-1] not in NULLABLE], ids=rendered
)
def test_null_is_refused_where_there_is_no_none(path):
    error = refused(with_value(path, None))
    assert f" - at {rendered(path)} (line " in error.text or "got none" in error.text


@pytest.mark.parametrize("path", NAMED_KEYS, ids=rendered)
def test_typo_of_each_key_is_refused_with_the_key_that_was_meant(path):
    # Given every key there is, one of them with two letters swapped
    name = path[-1]
    swapped = name[0] + name[2:3] + name[1:2] + name[3:]
    typo = swapped if swapped != name else name + "z"
    tree = with_key(path, typo)
    # When it is read
    error = refused(tree)
    # Then it is refused by its name (or as the key that is now missing)
    if "expected the key" in error.text:
        assert f'expected the key "{name}"' in error.text
        return
    assert f'got "{typo}" - at {rendered((*path[:-1], typo))} (line ' in error.text
    assert error.hint == f'did you mean "{name}"?'


def test_unknown_key_that_is_like_none_lists_the_keys():
    error = refused(node(block(autoreparacion={"xyz": 1})))
    assert error.hint == "the keys here are max_errores, min_fitness"


def test_missing_key_is_named_with_its_meaning():
    error = refused({"bloques": [{"id": "a", "canal": 1}]})
    assert 'expected the key "entidades", got none - at $.bloques[0] (line 3)' in error.text
    assert error.hint == "number of entities, over all its blocks"


RANGES = [
    (("max_ram_mb",), 1, 1_048_576),
    (("max_disk_mb",), 1, 1_073_741_824),
    (("max_flash_mb_per_day",), 0, 1_073_741_824),
    (("retencion_dias",), 1, 36_500),
    (("max_store_mb",), 1, 1_073_741_824),
    (("max_skew",), 1, 315_360_000),
    (("retraso_max",), 0, 3600),
    (("hibernar_tras",), 0, 31_536_000),
    (("mensajes_mb",), 0, 1_073_741_824),
    (("conservar_diario_mb",), 0, 1_073_741_824),
    (("bloques", 0, "canal"), 0, 127),
    (("bloques", 0, "silencio_max"), 0, 7200),
    (("bloques", 0, "ventana"), 0.1, 3600),
    (("bloques", 0, "intervalo"), 0.1, 3600),
    (("bloques", 0, "autoreparacion", "max_errores"), 0, 1),
    (("bloques", 0, "autoreparacion", "min_fitness"), 0, 1),
    (("bloques", 0, "limites", "bajo"), -3.4e38, 90.5),
    (("bloques", 0, "limites", "alto"), -10.0, 3.4e38),
    (("bloques", 0, "filtro", "umbral"), 0, 3.4e38),
    (("bloques", 0, "filtro", "desviacion"), 0, 1000),
    (("bloques", 0, "filtro", "carga"), 0, 1000),
    (("bloques", 0, "filtro", "errores"), 0, 1000),
    (("bloques", 0, "filtro", "latido"), 1, 86_400),
    (("bloques", 0, "filtro", "memoria"), math.ulp(0.0), 0.5),
    (("bloques", 0, "funcion", "periodo"), math.ulp(0.0), 31_536_000),
    (("fuentes", 0, "intervalo"), 0.1, 3600),
    (("fuentes", 1, "lecturas_por_segundo"), 1, 100_000_000),
    (("fuentes", 1, "fallos"), 0, 1),
    (("fuentes", 1, "semilla"), 0, 2**63 - 1),
]


def _beyond(value, direction):
    if isinstance(value, int) and not isinstance(value, bool):
        return value + direction
    return math.nextafter(value, math.copysign(math.inf, direction))


@pytest.mark.parametrize(
    ("path", "low", "high"), RANGES, ids=lambda v: rendered(v) if isinstance(v, tuple) else None
)
def test_range_of_each_number(path, low, high):
    # Given the ends of the range, when read, then both are accepted
    for value in (low, high):
        parse(with_value(path, value), embedded=True)
    # Given the next number beyond either, when read, then it is refused at its path
    for value in (_beyond(low, -1), _beyond(high, +1)):
        error = refused(with_value(path, value), embedded=True)
        assert rendered(path).rsplit(".", 1)[0] in error.text


@pytest.mark.parametrize("value", [True, 1.0, "1", 10**30, [1], {"a": 1}])
def test_channel_takes_integers_only(value):
    error = refused(node(block(canal=value)))
    assert "expected an integer from 0 to 127, got " in error.text


@pytest.mark.parametrize("name", ["", "a/b", " a", "a ", "a\n", "a\tb", "x" * 65, "\x00"], ids=repr)
def test_name_that_could_not_be_shown_or_stored_is_refused(name):
    error = refused(node(block(id=name)))
    assert "expected a name of 1 to 64 characters" in error.text


@pytest.mark.parametrize("name", ["a", "señal 1", "x" * 64, "α-β.γ"])
def test_name_in_any_script_is_accepted(name):
    assert parse(node(block(id=name))).bloques[0].id == name


@pytest.mark.parametrize(
    ("funcion", "text", "hint"),
    [
        ("sin", 'got "sin" - at $.bloques[0].funcion', 'did you mean "sine"?'),
        ({"nombre": "sin"}, 'got "sin" - at $.bloques[0].funcion.nombre', 'did you mean "sine"?'),
        ({"a": 1}, 'expected the key "nombre", got none', "the function"),
    ],
)
def test_function_that_does_not_exist_is_refused_with_a_suggestion(funcion, text, hint):
    error = refused(node(block(funcion=funcion)))
    assert text in error.text
    assert error.hint == hint


@pytest.mark.parametrize(
    ("source", "text", "hint"),
    [
        ("hots", '"host", "simulada" or an object with "tipo", got "hots"', 'did you mean "host"?'),
        ({"tipo": "hots"}, 'got "hots" - at $.fuentes[0].tipo', 'did you mean "host"?'),
        (
            {"tipo": "host", "fallos": 1},
            'got "fallos" - at $.fuentes[0].fallos',
            "the keys here are",
        ),
        ({}, 'expected the key "tipo", got none', ""),
    ],
)
def test_source_that_does_not_exist_is_refused(source, text, hint):
    error = refused(node(fuentes=[source]))
    assert text in error.text
    assert (error.hint or "").startswith(hint)


def test_union_names_all_its_kinds():
    error = refused(node(block(funcion=7)))
    assert (
        'one of "constant", "counter", "random", "sine" or an object or null, got 7' in error.text
    )


def test_mapping_without_text_names_the_path_alone():
    with pytest.raises(ConfigError) as caught:
        parse(node(block(canal=128)))
    assert str(caught.value).startswith(
        "<mapping>: expected an integer from 0 to 127, got 128 - at $.bloques[0].canal\n"
    )


@pytest.mark.parametrize("tree", [{1: 2}, {"bloques": [{1: 2}]}])
def test_keys_that_are_no_strings_are_refused(tree):
    with pytest.raises(ConfigError, match="expected keys that are strings"):
        parse(tree)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused(value):
    with pytest.raises(ConfigError, match=r"expected a finite number.*\$\.bloques\[0\]\.ventana"):
        parse(node(block(ventana=value)))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_single_mutation_of_a_key_is_refused_by_name(data):
    # Given one letter of any key dropped, doubled or replaced
    path = data.draw(st.sampled_from(NAMED_KEYS))
    name = path[-1]
    at = data.draw(st.integers(0, len(name) - 1))
    letter = data.draw(st.sampled_from(["", name[at] * 2, "x", "á", "_"]))
    mutated = name[:at] + letter + name[at + 1 :]
    siblings = get(FULL, path[:-1])
    assume(mutated not in siblings and mutated not in {"ids", "id"})
    # When read, then CoreC refuses it and says which key it was
    error = refused(with_key(path, mutated))
    assert f'"{mutated}"' in error.text or f'expected the key "{name}"' in error.text


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(path=st.sampled_from(every_key()), value=JSON_VALUES)
def test_any_value_anywhere_is_read_or_refused_clearly(path, value):
    # Given any value at any key, when read, then it is accepted or refused; nothing else happens
    try:
        parse(with_value(path, value), embedded=True)
    except ConfigError as error:
        assert ": expected " in error.text
        assert ", got " in error.text
