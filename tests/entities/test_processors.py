"""corec.entities.processors: the formulas of their docstrings, against independent ones where there are."""
import json
import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corec.entities.processors import MAX_WINDOW, ProcesadorFiltro, ProcesadorSensor
from corec.errors import UsageError

values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)


def run(procesador, readings, estado=None):
    """What comes out for each reading."""
    estado = {} if estado is None else estado
    return [procesador(reading, estado) for reading in readings]


def test_calibration_is_gain_and_offset():
    assert run(ProcesadorSensor(gain=0.5, offset=-10), [0.0, 100.0]) == [-10.0, 40.0]


def test_smoothing_is_the_exponential_average():
    assert run(ProcesadorSensor(smoothing=0.25), [0.0, 8.0, 8.0]) == [0.0, 2.0, 3.5]
    assert run(ProcesadorSensor(), [0.0, 8.0, 8.0]) == [0.0, 8.0, 8.0]


@given(values)
def test_statistics_are_those_of_the_calibrated_values(readings):
    estado, sensor = {}, ProcesadorSensor(gain=2, offset=1, smoothing=0.1)
    run(sensor, readings, estado)
    calibrated = [2 * reading + 1 for reading in readings]
    found = sensor.statistics(estado)
    assert found["count"] == len(readings)
    assert (found["min"], found["max"]) == (min(calibrated), max(calibrated))
    assert found["mean"] == pytest.approx(statistics.fmean(calibrated), abs=1e-6)
    assert found["std"] == pytest.approx(statistics.pstdev(calibrated), rel=1e-6, abs=1e-5)


def test_statistics_of_large_offsets_keep_their_variance():
    estado, sensor = {}, ProcesadorSensor()
    run(sensor, [1e9 + x for x in (4.0, 7.0, 13.0, 16.0)], estado)
    assert sensor.statistics(estado)["std"] == pytest.approx(math.sqrt(22.5))


def test_statistics_of_nothing():
    assert ProcesadorSensor.statistics({}) == {"count": 0}


def test_range_filters_out_and_keeps_the_ends():
    assert run(ProcesadorFiltro(low=0, high=10), [-0.1, 0.0, 10.0, 10.1]) == [None, 0.0, 10.0, None]


def test_filter_without_parameters_passes_everything():
    assert run(ProcesadorFiltro(), [1.0, -5.0, 0.0]) == [1.0, -5.0, 0.0]


def test_dead_band_passes_only_moves_from_what_passed_last():
    # 1.5 is 0.5 away from 1.0, and so is every small step: only their sum gets through
    assert run(ProcesadorFiltro(dead_band=1.0), [1.0, 1.5, 1.9, 2.0, 1.5, 1.0]) == [1.0, None, None, 2.0, None, 1.0]


def test_rate_is_limited_from_reading_to_reading():
    assert run(ProcesadorFiltro(max_rate=2.0), [0.0, 10.0, 10.0, -10.0, 1.0]) == [0.0, 2.0, 4.0, 2.0, 1.0]


@given(values)
def test_median_is_that_of_the_last_readings(readings):
    found = run(ProcesadorFiltro(window=5), readings)
    assert found == pytest.approx([statistics.median(readings[max(0, i - 4) : i + 1]) for i in range(len(readings))])


@given(values)
def test_hampel_replaces_outliers_only(readings):
    found = run(ProcesadorFiltro(window=5, sigmas=3.0), readings)
    for i, reading in enumerate(readings):
        window = readings[max(0, i - 4) : i + 1]
        middle = statistics.median(window)
        spread = 1.4826 * statistics.median(abs(x - middle) for x in window)
        assert found[i] == pytest.approx(middle if abs(reading - middle) > 3 * spread else reading)


def test_hampel_takes_a_spike_out_of_noise_and_leaves_the_rest():
    dice = random.Random(1)
    readings = [20 + dice.gauss(0, 0.1) for _ in range(50)]
    spiked = readings[:25] + [95.0] + readings[26:]
    found = run(ProcesadorFiltro(window=7, sigmas=3.0), spiked)
    assert abs(found[25] - 20) < 0.5
    assert sum(a != b for a, b in zip(found, spiked, strict=True)) <= 5


def test_kalman_is_the_scalar_filter_of_a_wandering_value():
    # p = r = 4 at first; then p = 5, k = 5/9, x = 10 + 5/9 * 9, p = 4/9 * 5
    estado = {}
    found = run(ProcesadorFiltro(process_noise=1.0, measurement_noise=4.0), [10.0, 19.0], estado)
    assert found == pytest.approx([10.0, 15.0])
    assert estado["kalman"] == pytest.approx([15.0, 20 / 9])


def test_kalman_of_a_constant_comes_closer_than_its_readings():
    dice = random.Random(2)
    readings = [5 + dice.gauss(0, 1) for _ in range(500)]
    found = run(ProcesadorFiltro(process_noise=1e-5, measurement_noise=1.0), readings)
    assert abs(found[-1] - 5) < 0.2
    assert statistics.pstdev(found[250:]) < 0.1 * statistics.pstdev(readings[250:])


def test_steps_act_in_the_stated_order():
    # The range comes before the window: 1,000 never enters it
    estado = {}
    assert run(ProcesadorFiltro(high=100, window=3, dead_band=0.5), [1.0, 1000.0, 2.0, 3.0], estado) == [1.0, None, 1.5, 2.0]
    assert estado["window"] == [1.0, 2.0, 3.0]


EVERY = {"low": -9, "high": 1e5, "window": 7, "sigmas": 3, "process_noise": 0.1, "measurement_noise": 1, "max_rate": 50, "dead_band": 0.1}


@pytest.mark.parametrize("procesador", [ProcesadorSensor(gain=2, smoothing=0.3), ProcesadorFiltro(**EVERY)])
def test_state_goes_through_json_and_goes_on_where_it_was(procesador):
    # Given a state that JSON carried halfway
    readings = [random.Random(3).uniform(0, 100) for _ in range(40)]
    whole, first = {}, {}
    expected = run(procesador, readings, whole)
    run(procesador, readings[:20], first)
    carried = json.loads(json.dumps(first, allow_nan=False))
    # Then the rest comes out the same
    assert run(procesador, readings[20:], carried) == expected[20:]
    assert carried == whole


@pytest.mark.parametrize("procesador", [ProcesadorSensor(gain=2, smoothing=0.3), ProcesadorFiltro(**EVERY)])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_passes_and_leaves_no_trace(procesador, bad):
    estado = {}
    run(procesador, [1.0, 2.0], estado)
    before = json.dumps(estado)
    assert not math.isfinite(procesador(bad, estado))
    assert json.dumps(estado) == before


def test_one_processor_serves_many_states():
    filtro = ProcesadorFiltro(dead_band=1.0)
    one, other = {}, {}
    assert [filtro(0.0, one), filtro(0.5, other), filtro(0.5, one), filtro(2.0, other)] == [0.0, 0.5, None, 2.0]


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"low": 2, "high": 1}, "expected low not above high, got low 2 and high 1"),
        ({"window": 4}, f"expected an odd window of 3 to {MAX_WINDOW} readings, got 4"),
        ({"window": 1}, "expected an odd window"),
        ({"window": MAX_WINDOW + 2}, "expected an odd window"),
        ({"window": 5.0}, "expected an odd window"),
        ({"sigmas": 3}, "expected a window with sigmas"),
        ({"window": 5, "sigmas": -1}, "expected sigmas as a finite number from 0"),
        ({"process_noise": 1}, "expected process_noise and measurement_noise together"),
        ({"process_noise": 1, "measurement_noise": 0}, "expected measurement_noise as a finite number above 0"),
        ({"max_rate": 0}, "expected max_rate as a finite number above 0"),
        ({"dead_band": math.nan}, "expected dead_band as a finite number"),
        ({"low": "0"}, "expected low as a finite number, got '0'"),
    ],
)
def test_wrong_filter_is_refused(wrong, expected):
    with pytest.raises(UsageError, match=expected):
        ProcesadorFiltro(**wrong)


@pytest.mark.parametrize("wrong", [{"gain": None}, {"gain": "2"}, {"offset": math.inf}, {"smoothing": 0}, {"smoothing": 1.5}])
def test_wrong_sensor_is_refused(wrong):
    with pytest.raises(UsageError, match=f"expected {next(iter(wrong))} as a finite number"):
        ProcesadorSensor(**wrong)
