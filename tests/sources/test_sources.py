"""corec.sources: names that keep their ids, this machine's sensors, made-up sensors."""

import json
import logging
import math
import struct
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from corec._core.wire import crc32c
from corec.config import FuenteHost, FuenteSimulada, parse
from corec.errors import ConfigError
from corec.sources import host, simulated
from corec.sources.base import Batch
from corec.sources.fleet import Fleet
from corec.sources.host import LAST_FAILURES, Counter, CounterRates, HostSource, Value
from corec.sources.names import FILE, NameTable, kept_names
from corec.sources.opening import open_sources
from corec.sources.simulated import DRIFT, DROP_OUT, FAULT_EVERY_MS, FAULTS, SPIKE, STUCK, SimulatedSource

NOW = 1_700_000_000_000


def config(**entry):
    """One entry, 100 entities from wire id 500 on, on channel 1."""
    return parse({"bloques": [{"id": "casa", "canal": 1, "entidades": 100, "ids": 500, **entry}]})


TABLE = {"device": [7, 9, 4_000_000_000], "name": ["load.1m", "", "oven"], "unit": ["", "", "°C"]}


# --- batches ---------------------------------------------------------------------------------------


def test_batch_becomes_frames():
    # Given readings on two channels, one failed
    ids, canales = np.array([1, 2], np.uint32), np.array([1, 5], np.int8)
    batch = Batch(ids, canales, np.array([1.5, np.nan], np.float32), np.array([True, False]), NOW)
    # When they are encoded
    frames = batch.frames()
    # Then each is what struct makes of it
    assert batch.readings == 2
    assert frames == struct.pack("!Ibf?", 1, 1, 1.5, True) + struct.pack("!Ibf?", 2, 5, math.nan, False)


# --- names -----------------------------------------------------------------------------------------


def test_names_keep_their_ids_over_restarts(tmp_path):
    # Given a table that has named two sensors
    assert NameTable(tmp_path, config()).assign("casa", [("b", "%"), ("a", "")]) == {"b": 500, "a": 501}
    # When it is opened again and a third comes first
    ids = NameTable(tmp_path, config()).assign("casa", [("c", "W"), ("a", ""), ("b", "%")])
    # Then the known ones have the ids they had
    assert ids == {"c": 502, "a": 501, "b": 500}
    assert kept_names(tmp_path) == {500: ("b", "%"), 501: ("a", ""), 502: ("c", "W")}


def test_names_follow_an_entry_whose_ids_moved(tmp_path):
    NameTable(tmp_path, config()).assign("casa", [("a", "")])
    assert NameTable(tmp_path, config(ids=9000)).assign("casa", [("a", "")]) == {"a": 9000}


def test_names_of_ids_that_were_chosen_elsewhere(tmp_path):
    # Given names for slots with a gap between them
    NameTable(tmp_path, config()).claim("casa", {1: ("b", ""), 3: ("d", "")})
    # When a sensor without an id comes
    table = NameTable(tmp_path, config())
    ids = table.assign("casa", [("d", ""), ("e", "W")])
    # Then it gets the next one, and the others have theirs
    assert ids == {"d": 503, "e": 504}
    assert table.names() == kept_names(tmp_path) == {501: ("b", ""), 503: ("d", ""), 504: ("e", "W")}


def test_two_processes_name_sensors_of_one_entry(tmp_path):
    # Given two tables of one data folder, each open in a process of its own
    node, sender = NameTable(tmp_path, config()), NameTable(tmp_path, config())
    # When both name sensors in turn
    assert node.assign("casa", [("a", "")]) == {"a": 500}
    assert sender.assign("casa", [("b", "°C"), ("a", "")]) == {"b": 501, "a": 500}
    # Then no slot has two names, and none is forgotten
    assert node.assign("casa", [("c", "")]) == {"c": 502}
    assert kept_names(tmp_path) == {500: ("a", ""), 501: ("b", "°C"), 502: ("c", "")}


def test_names_are_given_within_a_part_of_an_entry(tmp_path):
    table = NameTable(tmp_path, config())
    assert table.assign("casa", [("a", ""), ("b", "")], range(10, 11)) == {"a": 510}


def test_names_without_a_place_get_no_id(tmp_path):
    table = NameTable(tmp_path, config(entidades=2))
    assert table.assign("casa", [("a", ""), ("b", ""), ("c", "")]) == {"a": 500, "b": 501}
    # and when the entry has shrunk, neither do those beyond its end
    assert NameTable(tmp_path, config(entidades=1)).assign("casa", [("a", ""), ("b", "")]) == {"a": 500}


def test_device_table_names_its_own_and_no_others(tmp_path):
    table = NameTable(tmp_path, config(ids=TABLE))
    assert table.assign("casa", [("oven", "°C"), ("9", ""), ("cpu0.load", "%")]) == {"oven": 4_000_000_000, "9": 9}
    assert table.names() == {7: ("load.1m", ""), 4_000_000_000: ("oven", "°C")}
    assert not (tmp_path / FILE).exists()


def test_names_are_not_kept_without_a_folder():
    table = NameTable(None, config())
    table.assign("casa", [("a", "")])
    assert table.names() == {500: ("a", "")}


@pytest.mark.parametrize("spoil", [lambda text: text[:-5], lambda text: text.replace('"a"', '"A"'), lambda text: "[]"])
def test_damaged_names_are_put_aside(tmp_path, caplog, spoil):
    # Given a file of names with a change in it
    NameTable(tmp_path, config()).assign("casa", [("a", "")])
    file = tmp_path / FILE
    file.write_text(spoil(file.read_text()))
    # When it is opened
    assert kept_names(tmp_path) == {}
    table = NameTable(tmp_path, config())
    # Then it is kept under another name, and the log says so
    assert (tmp_path / "names.json.damaged").exists()
    assert "[NameTable-corec1]" in caplog.text
    assert table.assign("casa", [("z", "")]) == {"z": 500}


def test_disk_that_takes_no_names_is_logged(tmp_path, caplog, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("corec.storage.disk.publish", fail)
    assert NameTable(tmp_path, config()).assign("casa", [("a", "")]) == {"a": 500}
    assert "names not kept" in caplog.text


# --- this machine ----------------------------------------------------------------------------------


@pytest.fixture
def machine(monkeypatch):
    """A host whose sensors the test sets."""
    found = SimpleNamespace(values=[Value("load", "%", 1.0)], counters=[Counter("net", "B/s", 0)])
    monkeypatch.setattr(host, "read_values", lambda: iter(found.values))
    monkeypatch.setattr(host, "read_counters", lambda: iter(found.counters))
    return found


def host_source(tmp_path, **entry):
    loaded = config(**entry)
    return HostSource(FuenteHost(bloque="casa", intervalo=0.5), loaded, NameTable(tmp_path, loaded))


def readings(source, now=NOW):
    """Name -> (value, estado) of one read."""
    batches = source.read(now)
    return {
        source.names[int(id)][0]: (float(valor), bool(estado))
        for batch in batches
        for id, valor, estado in zip(
            batch.ids, batch.valores, np.broadcast_to(batch.estados, len(batch.ids)), strict=True
        )
    }


def test_host_reads_what_this_machine_has(tmp_path):
    # Given the real sensors
    source = host_source(tmp_path)
    time.sleep(0.05)
    # When they are read
    batch = source.read(NOW)[0]
    # Then each core, the load, the memory and the root disk are there, healthy, with names and units
    found = {name: unit for name, unit in source.names.values()}
    assert {
        "cpu0.load": "%",
        "load.1m": "tasks",
        "memory.used": "%",
        "disk./.used": "%",
        "uptime": "h",
    }.items() <= found.items()
    assert len([name for name in found if name.startswith("cpu") and name.endswith(".load")]) == psutil.cpu_count()
    assert batch.estados.all() and np.isfinite(batch.valores).all()
    assert (batch.canal, batch.time, source.interval) == (1, NOW, 0.5)
    assert source.entities == len(found) == len(batch.ids)
    assert "casa" in source.detail


def test_host_reading_costs_little(tmp_path):
    source = host_source(tmp_path)
    began = time.process_time()
    for _ in range(10):
        source.read(NOW)
    assert (time.process_time() - began) / 10 < 0.05


def test_sensor_that_vanishes_is_declared_failed_and_then_silent(tmp_path, machine, caplog):
    # Given two sensors
    machine.values.append(Value("temp", "°C", 40.0))
    source = host_source(tmp_path)
    assert readings(source)["temp"] == (40.0, True)
    # When one vanishes
    machine.values.pop()
    heard = [readings(source).get("temp") for _ in range(LAST_FAILURES + 2)]
    # Then it is failed a few times, silent from then on, and named once
    assert [estado for _, estado in heard[:LAST_FAILURES]] == [False] * LAST_FAILURES
    assert all(np.isnan(valor) for valor, _ in heard[:LAST_FAILURES])
    assert heard[LAST_FAILURES:] == [None, None]
    assert caplog.text.count("temp has vanished") == 1
    # and when it comes back it is what it was
    machine.values.append(Value("temp", "°C", 41.0))
    assert readings(source)["temp"] == (41.0, True)


def test_sensor_that_appears_gets_an_id(tmp_path, machine):
    source = host_source(tmp_path)
    assert source.entities == 1
    machine.values.append(Value("usb", "°C", 30.0))
    assert readings(source)["usb"] == (30.0, True)
    assert source.entities == 3  # and the counter, which has a rate by now


def test_sensor_without_a_place_is_said_once(tmp_path, machine, caplog):
    machine.values.append(Value("temp", "°C", 40.0))
    source = host_source(tmp_path, entidades=1)
    assert list(readings(source)) == list(readings(source)) == ["load"]
    assert caplog.text.count("has no place for temp") == 1
    assert "2 without a place" in source.detail


def test_sensor_that_cannot_be_read_does_not_stop_the_others(monkeypatch):
    def broken(**_):
        raise PermissionError("no /proc for you")

    monkeypatch.setattr(psutil, "virtual_memory", broken)
    monkeypatch.setattr(psutil, "net_io_counters", broken)
    assert "load.1m" in {value.name for value in host.read_values()}
    assert "memory.used" not in {value.name for value in host.read_values()}
    assert "cpu.switches" in {counter.name for counter in host.read_counters()}


def test_rates_are_growth_per_second():
    rates = CounterRates()
    assert rates.take([Counter("a", "B/s", 1000)], at=10.0) == []
    assert rates.take([Counter("a", "B/s", 3000), Counter("b", "B/s", 7)], at=12.0) == [Value("a", "B/s", 1000.0)]
    # a counter that begins again has no growth; it has not vanished
    assert rates.take([Counter("a", "B/s", 10), Counter("b", "B/s", 8)], at=13.0) == [
        ("a", "B/s", 0.0),
        ("b", "B/s", 1.0),
    ]


def test_chips_of_one_label_are_numbered(monkeypatch):
    sensor = SimpleNamespace(label="Core 0", current=50.0)
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: {"coretemp": [sensor, sensor]}, raising=False)
    monkeypatch.setattr(
        psutil, "sensors_fans", lambda: {"thinkpad": [SimpleNamespace(label="", current=2000)]}, raising=False
    )
    names = [value.name for value in host.read_values() if value.name.startswith(("temp.", "fan."))]
    assert names == ["temp.coretemp.Core_0", "temp.coretemp.Core_0.2", "fan.thinkpad"]


# --- a fleet ---------------------------------------------------------------------------------------

SPARSE = {
    "bloques": [
        {"id": "a", "canal": 1, "entidades": 10, "ids": 2000},
        {"id": "b", "canal": 2, "entidades": 10, "ids": TABLE},
        {"id": "c", "canal": 3, "entidades": 5, "funcion": "sine"},
        {"id": "d", "canal": 4, "entidades": 5, "ids": 1000},
    ]
}


def test_fleet_is_every_entity_that_takes_readings():
    # Given contiguous ids, a device table with 3 of 10 places taken, a native function, ids with a base
    fleet = Fleet(parse(SPARSE))
    # When all entities are addressed
    ids, canales = fleet.addresses(np.arange(fleet.count, dtype=np.uint32))
    # Then each has its own wire id and channel, and the way back leads there
    assert fleet.count == 18
    assert ids.tolist() == [*range(2000, 2010), 7, 9, 4_000_000_000, *range(1000, 1005)]
    assert canales.tolist() == [1] * 10 + [2] * 3 + [4] * 5
    assert fleet.indexes(ids[13:]).tolist() == list(range(13, 18))


def test_fleet_of_native_functions_only_is_refused():
    with pytest.raises(ConfigError, match="takes readings"):
        Fleet(config(funcion="sine"))


# --- made-up sensors -------------------------------------------------------------------------------

MILLION = {"bloques": [{"id": "a", "canal": 1, "entidades": 999_000}, {"id": "b", "canal": 2, "entidades": 1000}]}


def simulation(document=None, **fuente):
    return SimulatedSource(
        FuenteSimulada(**{"lecturas_por_segundo": 200_000, "semilla": 7, **fuente}), parse(document or MILLION)
    )


def test_same_seed_and_number_make_the_same_readings():
    # Given what one source sends in a second
    source = simulation()
    source.read(NOW)
    sent = [batch for step in range(1, 11) for batch in source.read(NOW + 100 * step)]
    # When another one makes each batch again by itself
    again = [simulation().batches(source.number(batch.time))[0] for batch in sent[::20]]
    # Then they are the same, byte by byte
    assert [batch.frames() for batch in again] == [batch.frames() for batch in sent[::20]]
    assert simulation(semilla=8).batches(source.number(sent[0].time))[0].frames() != sent[0].frames()


def test_readings_are_the_same_on_every_machine():
    frames = b"".join(batch.frames() for batch in simulation(fallos=0.5).batches(1_000_000, 20))
    assert crc32c(frames) == 4_020_932_322


def test_batches_come_at_the_rate_that_is_asked_for():
    source = simulation()
    first = source.read(NOW)
    sent = [batch for step in range(1, 101) for batch in source.read(NOW + 10 * step)]
    assert len(first) == 1 and len(sent) == 200
    assert {len(batch.ids) for batch in sent} == {1000}
    assert np.unique(np.diff([batch.time for batch in sent])).tolist() == [5]
    assert NOW - 10 < sent[0].time <= NOW + 10 and sent[-1].time <= NOW + 1000


@pytest.mark.parametrize("rate", [1, 15, 250, 9_999])
def test_low_rates_come_in_small_batches(rate):
    source = simulation(lecturas_por_segundo=rate)
    sent = [batch for step in range(1000) for batch in source.read(NOW + 20 * step)]
    assert sum(len(batch.ids) for batch in sent) == pytest.approx(20 * rate, rel=0.06, abs=source.size)
    assert max(len(batch.ids) for batch in sent) <= max(1, rate / 10)


def test_what_was_missed_for_long_is_skipped_and_said():
    source = simulation()
    source.read(NOW)
    late = source.read(NOW + 3_600_000)
    assert len(late) == 1 and late[0].time > NOW + 3_599_000
    assert "720,000,000 skipped" in source.detail or "719,99" in source.detail
    # a clock that went back does not silence it
    assert source.read(NOW) and source.read(NOW + 100)


def test_a_short_delay_is_made_up_for_in_bounded_pieces():
    source = simulation(lecturas_por_segundo=1_000_000)
    source.read(NOW)
    assert len(source.read(NOW + 900)) == simulated.MOST_AT_ONCE
    assert sum(len(source.read(NOW + 900)) for _ in range(5)) == 900 - simulated.MOST_AT_ONCE


def test_entities_are_uniformly_random_on_their_own_channels():
    batches = simulation().batches(5_000, 1_000)
    ids = np.concatenate([batch.ids for batch in batches])
    canales = np.concatenate([batch.canal for batch in batches])
    counts = np.bincount(ids // 10_000, minlength=100)
    assert ids.max() < 1_000_000 and len(np.unique(ids)) > 625_000  # 632,000 expected of a million draws
    assert (np.abs(counts - 10_000) < 600).all()  # six sigma
    assert np.array_equal(canales == 2, ids >= 999_000)


def test_healthy_sensors_are_plausible_thermometers():
    batches = simulation(fallos=0.0).batches(0, 200)
    valores = np.concatenate([batch.valores for batch in batches])
    assert all(batch.estados.all() for batch in batches)
    assert 4 < valores.min() and valores.max() < 46 and valores.dtype == np.float32


def tracked(fault):
    """(ms since the first, values, estados) of one sensor prone to *fault*, a reading every 100 ms for two periods."""
    source = simulation({"bloques": [{"id": "a", "canal": 1, "entidades": 500}]}, fallos=1.0, lecturas_por_segundo=5000)
    kinds = source.fault(np.arange(500))
    sensor = int(np.flatnonzero(kinds == fault)[0])
    batches = source.batches(source.number(NOW), 2 * FAULT_EVERY_MS // 100)
    rows = [(batch.time, batch.valores[batch.ids == sensor], batch.estados[batch.ids == sensor]) for batch in batches]
    times = np.concatenate([np.full(len(valores), moment) for moment, valores, _ in rows])
    return times, np.concatenate([valores for _, valores, _ in rows]), np.concatenate([estados for *_, estados in rows])


def test_share_and_kinds_of_faults():
    kinds = simulation(fallos=0.01).fault(np.arange(1_000_000))
    assert np.mean(kinds >= 0) == pytest.approx(0.01, rel=0.05)
    assert np.bincount(kinds[kinds >= 0], minlength=len(FAULTS)) == pytest.approx(np.full(4, 2500), rel=0.1)


def test_stuck_sensor_repeats_one_value():
    _, valores, _ = tracked(STUCK)
    values, counts = np.unique(valores, return_counts=True)
    assert 150 < np.sort(counts)[-2:].sum() and len(values) > 500  # two episodes of a fifth of the time each


def test_spiking_sensor_leaves_every_range():
    _, valores, _ = tracked(SPIKE)
    far = np.abs(valores - np.median(valores)) > 100
    assert 0.01 < far.mean() < 0.2


def test_dropping_sensor_fails():
    _, valores, estados = tracked(DROP_OUT)
    assert 0.1 < (np.isnan(valores) | ~estados).mean() < 0.3


def test_drifting_sensor_goes_away_slowly_and_comes_back():
    times, valores, _ = tracked(DRIFT)
    top = int(valores.argmax())
    assert valores[top] - np.median(valores) > 40
    before = valores[(times < times[top]) & (times > times[top] - 20_000)]
    assert before.min() - np.median(valores) > 20
    assert np.abs(valores[times > times[top] + 1000][:10] - np.median(valores)).max() < 20


def test_both_ways_of_dropping_out_occur():
    batches = simulation(fallos=1.0).batches(7_000_000, 50)
    valores, estados = (np.concatenate([getattr(batch, name) for batch in batches]) for name in ("valores", "estados"))
    assert np.isnan(valores[estados]).any() and np.isfinite(valores[~estados]).all() and not estados.all()


@pytest.mark.parametrize(("fallos", "bound"), [(0.001, 150e-9), (1.0, 500e-9)])
def test_simulation_costs_little(fallos, bound):
    # 45 ns a reading on a quiet core, frames included; the bound leaves room for a busy one
    source, best = simulation(fallos=fallos), np.inf
    number = source.number(NOW)
    for _ in range(20):
        began = time.process_time()
        frames = [batch.frames() for batch in source.batches(number, 64)]
        best = min(best, (time.process_time() - began) / (sum(map(len, frames)) / 10))
    assert best < bound


def test_sources_open_as_configured(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    document = {"bloques": [{"id": "casa", "canal": 1, "entidades": 100}], "fuentes": ["host", "simulada"]}
    sources = open_sources(parse(document), tmp_path)
    assert [source.name for source in sources] == ["host", "simulada"]
    assert [source.interval for source in sources] == [1.0, 0.01]
    assert json.loads((tmp_path / FILE).read_text())["entries"]["casa"]
    for source in sources:
        assert source.read(NOW)
        source.close()
