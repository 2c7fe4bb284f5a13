"""corec.config.ram_price: the RAM that a configuration needs, and the refusal of one that does not fit."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corec.config import load, parse
from corec.config.ram_price import (
    BASE_BYTES,
    BUFFER_BYTES,
    MB,
    Price,
    PriceRow,
    admit,
    amount,
    block_bytes,
    price,
)
from corec.errors import CapacityError, ExitCode, exit_code
from tests.support.config_samples import CONFIGS, block, node


@pytest.mark.parametrize(
    ("entities", "expected"),
    [
        (1, 4096 + 64 + 320),
        (8, 4096 + 64 + 320),
        (128, 4096 + 64 + 320),  # 16 tiles of 256 B fill a page
        (129, 8192 + 64 + 320),
        (999, 32_768 + 64 + 320),
        (1000, 32_768 + 64 + 320),
        (1001, 32_768 + 4096 + 2 * 64 + 320),
        (2000, 2 * (32_768 + 64) + 320),
    ],
)
def test_block_costs_its_touched_pages_and_headers(entities, expected):
    assert block_bytes(entities, page=4096) == expected


def test_block_costs_larger_pages_where_the_machine_has_them():
    # A Raspberry Pi 5 has pages of 16 KiB.
    assert block_bytes(1, page=16_384) == 16_384 + 64 + 320
    assert block_bytes(1000, page=16_384) == 32_768 + 64 + 320


@settings(max_examples=200)
@given(entities=st.integers(1, 100_000))
def test_block_never_costs_less_than_its_entities_nor_more_with_fewer(entities):
    assert block_bytes(entities, page=4096) >= 32 * entities + 320
    assert block_bytes(entities, page=4096) <= block_bytes(entities + 1, page=4096)


def test_rows_are_the_node_and_each_entry():
    # Given the documented entries, when priced
    bill = price(load(CONFIGS))
    # Then each has a row, and the rows are the total
    assert [row.name for row in bill.rows] == [
        "node",
        "journal and commits",
        "enjambre_sensor",
        "nodo_seguridad",
        "ia_analisis",
    ]
    assert [row.bytes for row in bill.rows] == [
        BASE_BYTES,
        BUFFER_BYTES,
        980 * block_bytes(1000),
        block_bytes(1000),
        10 * block_bytes(2000),
    ]
    assert bill.total_bytes == sum(row.bytes for row in bill.rows)


def test_million_entities_stay_within_the_designs_budget():
    # 40 B an entity all in, and 120 MB for the node
    bill = price(load(CONFIGS / "demo"))
    assert bill.total_bytes <= 120 * MB
    assert bill.rows[2].entities == 1_000_000
    assert 32 < bill.rows[2].bytes_per_entity <= 40
    assert bill.rows[0].bytes_per_entity == 0


def test_smaller_last_block_is_priced_as_what_it_is():
    row = price(parse(node(block(entidades=2300)))).rows[2]
    assert row.bytes == 2 * block_bytes(1000) + block_bytes(300)


def test_small_blocks_are_priced_by_their_own_size():
    row = price(parse(node(block(entidades=5)))).rows[2]
    assert row.bytes == block_bytes(5)
    assert "1 block of 5, " in row.arithmetic


def test_table_of_devices_has_a_row_of_its_own():
    row = price(parse(node(block(ids={"device": [1, 2]})))).rows[3]
    assert (row.name, row.bytes, row.arithmetic) == ("a devices", 400, "2 devices, 200 B each")


def test_configuration_at_its_limit_is_admitted_and_one_above_is_not():
    # Given what the entities cost, rounded up to a whole megabyte
    total = price(parse(node(block(entidades=100_000)))).total_bytes
    enough = -(-total // MB)
    # When that is the limit, then it fits; with a megabyte less it does not
    assert admit(parse(node(block(entidades=100_000), max_ram_mb=enough))).fits
    with pytest.raises(CapacityError):
        admit(parse(node(block(entidades=100_000), max_ram_mb=enough - 1)))


def test_bill_of_exactly_the_limit_fits():
    assert Price((PriceRow("node", MB, ""),), MB).fits
    assert not Price((PriceRow("node", MB + 1, ""),), MB).fits


def test_refusal_carries_the_arithmetic_and_the_way_out():
    # Given forty million entities under the default limit
    with pytest.raises(CapacityError) as caught:
        admit(parse(node(block(entidades=40_000_000)), source="c.json"))
    error = caught.value
    # Then the error names limit and total, shows each row, and its hint is enough
    assert error.text.startswith("c.json: expected at most 1,024.0 MB of RAM, got 1,340.6 MB")
    assert f"40,000 blocks of 1,000, {block_bytes(1000):,} B each" in error.detail
    assert "journal and commits" in error.detail
    needed = int(error.hint.split()[1])
    assert admit(parse(node(block(entidades=40_000_000), max_ram_mb=needed))).fits
    assert exit_code(error) is ExitCode.CAPACITY


def test_price_of_billions_of_entities_takes_no_memory_of_its_own():
    # Given the most entities a wire id can tell apart, in blocks of one
    config = parse(node(block(entidades=2**32, entidades_por_bloque=1)))
    # Then it is priced by arithmetic and refused
    with pytest.raises(CapacityError):
        admit(config)


def test_lines_are_the_bill_as_text():
    lines = price(parse(node())).lines()
    assert lines[0].split()[:3] == ["node", "60.0", "MB"]
    assert lines[-1].startswith("total ")
    assert lines[-1].endswith("of max_ram_mb 1,024.0 MB")
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0.0 KB"), (1536, "1.5 KB"), (MB, "1.0 MB"), (3 * 1024 * MB, "3,072.0 MB")],
)
def test_amounts_are_readable(count, text):
    assert amount(count) == text
