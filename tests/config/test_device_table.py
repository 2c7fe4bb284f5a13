"""corec.config.device_table: a CSV of devices, and everything that can be wrong with one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corec.config import parse
from corec.config.device_table import DeviceTable, read_table
from corec.errors import ConfigError
from tests.support.config_samples import block, node

HEADER = "device,name,unit,low,high"


@pytest.fixture
def read(tmp_path):
    """Reads the given lines as a table of at most 1,000 devices."""

    def read_lines(*lines, entities=1000):
        file = tmp_path / "devices.csv"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return read_table(file, entities)

    return read_lines


def test_rows_become_columns_in_their_order(read):
    # Given three devices, two of them with gaps
    table = read(HEADER, "70001,caldera,°C,10,90.5", "12,,,,", "4294967295,puerta,,-1.5e3,")
    # Then each is a slot in the order of the file, with NaN and '' for what is not there
    assert table.device.tolist() == [70_001, 12, 4_294_967_295]
    assert table.names == ("caldera", "", "puerta")
    assert table.units == ("°C", "", "")
    np.testing.assert_array_equal(table.low, np.float32([10, np.nan, -1500]))
    np.testing.assert_array_equal(table.high, np.float32([90.5, np.nan, np.nan]))
    assert (table.device.dtype, table.low.dtype, table.high.dtype) == ("u4", "f4", "f4")
    assert len(table) == 3


def test_columns_may_be_left_out_and_stand_in_any_order(read):
    table = read("high,device", "5,1", ",2")
    assert (table.device.tolist(), table.names, table.low.size) == ([1, 2], ("", ""), 2)
    np.testing.assert_array_equal(table.high, np.float32([5, np.nan]))


def test_largest_limits_are_read(read):
    table = read("device,low,high", "1,-3.4e38,3.4e38")
    assert np.isfinite([table.low, table.high]).all()


def test_spaces_blank_lines_quotes_and_byte_order_mark_do_no_harm(read):
    table = read("\ufeff device , name", "", ' 1 ,"a, b"', "", "2,c")
    assert (table.device.tolist(), table.names) == ([1, 2], ("a, b", "c"))


@pytest.mark.parametrize(
    ("lines", "said", "hint"),
    [
        ([""], "expected the header device,name,unit,low,high, got", "separated by commas"),
        (["divice,name", "1,a"], 'got "divice,name" - at line 1', 'did you mean "device"?'),
        (["device,nmae", "1,a"], 'got "device,nmae" - at line 1', 'did you mean "name"?'),
        (["device;name", "1;a"], 'got "device;name" - at line 1', "separated by commas"),
        (["name,unit", "a,C"], 'got "name,unit" - at line 1', "separated by commas"),
        (["device,device", "1,2"], 'got "device,device" - at line 1', "separated by commas"),
        ([HEADER], "expected at least one device, got only the header", None),
        (
            [HEADER, "1,a,C,1"],
            "expected 5 values, one a column, got 4 - at line 2",
            "an empty value",
        ),
        ([HEADER, "1,a,C,1,5,9"], "expected 5 values, one a column, got 6 - at line 2", "an empty"),
        (["device", "1", "x"], 'got "x" - at column device (line 3)', None),
        (["device,name", "1,a", ",b"], 'got "" - at column device (line 3)', None),
        (["device", "-1"], 'expected an integer from 0 to 4294967295, got "-1"', None),
        (["device", "4294967296"], 'got "4294967296" - at column device (line 2)', None),
        (["device", "9" * 5000], "expected an integer from 0 to 4294967295", None),
        (["device", "1.0"], 'got "1.0" - at column device (line 2)', None),
        (["device", "1_0"], 'got "1_0" - at column device (line 2)', None),
        (["device", "٣"], 'got "٣" - at column device (line 2)', None),
        (["device,low", "1,x"], 'expected a number or nothing, got "x" - at column low', "a point"),
        (["device,low", '1,"1,5"'], 'got "1,5" - at column low (line 2)', "decimals take a point"),
        (["device,high", "1,nan"], 'got "nan" - at column high (line 2)', "decimals"),
        (["device,high", "1,inf"], 'got "inf" - at column high (line 2)', "decimals"),
        (["device,high", "1,1e39"], 'got "1e39" - at column high (line 2)', "decimals"),
        (["device,high", "1,1_0"], 'got "1_0" - at column high (line 2)', "decimals"),
        (
            ["device", "7", "8", "", "7"],
            "expected each device once, got 7 again - at column device (line 5)",
            "remove one",
        ),
        (
            ["device,name", "1,temp", "2,", "3,", "4,temp"],
            'a name of its own for each device, got "temp" for device 1 and for device 4 - at column name (line 5)',
            "by name",
        ),
        (
            ["device,low,high", "1,1,2", "2,3,2"],
            "expected a limit not above high, 2, got 3 - at column low (line 3)",
            "swapped",
        ),
        (["device,name", '1,"a\nb"', "x,c"], 'got "x" - at column device (line 4)', None),
        (["device,name", '1,"a'], "expected a CSV in UTF-8, got unexpected end of data", None),
    ],
)
def test_mistake_is_told_by_column_and_line(read, lines, said, hint):
    with pytest.raises(ConfigError) as caught:
        read(*lines)
    assert said in caught.value.text
    assert "devices.csv: expected " in caught.value.text
    assert (hint or "") in (caught.value.hint or "")


def test_more_devices_than_entities_are_refused_at_the_first_too_many(read):
    read("device", "1", "2", entities=2)
    with pytest.raises(
        ConfigError, match=r"expected at most 2 devices, got 4 .*\(line 4\)"
    ) as caught:
        read("device", "1", "2", "3", "4", entities=2)
    assert caught.value.hint == "raise entidades"


def test_several_repeats_name_the_first(read):
    with pytest.raises(ConfigError, match=r"got 5 again - at column device \(line 4\)"):
        read("device", "9", "5", "5", "9")


def test_bytes_that_are_no_utf8_are_refused(tmp_path):
    file = tmp_path / "devices.csv"
    file.write_bytes(b"device,unit\n1,\xb0C\n")
    with pytest.raises(ConfigError, match="expected a CSV in UTF-8"):
        read_table(file, 10)


def test_folder_in_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="expected a readable CSV of devices, got is a directory"):
        read_table(tmp_path, 10)


def test_digest_covers_ids_and_limits_not_names(read):
    table = read(HEADER, "1,a,C,1,2")
    assert table.digest == read(HEADER, "1,b,K,1,2").digest
    assert table.digest != read(HEADER, "2,a,C,1,2").digest
    assert table.digest != read(HEADER, "1,a,C,1,3").digest
    assert table.digest != read(HEADER, "1,a,C,,2").digest


def test_equality_is_by_content(read):
    assert read(HEADER, "1,a,C,1,2") == read(HEADER, "1,a,C,1.0,2")
    assert hash(read(HEADER, "1,a,C,1,2")) == hash(read(HEADER, "1,a,C,1,2"))
    assert read(HEADER, "1,a,C,1,2") != read(HEADER, "1,b,C,1,2")
    assert read("device", "1") != 1


def test_first_from_finds_the_smallest_id_of_a_range(read):
    table = read("device", "500", "70", "9000")
    assert table.first_from(0, 1000) == 70
    assert table.first_from(70, 1) == 70
    assert table.first_from(71, 429) is None
    assert table.first_from(2**32 - 1, 1) is None


LIMITS = st.none() | st.floats(-(2.0**100), 2.0**100, width=32)
ROWS = st.dictionaries(
    st.integers(0, 2**32 - 1),
    st.tuples(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"])), LIMITS, LIMITS),
    min_size=1,
    max_size=20,
)


@settings(max_examples=100, deadline=None)
@given(rows=ROWS)
def test_table_survives_its_columns(rows):
    # Given any table, in which no name comes twice
    named = [name for name, _, _ in rows.values()]
    rows = {id: (name if named.count(name) == 1 else "", *limits) for id, (name, *limits) in rows.items()}
    pairs = [
        (low, high) if None in (low, high) else (min(low, high), max(low, high))
        for _, low, high in rows.values()
    ]
    nan = float("nan")
    table = DeviceTable(
        device=np.array(list(rows), np.uint32),
        low=np.array([nan if low is None else low for low, _ in pairs], np.float32),
        high=np.array([nan if high is None else high for _, high in pairs], np.float32),
        names=tuple(name for name, _, _ in rows.values()),
        units=("",) * len(rows),
    )
    # When it crosses a configuration as columns, then every bit of it is there again
    entry = parse(node(block(ids=table.to_columns()))).bloques[0]
    assert entry.table == table
