"""Processors of Celu entities: `procesador(valor, estado) -> float`, or None to filter the value out.

One processor may serve any number of entities: what it keeps of each is in that entity's `estado`, a dict that JSON
can carry.  A value that is not finite is a failed reading: it passes unchanged and does not change the state.
"""
import math
from dataclasses import dataclass
from typing import Any

from corec.errors import UsageError

Estado = dict[str, Any]

#: A normal distribution's standard deviation over its median absolute deviation.
MAD_TO_SIGMA = 1.4826
#: Most readings in a window: a Celu may take 1.5 KB at most, and a reading in its window takes 32 bytes.
MAX_WINDOW = 15


@dataclass(frozen=True, slots=True)
class ProcesadorSensor:
    """Calibrates, smooths and keeps statistics.

    calibration   y = gain * x + offset
    smoothing     s <- s + smoothing * (y - s), s = y at first; 1 is none.  The exponentially weighted moving average
                  of S. W. Roberts, "Control chart tests based on geometric moving averages", Technometrics 1, 1959.
    statistics    of the calibrated values, before smoothing: n <- n + 1, d = y - mean, mean <- mean + d / n,
                  m2 <- m2 + d * (y - mean).  B. P. Welford, "Note on a method for calculating corrected sums of squares
                  and products", Technometrics 4, 1962.
    """

    gain: float = 1.0
    offset: float = 0.0
    smoothing: float = 1.0

    def __post_init__(self) -> None:
        _check_number("gain", self.gain)
        _check_number("offset", self.offset)
        _check_number("smoothing", self.smoothing, low=0.0, high=1.0, above=True)

    def __call__(self, valor: float, estado: Estado) -> float:
        """The calibrated and smoothed value."""
        calibrated = self.gain * valor + self.offset
        if not math.isfinite(calibrated):
            return calibrated
        _count(calibrated, estado)
        before = estado.get("smoothed", calibrated)
        estado["smoothed"] = smoothed = before + self.smoothing * (calibrated - before)
        return smoothed

    @staticmethod
    def statistics(estado: Estado) -> dict[str, float]:
        """count, mean, std, min and max of the calibrated values so far; count alone while there was none."""
        count = estado.get("count", 0)
        if not count:
            return {"count": 0}
        return {"count": count, "mean": estado["mean"], "std": math.sqrt(estado["m2"] / count),
                "min": estado["min"], "max": estado["max"]}


def _count(value: float, estado: Estado) -> None:
    count = estado["count"] = estado.get("count", 0) + 1
    mean = estado.get("mean", 0.0)
    ahead = value - mean
    estado["mean"] = mean + ahead / count
    estado["m2"] = estado.get("m2", 0.0) + ahead * (value - estado["mean"])
    estado["min"] = min(value, estado.get("min", value))
    estado["max"] = max(value, estado.get("max", value))


@dataclass(frozen=True, slots=True)
class ProcesadorFiltro:
    """Filters values; each step acts where its parameters are given, in this order.

    range       low <= x <= high, or the value is filtered out.
    window      of the last `window` readings (odd, 3 to 15), this one included, m is the median.  Without `sigmas` the
                value becomes m.  With it, only an outlier does: |x - m| > sigmas * 1.4826 * median(|x_i - m|).
                F. R. Hampel, "The influence curve and its role in robust estimation", JASA 69, 1974; as a filter:
                R. K. Pearson, "Outliers in process modeling and identification", IEEE Trans. CST 10, 2002.
    Kalman      of a value that wanders: p <- p + process_noise, k = p / (p + measurement_noise), x <- x + k * (z - x),
                p <- (1 - k) * p; both noises are variances.  Starts at x = z, p = measurement_noise.
                R. E. Kalman, "A new approach to linear filtering and prediction problems", J. Basic Eng. 82, 1960.
    max_rate    the value moves by at most this much from one reading to the next.
    dead_band   a value less than this away from the last one that passed is filtered out.
    """

    low: float | None = None
    high: float | None = None
    window: int | None = None
    sigmas: float | None = None
    process_noise: float | None = None
    measurement_noise: float | None = None
    max_rate: float | None = None
    dead_band: float | None = None

    def __post_init__(self) -> None:
        for name, above in (("sigmas", False), ("process_noise", False), ("measurement_noise", True), ("max_rate", True),
                            ("dead_band", False)):
            _check_number(name, getattr(self, name), low=0.0, above=above)
        self._check_range()
        self._check_window()
        if (self.process_noise is None) != (self.measurement_noise is None):
            raise _wrong("process_noise and measurement_noise together", f"{self.process_noise!r} and {self.measurement_noise!r}")

    def _check_range(self) -> None:
        _check_number("low", self.low)
        _check_number("high", self.high)
        if self.low is not None and self.high is not None and self.low > self.high:
            raise _wrong("low not above high", f"low {self.low:g} and high {self.high:g}")

    def _check_window(self) -> None:
        if self.window is None:
            if self.sigmas is not None:
                raise _wrong("a window with sigmas", "sigmas alone")
        elif not isinstance(self.window, int) or not 3 <= self.window <= MAX_WINDOW or self.window % 2 == 0:
            raise _wrong(f"an odd window of 3 to {MAX_WINDOW} readings", repr(self.window))

    def __call__(self, valor: float, estado: Estado) -> float | None:
        """The filtered value, or None."""
        if not math.isfinite(valor):
            return valor
        if (self.low is not None and valor < self.low) or (self.high is not None and valor > self.high):
            return None
        if self.window is not None:
            valor = _windowed(valor, estado, self.window, self.sigmas)
        if self.process_noise is not None:
            valor = _kalman(valor, estado, self.process_noise, self.measurement_noise)
        if self.max_rate is not None:
            valor = _limited(valor, estado, self.max_rate)
        if self.dead_band is not None and _inside(valor, estado, self.dead_band):
            return None
        return valor


def _windowed(value: float, estado: Estado, length: int, sigmas: float | None) -> float:
    window = estado.setdefault("window", [])
    window.append(value)
    del window[:-length]
    middle = _median(window)
    if sigmas is None:
        return middle
    spread = MAD_TO_SIGMA * _median([abs(other - middle) for other in window])
    return middle if abs(value - middle) > sigmas * spread else value


def _median(values: list[float]) -> float:
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else ordered[half - 1] + (ordered[half] - ordered[half - 1]) / 2


def _kalman(measured: float, estado: Estado, process: float, measurement: float) -> float:
    if "kalman" not in estado:
        estado["kalman"] = [measured, measurement]
        return measured
    estimate, variance = estado["kalman"]
    variance += process
    gain = variance / (variance + measurement)
    estimate += gain * (measured - estimate)
    estado["kalman"] = [estimate, (1 - gain) * variance]
    return estimate


def _limited(value: float, estado: Estado, rate: float) -> float:
    before = estado.get("limited", value)
    estado["limited"] = limited = min(max(value, before - rate), before + rate)
    return limited


def _inside(value: float, estado: Estado, band: float) -> bool:
    if "passed" in estado and abs(value - estado["passed"]) < band:
        return True
    estado["passed"] = value
    return False


def _check_number(name: str, value: Any, *, low: float = -math.inf, high: float = math.inf, above: bool = False) -> None:
    """UsageError when *value* is neither None nor a finite number in the range; above: *low* itself is not in it."""
    if value is None and name not in ("gain", "offset", "smoothing"):
        return
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not low <= value <= high or (above and value == low):
        bounds = "" if low == -math.inf else f" {'above' if above else 'from'} {low:g}"
        raise _wrong(f"{name} as a finite number{bounds}" + (f" to {high:g}" if high < math.inf else ""), repr(value))


def _wrong(expected: str, got: str) -> UsageError:
    return UsageError(f"expected {expected}, got {got}", hint="the docstring of the processor gives its formulas")
