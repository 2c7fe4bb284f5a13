"""corec.config.blocks: sizes, bounds and wire ids of the entries."""
import time
import timeit

import pytest

from corec.config import load, next_wire_id, parse, wire_ranges
from corec.config.blocks import EntryIndex
from corec.errors import ConfigError
from tests.support.config_samples import block, node, text_of


def refused(*blocks, **keys):
    """The error that these entries give."""
    with pytest.raises(ConfigError) as caught:
        parse(text_of(node(*blocks, **keys)), source="c.json")
    return caught.value


def test_block_that_its_entities_overflow_is_refused_with_the_arithmetic():
    error = refused(block(entidades=5000, entidades_por_bloque=1500))
    assert error.text == (
        "c.json: expected blocks of at most 1 MB = 1,024 KB,"
        " got 1,500 entities x 1 KB = 1,500 KB - at $.bloques[0] (line 3)"
    )
    assert error.hint == "entidades_por_bloque may be 1,024 here, or max_size_mb 2"


@pytest.mark.parametrize(
    "keys",
    [
        {"entidades_por_bloque": 1024},
        {"entidades_por_bloque": 1500, "max_size_mb": 2},
        {"entidades": 900, "entidades_por_bloque": 1_000_000},
        {"max_size_mb": 0.98},
        {"plugin": "red"},
        {"plugin": "red", "entidades": 6000, "entidades_por_bloque": 5120},
    ],
)
def test_block_that_holds_its_entities_is_accepted(keys):
    assert parse(node(block(**keys))).bloques[0].blocks >= 1


@pytest.mark.parametrize(
    "keys",
    [
        {"entidades_por_bloque": 1025, "entidades": 1025},
        {"max_size_mb": 0.5},
        {"plugin": "red", "max_size_mb": 1, "entidades": 2000},
        {"plugin": "red", "entidades": 6000, "entidades_por_bloque": 5121},
    ],
)
def test_block_that_does_not_is_refused(keys):
    assert "expected blocks of at most" in refused(block(**keys)).text


def test_hint_of_an_overflowing_block_is_true():
    # Given the two ways out that the hint names, when either is taken, then it fits
    keys = {"entidades": 5000, "entidades_por_bloque": 1500}
    parse(node(block(**keys | {"entidades_por_bloque": 1024})))
    parse(node(block(**keys, max_size_mb=2)))


def test_last_block_holds_the_rest():
    entry = parse(node(block(entidades=2300))).bloques[0]
    assert entry.sizes == (1000, 1000, 300)
    assert entry.block_ids == ("a/0", "a/1", "a/2")


def test_two_entries_of_one_name_are_refused():
    error = refused(block(), block(canal=2))
    assert (
        error.text == 'c.json: expected each id once, got "a" twice - at $.bloques[1].id (line 9)'
    )


def test_one_name_in_two_unicode_forms_is_one_name():
    assert "expected each id once" in refused(block(id="ni\u00f1o"), block(id="nin\u0303o")).text
    assert parse(node(block(id="nin\u0303o"))).bloques[0].id == "ni\u00f1o"


def test_source_finds_its_entry_in_any_unicode_form():
    config = parse(node(block(id="ni\u00f1o"), fuentes=[{"tipo": "host", "bloque": "nin\u0303o"}]))
    assert config.fuentes[0].bloque == "ni\u00f1o"


def test_limits_that_are_swapped_are_refused():
    error = refused(block(limites={"bajo": 5, "alto": 1}))
    assert "expected a limit not above alto, 1, got 5 - at $.bloques[0].limites.bajo" in error.text
    assert parse(node(block(limites={"bajo": 1, "alto": 1}))).bloques[0].limites.alto == 1


def test_wire_ids_end_with_32_bits():
    parse(node(block(ids=2**32 - 1000)))
    error = refused(block(ids=2**32 - 999))
    assert "expected wire ids up to 4294967295, got 4294966297 + 1,000 entities" in error.text
    assert "$.bloques[0].ids (line 7)" in error.text
    assert "expected wire ids up to" in refused(block(entidades=2**32), block(id="b")).text


@pytest.mark.parametrize(
    ("first", "second", "shared", "where"),
    [
        ({}, {"ids": 999}, 999, "$.bloques[1].ids"),
        ({"ids": 500}, {}, 500, "$.bloques[1] "),  # the second one's ids start at 0
        ({"ids": 500}, {"ids": 100}, 500, "$.bloques[1].ids"),
        ({}, {"ids": {"device": [5000, 999, 3]}}, 3, "$.bloques[1].ids"),
        ({"ids": {"device": [5000, 999, 3]}}, {}, 3, "$.bloques[1] "),
        ({"ids": {"device": [8, 5, 2]}}, {"ids": {"device": [5, 8, 9]}}, 5, "$.bloques[1].ids"),
        ({}, {"ids": 1000}, None, ""),
        ({}, {"ids": {"device": [1000, 70_000]}}, None, ""),
        ({"ids": {"device": [8, 5]}}, {"ids": {"device": [7, 6]}}, None, ""),
    ],
)
def test_ids_that_two_entries_share_are_refused(first, second, shared, where):
    # Given two entries, when they share an id, then the smallest one is named
    blocks = (block(**first), block(id="b", **second))
    if shared is None:
        parse(node(*blocks))
        return
    error = refused(*blocks)
    assert (
        f'expected wire ids of its own, got {shared}, which "a" has too - at {where}' in error.text
    )


def test_hint_of_shared_ids_names_a_base_that_is_free():
    # Given the base the hint names, when it is taken, then nothing overlaps
    error = refused(block(), block(id="b", ids=5))
    assert error.hint.startswith('"ids": 1005 ')
    parse(node(block(), block(id="b", ids=1005)))


def test_table_of_devices_has_no_contiguous_ids():
    # Given an entry of sparse devices between two others
    blocks = [block(), block(id="b", ids={"device": [90_000, 80_000]}), block(id="c")]
    config = parse(node(*blocks))
    # Then no other ids move, and blocks of plugins start above its largest
    assert wire_ranges(config) == [(0, 0, 1000), (2, 1000, 1000)]
    assert config.bloques[1].first_id is None
    assert config.bloques[1].table.device.tolist() == [90_000, 80_000]
    assert next_wire_id(config.bloques) == 90_001


def test_csv_of_devices_is_found_beside_the_configuration(tmp_path):
    (tmp_path / "devices.csv").write_text("device,name,unit,low,high\n42,caldera,C,10,90\n")
    (tmp_path / "corec_config.json").write_text(text_of(node(block(ids="devices.csv"))))
    config = load(tmp_path)
    assert config.bloques[0].table.names == ("caldera",)
    # and what a snapshot carries needs the file no more
    (tmp_path / "devices.csv").unlink()
    again = parse(config.to_mapping())
    assert again.bloques[0].table == config.bloques[0].table
    assert again.digest == config.digest


def test_csv_that_is_missing_is_told_where_it_is_named():
    error = refused(block(ids="no_such.csv"))
    assert "expected a CSV of devices, got no_such.csv, which is no file" in error.text
    assert "$.bloques[0].ids (line 7)" in error.text


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"device": []}, "expected at least one device, got none - at $.bloques[0].ids.device[0]"),
        ({"device": [1, 1]}, "got 1 again - at $.bloques[0].ids.device[1] (line 10)"),
        ({"device": [1, 2], "name": ["x"]}, "expected 2 values, one a device, got 1"),
        ({"device": [1], "low": [2], "high": [1]}, "expected a limit not above high, 1, got 2"),
        ({"device": [2**32]}, "expected an integer from 0 to 4294967295, got 4294967296"),
        ({"name": ["x"]}, 'expected the key "device", got none'),
        ({"device": list(range(1001))}, "expected at most 1,000 devices, got 1,001"),
    ],
)
def test_mistake_in_columns_is_told_by_its_path(columns, said):
    assert said in refused(block(ids=columns)).text


def test_entries_that_share_ids_are_found_wherever_they_stand():
    # Given entries with ids in any order, and a device table between them
    columns = {"device": [12, 47, 300], "name": [], "unit": [], "low": [], "high": []}
    spans = [(100, 20), (0, 10), (40, 5), (60, 1), (200, 100), (20, 20)]
    blocks = [block(id=f"e{first}", ids=first, entidades=count) for first, count in spans]
    blocks.insert(3, block(id="table", ids=columns, entidades=3))
    entries = parse(node(*blocks)).bloques
    index = EntryIndex(entries)
    # When another one comes with ids anywhere, Then those that it shares some with are among the ones that are looked at
    for first in range(0, 310, 3):
        for count in (1, 7, 50):
            (other,) = parse(node(block(id="other", ids=first, entidades=count))).bloques
            sharing = [entry for entry in entries if entry.table is None and entry.first_id < other.end and first < entry.end]
            near = index.near(other)
            assert [entry for entry in near if entry in sharing] == sharing
            assert len(near) <= len(sharing) + 2    # the table, and the one before


def test_many_entries_are_read_in_a_time_that_grows_with_their_number():
    # Given two configurations, one with eight times as many entries, when they are read, then so much longer takes the larger one
    def seconds(count):
        mapping = node(*(block(id=f"b{number}", entidades=2, ids=2 * number) for number in range(count)))
        return min(timeit.repeat(lambda: parse(mapping), number=1, repeat=3, timer=time.process_time))

    assert seconds(4000) < 16 * seconds(500)
