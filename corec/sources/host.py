"""This machine's sensors as named entities: load, memory, disks, network, temperatures, fans."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import psutil

from corec.config import Config, FuenteHost
from corec.sources.base import Batch
from corec.sources.names import Names, NameTable

log = logging.getLogger(__name__)

#: Failed readings (NaN) of a sensor that has vanished; then it gives nothing.
LAST_FAILURES = 5
#: Devices whose names change at every start, or that are not hardware.
PASSING_DEVICES = ("veth", "loop", "ram", "zram")


class Value(NamedTuple):
    name: str
    unit: str
    valor: float


class Counter(NamedTuple):
    """A count that only grows. Its growth per second is the reading."""

    name: str
    unit: str
    count: int


class HostSensors:
    """All sensors of this machine, read together."""

    def __init__(self, name: str) -> None:
        """name: `Component-instance`, for the log."""
        self._name = name
        self._units: dict[str, str] = {}
        self._missed: dict[str, int] = {}
        self._rates = Rates()
        psutil.cpu_percent(percpu=True)  # counts from here on
        self._rates.take(read_counters(), time.monotonic())

    def read(self) -> list[Value]:
        """The value of every sensor. A sensor that vanished gives NaN for LAST_FAILURES reads, then nothing."""
        found = [*read_values(), *self._rates.take(read_counters(), time.monotonic())]
        lost = self._lost({value.name for value in found})
        self._units |= {value.name: value.unit for value in found}
        return [*found, *lost]

    def _lost(self, found: set[str]) -> list[Value]:
        """NaN for the sensors that vanished at most LAST_FAILURES reads ago."""
        lost = []
        for name in self._units:
            missed = 0 if name in found else self._missed.get(name, 0) + 1
            self._missed[name] = missed
            if missed == 1:
                log.warning("[%s] %s has vanished", self._name, name)
            if 0 < missed <= LAST_FAILURES:
                lost.append(Value(name, self._units[name], math.nan))
        return lost


class HostSource:
    """Reads psutil. A new sensor gets a wire id. A sensor that vanishes fails a few times, then gives nothing."""

    name = "host"

    def __init__(self, fuente: FuenteHost, config: Config, slots: NameTable) -> None:
        self.interval = fuente.intervalo
        self._entry = next(entry for entry in config.bloques if entry.id == fuente.bloque)
        self._slots = slots
        self._instance = config.instance_id
        self._ids: dict[str, int] = {}
        self._units: dict[str, str] = {}
        self._without_id: set[str] = set()
        self._sensors = HostSensors(f"HostSource-{self._instance}")
        self._assign_ids(list(read_values()))

    @property
    def entities(self) -> int:
        return len(self._ids)

    @property
    def names(self) -> Names:
        """Wire id -> (name, unit)."""
        return {id: (name, self._units[name]) for name, id in self._ids.items()}

    @property
    def detail(self) -> str:
        text = f"this machine, into {self._entry.id}"
        return f"{text}; {len(self._without_id)} without a place" if self._without_id else text

    def read(self, now_ms: int) -> list[Batch]:
        """One batch with every sensor that has a wire id; [] when none has."""
        values = self._sensors.read()
        self._assign_ids(values)
        known = [value for value in values if value.name in self._ids]
        if not known:
            return []
        ids = np.array([self._ids[value.name] for value in known], np.uint32)
        valores = np.array([value.valor for value in known], np.float32)
        return [Batch(ids, self._entry.canal, valores, ~np.isnan(valores), now_ms)]

    def close(self) -> None:
        """Does nothing: psutil keeps nothing open."""

    def _assign_ids(self, values: list[Value]) -> None:
        new = [
            (value.name, value.unit)
            for value in values
            if value.name not in self._ids and value.name not in self._without_id
        ]
        if not new:
            return
        # replaced, not changed: other threads read `names`
        self._units = self._units | dict(new)
        self._ids = self._ids | self._slots.assign(self._entry.id, new)
        without = [name for name, _ in new if name not in self._ids]
        if without:
            self._without_id.update(without)
            level = logging.WARNING if self._entry.table is None else logging.INFO  # a device table names what is wanted
            log.log(level, "[HostSource-%s] %s has no place for %s", self._instance, self._entry.id, ", ".join(without))


class Rates:
    """Growth per second of counters, from one reading to the next."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._at = 0.0

    def take(self, counters: Iterable[Counter], at: float) -> list[Value]:
        """Rates since the last call. A counter that restarted gives 0; a new counter gives nothing yet."""
        counters, elapsed = list(counters), max(at - self._at, 1e-3)
        rates = [
            Value(name, unit, max(0, count - self._last[name]) / elapsed)
            for name, unit, count in counters
            if name in self._last
        ]
        self._last, self._at = {name: count for name, _, count in counters}, at
        return rates


def read_values() -> Iterator[Value]:
    """The sensors that have a value at once. What this machine lacks or refuses is left out."""
    for probe in (_cpu, _load, _memory, _disk_space, _temperatures, _fans, _battery, _system):
        yield from _tried(probe)


def read_counters() -> Iterator[Counter]:
    """The sensors that are counters, see `Counter`."""
    for probe in (_disk_traffic, _network, _scheduler):
        yield from _tried(probe)


def _tried(probe: Callable[[], Iterator[NamedTuple]]) -> list:
    try:
        return list(probe())
    except (OSError, RuntimeError, NotImplementedError, AttributeError, KeyError, psutil.Error):
        return []  # psutil has no such sensor here, or /proc and /sys do not show it


def _cpu() -> Iterator[Value]:
    for core, percent in enumerate(psutil.cpu_percent(percpu=True)):
        yield Value(f"cpu{core}.load", "%", percent)


def _load() -> Iterator[Value]:
    for minutes, load in zip((1, 5, 15), psutil.getloadavg(), strict=True):
        yield Value(f"load.{minutes}m", "tasks", load)


def _memory() -> Iterator[Value]:
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    yield Value("memory.used", "%", memory.percent)
    yield Value("memory.available", "MB", memory.available / 2**20)
    if swap.total:
        yield Value("swap.used", "%", swap.percent)


def _disk_space() -> Iterator[Value]:
    mounts = {part.device: part.mountpoint for part in reversed(psutil.disk_partitions(all=False))}
    for mount in sorted(set(mounts.values()) | {"/"}):
        with suppress(OSError):
            yield Value(f"disk.{mount}.used", "%", psutil.disk_usage(mount).percent)


def _temperatures() -> Iterator[Value]:
    yield from _chips("temp", "°C", psutil.sensors_temperatures())


def _fans() -> Iterator[Value]:
    yield from _chips("fan", "rpm", psutil.sensors_fans())


def _chips(kind: str, unit: str, chips: dict[str, list]) -> Iterator[Value]:
    """Sensors by chip and label. Sensors with the same label are numbered."""
    seen: dict[str, int] = {}
    for chip, sensors in chips.items():
        for sensor in sensors:
            name = ".".join(filter(None, (kind, chip, sensor.label.strip().replace(" ", "_"))))
            seen[name] = seen.get(name, 0) + 1
            yield Value(name if seen[name] == 1 else f"{name}.{seen[name]}", unit, sensor.current)


def _battery() -> Iterator[Value]:
    battery = psutil.sensors_battery()
    if battery is not None:
        yield Value("battery.charge", "%", battery.percent)


def _system() -> Iterator[Value]:
    yield Value("processes", "", len(psutil.pids()))
    yield Value("uptime", "h", (time.time() - psutil.boot_time()) / 3600)


def _disk_traffic() -> Iterator[Counter]:
    for disk, counts in (psutil.disk_io_counters(perdisk=True) or {}).items():
        if not disk.startswith(PASSING_DEVICES):
            yield Counter(f"{disk}.read", "B/s", counts.read_bytes)
            yield Counter(f"{disk}.written", "B/s", counts.write_bytes)


def _network() -> Iterator[Counter]:
    for card, counts in psutil.net_io_counters(pernic=True).items():
        if not card.startswith(PASSING_DEVICES):
            yield Counter(f"{card}.received", "B/s", counts.bytes_recv)
            yield Counter(f"{card}.sent", "B/s", counts.bytes_sent)


def _scheduler() -> Iterator[Counter]:
    counts = psutil.cpu_stats()
    yield Counter("cpu.switches", "1/s", counts.ctx_switches)
    yield Counter("cpu.interrupts", "1/s", counts.interrupts)
