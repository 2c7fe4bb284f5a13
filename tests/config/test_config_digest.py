"""corec.config: the digest of a configuration, and the mapping that a snapshot carries."""

import json

import pytest

from corec.config import parse
from tests.support.config_samples import FULL, block, get, node, text_of, with_value


def test_mapping_carries_everything_but_servers_and_reads_back():
    # Given a configuration with every key
    config = parse(text_of(FULL), embedded=True)
    # When its mapping crosses JSON and is read elsewhere
    text = json.dumps(config.to_mapping())
    again = parse(text)
    # Then nothing is lost, and nothing secret was there
    assert again.to_mapping() == config.to_mapping()
    assert (again.bloques, again.digest) == (config.bloques, config.digest)
    assert "s3cret" not in text
    assert "db_config" not in config.to_mapping()


def test_mapping_states_the_defaults():
    # A later CoreC may have other defaults; what was recorded must keep its meaning.
    entry = parse(node()).to_mapping()["bloques"][0]
    assert entry["filtro"]["latido"] == 60
    assert entry["entidades_por_bloque"] == 1000


def test_digest_is_what_it_was_when_the_first_turns_recorded_it():
    # Given a configuration of then, with the `memoria` that was the default then
    mapping = parse(FULL, embedded=True).to_mapping()
    for entry in mapping["bloques"]:
        entry["filtro"]["memoria"] = 0.001 if entry["id"] == "horno" else 0.0005
    # Then its digest is what turn records have
    assert parse(mapping).digest == "d51b6629ed6a3d2f69dbe0aaaa28b5b8"


def test_digest_is_the_meaning_not_the_spelling():
    # Given two spellings of one configuration, one of them with all defaults written out
    short = parse(node(block(funcion="sine")))
    # Then their digest is one
    assert parse(short.to_mapping()).digest == short.digest
    assert len(short.digest) == 32


@pytest.mark.parametrize(
    ("path", "value", "changes"),
    [
        (("bloques", 0, "canal"), 5, True),
        (("bloques", 0, "ids"), 5001, True),
        (("bloques", 0, "filtro", "umbral"), 0.2, True),
        (("bloques", 0, "ventana"), 6.0, True),
        (("bloques", 0, "limites", "alto"), 91.0, True),
        (("bloques", 0, "autoreparacion", "max_errores"), 0.2, True),
        (("bloques", 0, "funcion", "nombre"), "counter", True),
        (("bloques", 1, "ids", "device"), [7, 10], True),
        (("bloques", 1, "ids", "low"), [1.0, None], True),
        (("retraso_max",), 1.0, True),
        (("max_skew",), 61, True),
        (("bloques", 1, "ids", "name"), ["x", "y"], False),
        (("bloques", 0, "max_size_mb"), 3, False),
        (("instance_id",), "other", False),
        (("max_ram_mb",), 513, False),
        (("fuentes",), [], False),
        (("db_config", "password"), "other", False),
    ],
)
def test_digest_covers_what_the_engine_computes_with(path, value, changes):
    # Given one key changed, when digested, then the digest differs where results would
    before = parse(FULL, embedded=True).digest
    assert get(FULL, path) != value
    assert (parse(with_value(path, value), embedded=True).digest != before) is changes
