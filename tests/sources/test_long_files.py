"""CSVs with a row for each reading: by which columns a sensor is known, and what is no sensor."""
import pytest

from tests.support.csv_files import FIRST, GOOD, HOUSE, report, rows, taken


@pytest.mark.parametrize(("text", "names"), [
    ("time,device,value\n|2026-01-30 12:00:{s},x,20.{d}\n", ["x"]),
    ("device_id,ts,temperature,humidity\n|x,2026-01-30 12:00:{s},20.{d},21.{d}\n", ["x.temperature", "x.humidity"]),
    ("name,tags,time,a,b\n|env,host=g,17697744{s}000000000,20.{d},21.{d}\n", ["env.host=g.a", "env.host=g.b"]),
    ("#group,a\n,result,table,_start,_stop,_time,_value,_field,_measurement,host\n"
     "|,,0,2026-01-30T11:00:00Z,2026-01-30T13:00:00Z,2026-01-30T12:00:{s}Z,20.{d},temp,env,g\n", ["g.env.temp"]),
])  # fmt: skip
def test_long_files(tmp_path, text, names):
    # Given a row for each reading or device, as programs export them
    head, row = text.split("|")
    recording, found = taken(tmp_path, head + rows(row))
    # Then each device and metric is a sensor of its own name
    assert list(recording.names.values()) == names
    assert found == (GOOD if len(names) == 2 else FIRST)


@pytest.mark.parametrize("head", ["", "when,where,amount\n", "when,meter,value\n"])
def test_long_files_with_other_names_are_known_by_their_repeated_times(tmp_path, head):
    # Given two devices in turn, under names that say nothing, or under none
    text = head + "".join(f"2026-01-30 12:00:{n:02d},{device},{n}\n" for n in range(10) for device in (3, 4)).replace(
        ",3,", ",3," if "meter" in head else ",north,").replace(",4,", ",4," if "meter" in head else ",south,")  # fmt: skip
    recording, found = taken(tmp_path, text)
    assert len({id for _, id, _ in found}) == 2 and len(found) == 20
    # and a column of remarks beside one reading at a time makes no sensor
    recording, found = taken(tmp_path, "when,a,remark\n" + rows("2026-01-30 12:00:{s},20.{d},fine\n"))
    assert found == FIRST and "column remark left out: text" in recording.about


def test_devices_of_a_long_file_that_are_unknown_are_left_out_and_named(tmp_path):
    text = "time,device,value\n" + "".join(f"2026-01-30 12:00:{n:02d},{'Oven' if n % 2 else 'ofen'},{n}\n" for n in range(10))
    recording, found = taken(tmp_path, text, HOUSE)
    assert [(id, value) for _, id, value in found] == [(7, n) for n in (1, 3, 5, 7, 9)]
    assert recording.damaged and "5 cells left out, of sensors without an entity" in recording.notes()
    assert 'ofen: no device has that name or id; did you mean "Oven"?' in report(recording)


@pytest.mark.parametrize("head", ["Zeit;Sensor;Messgröße;Wert", "zeit;was;wo;wert", "time;channel;kind of;reading",
                                  "fecha;x;punto de medida;valor"])  # fmt: skip
def test_columns_without_which_readings_would_mix_name_the_sensor(tmp_path, head):
    # Given two devices with two metrics each, at the same times, under names of which not all are known
    text = head + "\n" + "".join(f"30.01.2026 12:00:{n:02d};{device};{metric};{value + n},5\n" for n in range(6)
                                 for device in (1, 2) for metric, value in (("temp", 20), ("hum", 50)))  # fmt: skip
    recording, found = taken(tmp_path, text)
    # Then each of the four is a sensor
    assert len(recording.names) == 4 and len(found) == 24
    assert sorted({tuple(v for _, i, v in found if i == id) for id in recording.names})[0] == (20.5, 21.5, 22.5, 23.5, 24.5, 25.5)


@pytest.mark.parametrize(("name", "device"), [("mac", "dev-{}"), ("device_eui", "dev-{}"), ("Station name", "dev-{}"), ("room", "dev-{}"),
                                              ("VarName", "dev-{}"), ("STATIONS_ID", "44{}"), ("Sensor No", "10{}")])  # fmt: skip
def test_devices_that_report_at_times_of_their_own_are_not_mixed(tmp_path, name, device):
    text = f"time,{name},rssi,temp\n" + "".join(f"2026-01-30 12:00:{n:02d},{device.format(n % 3)},-60,{n}\n" for n in range(12))
    recording, found = taken(tmp_path, text)
    assert len(recording.names) == 6 and f"sensor by {name}; value in rssi, temp" in report(recording)


def test_a_text_before_a_number_is_a_device_where_a_file_has_no_names(tmp_path):
    text = "".join(f"17697744{n:02d} sensors/{'ab'[n % 2]}/temp {n}.5\n" for n in range(3))
    recording, found = taken(tmp_path, text)
    assert recording.names == {0: "sensors/a/temp", 1: "sensors/b/temp"} and [id for _, id, _ in found] == [0, 1, 0]


@pytest.mark.parametrize("name", ["status", "quality", "Sensor status", "remark", "unit"])
def test_what_is_said_of_a_row_names_no_sensor(tmp_path, name):
    # Given a text beside one reading at a time, or two readings of each second
    text = f"time,value,{name}\n" + "".join(f"2026-01-30 12:00:{n // 2:02d},{n},{'good' if n % 3 else 'bad'}\n" for n in range(12))
    recording, found = taken(tmp_path, text)
    assert list(recording.names.values()) == ["value"] and len(found) == 12


def test_texts_that_number_the_rows_name_no_sensor(tmp_path):
    recording, found = taken(tmp_path, "id,time,a\n" + rows("row-{n},2026-01-30 12:00:{s},20.{d}\n", 20))
    assert list(recording.names.values()) == ["a"] and "column id left out: text" in report(recording)


def test_sensors_of_texts_only_take_no_entity_and_fail_not(tmp_path):
    # Given what Home Assistant exports: numbers, texts, switches; and a sensor that fails after its first number
    text = "entity_id,state,last_changed\n" + "".join(f"{name},{state},2026-01-30T12:00:{n:02d}.000Z\n" for n, (name, state) in enumerate(
        [("sun.sun", "above_horizon"), ("sensor.t", "unavailable"), ("switch.x", "on"), ("sensor.t", "20.5"), ("sensor.t", "broken")]))
    recording, found = taken(tmp_path, text)
    assert recording.names == {0: "sensor.t"} and [value for *_, value in found] == [20.5, None]
    assert "1 cell of text left out, of sensors without a number: sun.sun" in report(recording) and not recording.damaged


def test_a_row_without_a_sensor_is_left_out(tmp_path):
    recording, found = taken(tmp_path, "time,device,value\n2026-01-30,x,1\n2026-01-31,,2\n")
    assert [value for *_, value in found] == [1] and recording.damaged
    assert "1 row left out, the first at line 3: expected the name of a sensor in device" in report(recording)


def test_a_header_in_the_middle_with_another_key(tmp_path):
    # Given a long file that goes on with a metric beside each device
    text = "time,device,value\n2026-01-30,x,1\n2026-01-31,x,2\ntime,device,metric,value\n2026-02-01,x,temp,3\n2026-02-02,x,hum,4\n"
    recording, found = taken(tmp_path, text)
    assert list(recording.names.values()) == ["x", "x.temp", "x.hum"] and [id for _, id, _ in found] == [0, 0, 1, 2]
    assert "line 4: another header, sensors by device, metric" in report(recording)


def test_tables_of_influxdb_have_their_own_tags(tmp_path):
    # Given annotated tables, the second with one more tag and pivoted columns in a third file
    notes = "#group,false,false,true,false,true\n#datatype,string,long,dateTime:RFC3339,double,string\n#default,_result,,,,\n"
    text = (notes + ",result,table,_time,_value,_field\n,,0,2026-01-30T12:00:00Z,20.5,temp\n\n"
            + notes + ",result,table,_time,_value,_field,room\n,,1,2026-01-30T12:00:00Z,50.5,hum,hall\n")  # fmt: skip
    assert list(taken(tmp_path, text)[0].names.values()) == ["temp", "hall.hum"]
    pivoted = notes + ",result,table,_time,temp,hum,host\n,,0,2026-01-30T12:00:00Z,20.5,50,gw1\n,,0,2026-01-30T12:00:00Z,21.5,51,gw2\n"
    assert sorted(taken(tmp_path, pivoted)[0].names.values()) == ["gw1.hum", "gw1.temp", "gw2.hum", "gw2.temp"]


def test_states_of_a_database_of_home_assistant(tmp_path):
    text = "state_id,metadata_id,state,last_updated_ts\n" + "".join(f"{n},{5 + n % 2},{20 + n},17697744{n:02d}.5\n" for n in range(6))
    recording, found = taken(tmp_path, text)
    assert [(id, value) for _, id, value in found] == [(5 + n % 2, 20 + n) for n in range(6)]
