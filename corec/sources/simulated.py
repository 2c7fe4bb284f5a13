"""Simulated sensors over all entities, with faults. The same seed gives the same readings on every machine.

Batches are numbered, counting from 1970 at the configured rate. The seed and the number of a batch determine its entities,
values, faults and time. So a test or a second process can compute again what was sent, and a restarted node continues at
the current time.

Each sensor is a thermometer: a base, a slow wave, noise. The share `fallos` of them are faulty, each in one of the ways in
`FAULTS`, for one minute in every five.
"""

from collections.abc import Mapping

import numpy as np

from corec.config import Config, FuenteSimulada
from corec.sources.base import Batch
from corec.sources.fleet import Fleet

#: Readings in a batch; at low rates, those of a tenth of a second.
BATCH, LONGEST_BATCH_S = 1_000, 0.1
#: Batches computed together: NumPy's calls get cheap, and their arrays stay in the cache.
AT_ONCE = 16
#: Most batches of one read (15 ms of work); the next read gives the rest.
MOST_AT_ONCE = 256
#: Seconds of readings that are caught up after a delay. After a longer one, all of them are skipped.
MOST_OWED_S = 1.0
#: Seconds between two reads: short beside a turn, long beside the work.
READ_EVERY_S = 0.01

FAULTS = ("stuck", "spike", "drop-out", "drift")
STUCK, SPIKE, DROP_OUT, DRIFT = range(4)
FAULT_EVERY_MS, FAULT_LASTS_MS = 300_000, 60_000
SPIKE_BY, DRIFT_BY = np.float32(200), np.float32(60)  # °C

WAVE_MS = 3_600_000
BASE_LOW, BASE_SPAN = np.float32(10), np.float32(30 / 2**8)  # °C, °C for each of 256 steps
WAVE_LEAST, WAVE_SPAN = np.float32(1), np.float32(4 / 2**8)
NOISE_LEAST, NOISE_SPAN = np.float32(0.05), np.float32(0.2 / 2**8)
#: Standard deviation of the sum of two uniform 16-bit numbers.
PAIR_STD = np.float32(2**16 / 6**0.5)


class SimulatedSource:
    """Readings of uniformly random entities, in batches."""

    name = "simulada"
    names: Mapping[int, tuple[str, str]] = {}

    def __init__(self, fuente: FuenteSimulada, config: Config) -> None:
        self.rate = fuente.lecturas_por_segundo
        self.size = int(min(BATCH, max(1, self.rate * LONGEST_BATCH_S)))
        self.interval = max(READ_EVERY_S, self.size / self.rate)
        self.fleet = Fleet(config)
        self._fuente = fuente
        self._faulty = round(fuente.fallos * 2**32)
        self._entity_key, self._fault_key = _keys(fuente.semilla, -1)
        self._next: int | None = None
        self._skipped = 0  # batches

    @property
    def entities(self) -> int:
        return self.fleet.count

    @property
    def detail(self) -> str:
        fuente = self._fuente
        text = f"{fuente.fallos:.2%} of them faulty, seed {fuente.semilla}"
        return f"{text}; {self._skipped * self.size:,} skipped" if self._skipped else text

    def read(self, now_ms: int) -> list[Batch]:
        """The batches that became due since the last call. It skips what is more than MOST_OWED_S late."""
        due = now_ms * self.rate // (1_000 * self.size)
        owed = max(1, round(MOST_OWED_S * self.rate / self.size))
        if self._next is None or abs(due - self._next) > owed:
            self._skipped += 0 if self._next is None else max(0, due - self._next)
            self._next = due
        first, count = self._next, max(0, min(due - self._next + 1, MOST_AT_ONCE))
        self._next += count
        return self.batches(first, count)

    def close(self) -> None:
        """Does nothing: there is nothing open."""

    def batches(self, first: int, count: int = 1) -> list[Batch]:
        """*count* batches from number *first* on, due or not."""
        end = first + count
        return [
            batch
            for start in range(first, end, AT_ONCE)
            for batch in self._make(range(start, min(start + AT_ONCE, end)))
        ]

    def number(self, time: int) -> int:
        """The number of the first batch at *time* (ms) or later."""
        return -(-time * self.rate // (1_000 * self.size))

    def fault(self, ids: np.ndarray) -> np.ndarray:
        """The fault of each wire id: an index into `FAULTS`, or -1 for a sensor that is never faulty."""
        index = self.fleet.indexes(ids)
        return np.where(self._is_faulty(index), (_mix(index ^ self._fault_key) & 3).astype(np.int8), -1)

    def _make(self, numbers: range) -> list[Batch]:
        times = np.array([number * self.size * 1_000 // self.rate for number in numbers], np.int64)
        index, noise = self._draw(numbers)
        sensor = _mix(index + self._entity_key)
        valores = quiet_value(sensor, times[:, None]) + noise * _noise_level(sensor)
        estados = np.ones(index.shape, bool)
        if self._faulty:
            self._spoil(index, noise, times, valores, estados)
        ids, canales = self.fleet.addresses(index)
        return [Batch(*columns) for columns in zip(ids, canales, valores, estados, times.tolist(), strict=True)]

    def _draw(self, numbers: range) -> tuple[np.ndarray, np.ndarray]:
        """(entity index, noise in standard deviations) of each reading: one row for each batch."""
        keys = np.array([_keys(self._fuente.semilla, number) for number in numbers], np.uint32)
        bits = _mix(np.arange(self.size, dtype=np.uint32) + keys[:, :1])
        index = ((bits.astype(np.uint64) * np.uint64(self.fleet.count)) >> np.uint64(32)).astype(np.uint32)
        bits = _mix(bits ^ keys[:, 1:])
        pair = ((bits & 0xFFFF) + (bits >> 16)).astype(np.int32) - 0xFFFF
        return index, pair.astype(np.float32) / PAIR_STD

    def _is_faulty(self, index: np.ndarray) -> np.ndarray:
        return _mix(index - self._fault_key) < self._faulty

    def _spoil(
        self, index: np.ndarray, noise: np.ndarray, times: np.ndarray, valores: np.ndarray, estados: np.ndarray
    ) -> None:
        """Replace the readings of sensors that are faulty at the time."""
        flat = np.flatnonzero(self._is_faulty(index))
        bits = _mix(index.ravel()[flat] ^ self._fault_key)
        age = (times[flat // self.size] + (bits >> 2)) % FAULT_EVERY_MS
        now = age < FAULT_LASTS_MS
        flat, bits, age = flat[now], bits[now], age[now]
        fault, variety, good = bits & 3, bits >> 31 == 1, valores.ravel()[flat]
        sensor = _mix(index.ravel()[flat] + self._entity_key)
        spike = np.where(noise.ravel()[flat] > 0.5, np.where(variety, SPIKE_BY, -SPIKE_BY), np.float32(0))
        faces = (
            quiet_value(sensor, times[flat // self.size] - age),
            good + spike,
            np.where(variety, np.float32(np.nan), good),
            good + DRIFT_BY * (age / FAULT_LASTS_MS).astype(np.float32),
        )
        valores.ravel()[flat] = np.choose(fault, faces)
        estados.ravel()[flat] = (fault != DROP_OUT) | variety


def quiet_value(sensor: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """What sensors would read without noise at *moments* (ms).

    sensor: 32 random bits of each sensor, which determine its base and wave.
    """
    turn = (moments % WAVE_MS * 2**32 // WAVE_MS).astype(np.uint32)
    phase = (sensor * np.uint32(0x9E3779B1) + turn).view(np.int32).astype(np.float32) * np.float32(2**-31)
    wave = phase * (1 - np.abs(phase)) * 4  # two parabolas: like a sine, but the same bits on every machine
    return (
        sensor.astype(np.uint8) * BASE_SPAN
        + BASE_LOW
        + wave * ((sensor >> 8).astype(np.uint8) * WAVE_SPAN + WAVE_LEAST)
    )


def _noise_level(sensor: np.ndarray) -> np.ndarray:
    return (sensor >> 16).astype(np.uint8) * NOISE_SPAN + NOISE_LEAST


def _mix(x: np.ndarray) -> np.ndarray:
    """A 32-bit hash (lowbias32); *x* is changed in place."""
    x ^= x >> 16
    x *= np.uint32(0x7FEB352D)
    x ^= x >> 15
    x *= np.uint32(0x846CA68B)
    x ^= x >> 16
    return x


def _keys(seed: int, number: int) -> tuple[np.uint32, np.uint32]:
    """Two 32-bit keys for a batch (splitmix64)."""
    mask = 2**64 - 1
    z = (seed * 0xD1342543DE82EF95 + (number + 1) * 0x9E3779B97F4A7C15) & mask
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
    z ^= z >> 31
    return np.uint32(z >> 32), np.uint32(z & 0xFFFFFFFF)
