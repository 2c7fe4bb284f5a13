"""The life of a gateway in a simulated world: readings, wrong clocks, restarts, kills, suspends and outages, as a number decides.

    life = GatewayLife(7, folder, minutes=600)
    life.run()
    life.check()        # AssertionError where an accepted reading is not accounted for

Every sensor's readings have times of their own, some are held back for hours, and some clocks are wrong.  The check knows nothing of
the engine: it counts what was accepted by sensor, window and time, and compares that with the rows, the ledger and the alerts.
"""
import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from corec._core.wire import encode_frames
from corec.config import parse
from corec.errors import DiskFull, StorageError
from corec.simulation import SimulatedClock, SimulatedNode, World

START = 1_790_000_000_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
WINDOW = MINUTE
SENSORS = 8
LIMIT = 100.0
#: Readings of a sensor between two above the limit: an alert tells of the first of those in a row.
APART = 5
#: Sensor -> ms by which its clock is off; the last two are refused for that.
CLOCKS = {5: 3_000, 4: -40_000, 6: HOUR, 7: -3 * DAY}
WRONG = (6, 7)
CONFIG = {
    "instance_id": "sim", "modules": ["registro"], "retraso_max": 2, "max_skew": DAY // 1000, "max_adelanto": 10, "max_disk_mb": 64,
    "retencion_dias": 30,
    "bloques": [{"id": "a", "canal": 1, "entidades": SENSORS, "ventana": WINDOW / 1000, "limites": {"alto": LIMIT}}],
}  # fmt: skip


class Sent(NamedTuple):
    """A reading and the time that the node's own clocks gave it when it was handed in."""

    sensor: int
    time: int
    value: float
    arrivals: tuple[int, ...]  # ms: by the node's clock, and by the machine's where that was set and the node has not followed yet

    @property
    def verdicts(self) -> set[str]:
        """"counts", "old" or "ahead"; several where its time is near a bound, or the node's clock was set before it was folded."""
        offs = [arrival + tolerance - self.time for arrival in self.arrivals for tolerance in (-3_000, 3_000)]
        return {"old" if off > DAY else "ahead" if -off > 10_000 else "counts" for off in offs}

    @property
    def must_count(self) -> bool:
        """Whether it is in a row at the end.  What was refused because the node's clock was wrong counts once that is put right."""
        return self.verdicts == {"counts"} or self.sensor not in WRONG


class GatewayLife:
    """One run."""

    def __init__(self, number: int, folder: Path, minutes: int, *, chance: float = 0.03) -> None:
        """chance: of something happening in a minute."""
        self.world = World(number)
        self.clock = SimulatedClock(self.world, wall_ms=START)
        self._random, self._minutes, self._chance = self.world.random, minutes, chance
        self._folder, self._copies = folder, 0
        self._tickets = []  # (ticket, readings) that are not settled
        self.accepted: list[Sent] = []
        self._unfolded: list[Sent] = []  # accepted, and folded perhaps only after a step of the clock
        self.unsure: list[Sent] = []  # handed in to a node that was killed before it answered
        self._held = {sensor: [] for sensor in range(SENSORS)}
        self._holds_until = dict.fromkeys(range(SENSORS), 0.0)
        self._spikes, self._since_spike = 0, Counter()
        self._right_in: float | None = None
        self._off_ms = 0
        self.happened = Counter()
        self.log = []
        self.node = self._new_node()

    def run(self) -> None:
        self.node.start()
        for minute in range(self._minutes):
            if self._random.random() < self._chance:
                self._something_happens(minute)
            self._set_clock_right()
            self._read_sensors()
            self.world.pass_time(60.0 * self._random.uniform(0.9, 1.1))
            self._settle()
        for sensor in range(SENSORS):
            self._holds_until[sensor] = 0.0
        self._read_sensors()
        self.world.pass_time(10)
        self._off_ms and self._step(-self._off_ms)
        self.world.pass_time(3 * 60)
        self.world.pass_time(3 * 60)
        self._settle()
        self.node.stop()
        self.accepted += self._unfolded

    # --- what the sensors do -------------------------------------------------------------------

    @property
    def true_ms(self) -> int:
        return START + round(1000 * self.world.now)

    def _read_sensors(self) -> None:
        for sensor in range(SENSORS):
            self._since_spike[sensor] += 1
            spikes = self._since_spike[sensor] > APART and self._random.random() < 0.01
            if spikes:
                self._spikes, self._since_spike[sensor] = self._spikes + 1, 0
            value = LIMIT + self._spikes if spikes else round(self._random.uniform(10, 20), 1)
            self._held[sensor].append((self.true_ms + CLOCKS.get(sensor, 0) - self._random.randrange(1_500), value))
            if self.world.now >= self._holds_until[sensor]:
                self._hand_in(sensor)

    def _hand_in(self, sensor: int) -> None:
        held, self._held[sensor] = self._held[sensor], []
        arrivals = (self.node.life.pipeline.arrival.now(), self.clock.wall_ms())
        readings = [Sent(sensor, time, value, arrivals) for time, value in held]
        newest = readings[-1].time
        frames = encode_frames(np.full(len(held), sensor, np.uint32), 1, np.array([value for _, value in held], np.float32), True)
        offsets = np.array([reading.time - newest for reading in readings], np.int64)
        with suppress(DiskFull, StorageError):
            self._tickets.append((self.node.submit(frames, time=newest, offsets=offsets), readings))

    def _settle(self) -> None:
        """Sort what was handed in by what the node answered."""
        open_ = []
        for ticket, readings in self._tickets:
            if not ticket.done():
                open_.append((ticket, readings))
            elif ticket.exception() is None:
                self._unfolded += readings
        self._tickets = open_
        if not self.node.life.pipeline.pending:
            self.accepted, self._unfolded = self.accepted + self._unfolded, []

    # --- what happens to the gateway -----------------------------------------------------------

    def _something_happens(self, minute: int) -> None:
        event = self._random.choice((self._restart, self._kill, self._suspend, self._step_clock, self._step_clock, self._reboot,
                                     self._store_away, self._disk_full, self._hold, self._hold, self._hold))  # fmt: skip
        self.happened[event.__name__] += 1
        self.log.append((minute, event.__name__))
        event()

    def _restart(self) -> None:
        self.node.stop()
        self._settle()
        self._outage()
        self._start()

    def _kill(self) -> None:
        """SIGKILL at any moment: a new node finds the bytes that are in the files now."""
        self.world.run_until(lambda: False, self._random.random() * 0.7)
        self._settle()
        self.unsure += [reading for _, readings in self._tickets for reading in readings]
        self._tickets = []
        self._vanish()
        self._outage()
        self._start()

    def _vanish(self) -> None:
        before = self._place
        self.node.vanish()
        self._copies += 1
        shutil.copytree(before, self._place)
        self._close_left_open(before)

    def _close_left_open(self, place: Path) -> None:
        """The killed node's files, which its process would have closed."""
        opened = self.node.life.opened
        for close in (opened.store.close, opened.journal.close, self.node.life.folder.close):
            with suppress(Exception):
                close()
        shutil.rmtree(place)

    def _reboot(self) -> None:
        self.node.stop()
        self._settle()
        self._outage()
        wrong = self._random.choice((0, 0, 0, -HOUR, -5 * DAY, HOUR, 2 * DAY))
        self._off_ms += wrong
        self.clock.start_again(self.true_ms + self._off_ms)
        self._unfolded = [each._replace(arrivals=(*each.arrivals, self.clock.wall_ms())) for each in self._unfolded]
        self._right_soon()
        self._start()

    def _suspend(self) -> None:
        self.clock.suspend(self._random.choice((60, 3_600, 5 * 3_600)))

    def _step_clock(self) -> None:
        self._step(self._random.choice((-1, 1, 1)) * self._random.choice((900, 2_500, 60_000, HOUR, 3 * HOUR, 3_650 * DAY)))
        self._right_soon()

    def _step(self, ms: int) -> None:
        self.clock.step_wall(ms)
        self._off_ms += ms
        self._unfolded = [each._replace(arrivals=(*each.arrivals, self.clock.wall_ms())) for each in self._unfolded]

    def _right_soon(self) -> None:
        self._right_in = self.world.now + self._random.choice((30, 300, 3_600))

    def _set_clock_right(self) -> None:
        if self._right_in is not None and self.world.now >= self._right_in:
            self._step(-self._off_ms)
            self._right_in = None

    def _store_away(self) -> None:
        store, commit = self.node.life.opened.store, self.node.life.opened.store.commit
        over = self.world.now + self._random.choice((3, 60, 600))

        def away(*given, **parts):
            if self.world.now < over:
                raise StorageError("the store is away")
            return commit(*given, **parts)

        store.commit = away

    def _disk_full(self) -> None:
        journal, append = self.node.life.opened.journal, self.node.life.opened.journal.append
        over = self.world.now + self._random.choice((3, 60, 600))

        def full(*given):
            if self.world.now < over:
                raise DiskFull("no room")
            return append(*given)

        journal.append = full

    def _hold(self) -> None:
        sensor = self._random.randrange(SENSORS)
        self._holds_until[sensor] = self.world.now + self._random.choice((120, 900, 7_200, 36_000))

    def _outage(self) -> None:
        self.world.now += self._random.choice((2, 60, 1_800, 10_800))

    @property
    def _place(self) -> Path:
        return self._folder / f"node-{self._copies}"

    def _new_node(self) -> SimulatedNode:
        return SimulatedNode(parse(CONFIG), self._place, self.clock)

    def _start(self) -> None:
        self.node = self._new_node()
        self.node.start()

    # --- what must hold ------------------------------------------------------------------------

    def check(self) -> None:
        with SimulatedNode(parse(CONFIG), self._place, self.clock) as node:
            self.world.pass_time(3)
            rows, alerts, ledger = node.life.opened.store.history(), node.life.opened.store.alerts(), node.life.engine.ledger
        self._check_rows(rows)
        self._check_skew(ledger)
        self._check_alerts(alerts)
        assert ledger["in"] == sum(ledger[part] for part in ("stored", "filtered", "late", "shed", "rejected")), ledger
        assert ledger["late"] == 0, ledger

    def _check_rows(self, rows: np.ndarray) -> None:
        """Each accepted reading is in exactly one row, that of its own window."""
        sure, maybe, sums = Counter(), Counter(), Counter()
        for reading, is_sure in [*((each, True) for each in self.accepted), *((each, False) for each in self.unsure)]:
            window = reading.time // WINDOW * WINDOW
            if reading.must_count and is_sure:
                sure[window] += 1
            else:
                maybe[window] += 1
            sums[window] += reading.value
        found, found_sums = Counter(), Counter()
        for row in rows:
            window = int(row["window"]) // WINDOW * WINDOW
            found[window] += int(row["count"])
            found_sums[window] += float(row["count"]) * float(row["mean"]) if row["count"] else 0.0
        off = {window: (sure[window], maybe[window], found[window]) for window in sure.keys() | maybe.keys() | found.keys()
               if not sure[window] <= found[window] <= sure[window] + maybe[window]}  # fmt: skip
        assert not off, (len(off), sorted(off.items())[:5], self.log)
        refused = {reading.time // WINDOW * WINDOW for reading in self.accepted if not reading.must_count}
        for window in sure.keys() - maybe.keys() - refused:
            assert abs(found_sums[window] - sums[window]) < 1e-3 * sums[window], (window, found_sums[window], sums[window])

    def _check_skew(self, ledger: dict) -> None:
        most = sum(not reading.must_count for reading in [*self.accepted, *self.unsure])
        assert ledger["rejected_skew"] <= most, (ledger["rejected_skew"], most)

    def _check_alerts(self, alerts: np.ndarray) -> None:
        """Every limit that was exceeded was told."""
        values = set(alerts["valor"].tolist())
        above = [reading for reading in self.accepted if reading.value > LIMIT and reading.verdicts == {"counts"}]
        missing = [reading for reading in above if reading.value not in values]
        assert not missing, (missing, self.log)
