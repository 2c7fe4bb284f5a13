"""The life of a gateway in a simulated world: readings, wrong clocks, restarts, kills, suspends and outages.

    play(drawn(7, minutes=600, chance=0.1), folder)     # Broken where an accepted reading is not accounted for

Every sensor's readings have times of their own, some are held back for hours, and some clocks are wrong.
"""
import hashlib
import mmap
import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np

from corec._core.wire import encode_frames
from corec.config import parse
from corec.errors import DiskFull, StorageError
from corec.simulation import SimulatedClock, SimulatedNode, World
from tests.support.lives.events import Event, Life
from tests.support.lives.expected import WINDOW, Batch, Expected, by_answer
from tests.support.lives.sensors import BUFFERED, DAY, HOUR, LIMIT, MINUTE, SENSORS, Sensors
from tests.support.lives.slow_plugin import SlowPlugin

__all__ = ["CONFIG", "DAY", "HOUR", "MINUTE", "START", "GatewayLife", "play"]

START = 1_790_000_000_000
CONFIG = {
    "instance_id": "sim", "modules": ["registro"], "retraso_max": 2, "max_skew": DAY // 1000, "max_adelanto": 10, "max_disk_mb": 64,
    "retencion_dias": 30,
    "bloques": [{"id": "a", "canal": 1, "entidades": SENSORS, "ventana": WINDOW / 1000, "limites": {"alto": LIMIT}}],
}  # fmt: skip
#: Seconds for which the gateway runs after each minute's readings; the rest of the minute is skipped.
SETTLE_S = 1.5
#: A life is checked so often on its way (minutes), up to what is older than SETTLED; what is older than KNOWN may be dropped soon.
CHECK_EVERY = 5 * 1_440
SETTLED, KNOWN = 2 * DAY, 25 * DAY


class GatewayLife:
    """One run."""

    def __init__(self, life: Life, folder: Path) -> None:
        self.life = life
        self.world = World(life.number)
        self.clock = SimulatedClock(self.world, wall_ms=START)
        self._folder, self._copies = folder, 0
        self._sensors = Sensors(life.number)
        self._polls = bool(life.number % 2)  # the gateway hands in what the sensors say now as one batch
        self._tickets = []  # (ticket, batch) that are not settled
        self._unfolded: list[Batch] = []  # accepted, and folded perhaps only after a step of the clock
        self.expected = Expected()
        self._held = {sensor: [] for sensor in range(SENSORS)}
        self._holds_until = [0.0] * SENSORS
        self._right_at: float | None = None
        self._off_ms = 0
        self._store_back = 0.0
        self.happened = Counter()
        self.memory: list[int] = []  # bytes that this process holds, at each check on the way
        self.node = self._new_node()

    def run(self) -> None:
        self._start()
        events = {event.minute: event for event in self.life.events}
        for minute in range(self.life.minutes):
            event = events.get(minute)
            if event:
                self.happened[event.what] += 1
                getattr(self, f"_{event.what}")(event)
            self._set_clock_right()
            self._read(range(SENSORS))
            if event and event.what == "kill":
                self._die(event)
            self.world.pass_time(60.0, SETTLE_S)
            self._settle()
            if minute % CHECK_EVERY == CHECK_EVERY - 1:
                self._check_so_far()
        self._end()

    def _end(self) -> None:
        """Everybody hands in what he has, and the clock is put right."""
        self._holds_until = [0.0] * SENSORS
        self._read(range(SENSORS))
        self.world.pass_time(10)
        self._off_ms and self._step(-self._off_ms)
        self.world.now = max(self.world.now, self._store_back)
        self.world.pass_time(3 * 60)
        self.world.pass_time(3 * 60)
        self._settle()
        self._stop()
        for batch in self._unfolded:
            self.expected.accept(batch)

    # --- what the sensors do -------------------------------------------------------------------

    @property
    def true_ms(self) -> int:
        return START + round(1000 * self.world.now)

    def _measure(self, which: range | tuple[int, ...]) -> None:
        for sensor, time, value in self._sensors.read(which, self.true_ms):
            self._held[sensor].append((sensor, time, value))

    def _read(self, which: range) -> None:
        """Measure, and hand in what is not held back."""
        self._measure(which)
        ready = [sensor for sensor in which if self.world.now >= self._holds_until[sensor]]
        now = [sensor for sensor in ready if self._polls and len(self._held[sensor]) == 1]
        for sensors in [now, *([sensor] for sensor in ready if sensor not in now)]:
            readings = [reading for sensor in sensors for reading in self._held[sensor]]
            self._held.update({sensor: [] for sensor in sensors})
            if readings:
                self._hand_in(readings)

    def _hand_in(self, readings: list[tuple[int, int, float]]) -> None:
        sensors, times, values = zip(*readings, strict=True)
        newest = max(times)
        frames = encode_frames(np.array(sensors, np.uint32), 1, np.array(values, np.float32), True)
        batch = Batch(readings, self.node.life.pipeline.arrival.now(), self.clock.wall_ms())
        with suppress(DiskFull, StorageError):
            self._tickets.append((self.node.submit(frames, time=newest, offsets=np.array(times, np.int64) - newest), batch))

    def _settle(self) -> None:
        """Sort what was handed in by what the node answered."""
        self._tickets, accepted = by_answer(self._tickets)
        self._unfolded += accepted
        if not self.node.life.pipeline.pending:
            for batch in self._unfolded:
                self.expected.accept(batch)
            self._unfolded = []

    # --- what happens to the gateway -----------------------------------------------------------

    def _restart(self, event: Event) -> None:
        self._stop()
        self._off(event.seconds)
        self._start()

    def _kill(self, event: Event) -> None:
        """Happens behind the readings of its minute."""

    def _die(self, event: Event) -> None:
        """SIGKILL at any moment: a new node finds the bytes that are in the files now."""
        self.world.run_until(lambda: False, event.amount / 1000)
        self._settle()
        for _, batch in self._tickets:
            self.expected.not_sure_of(batch)
        self._tickets = []
        self._vanish()
        self._off(event.seconds)
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

    def _reboot(self, event: Event) -> None:
        self._stop()
        self._off(event.seconds)
        self._off_ms += event.amount
        self.clock.start_again(self.true_ms + self._off_ms)
        self._clock_was_set(event)
        self._start()

    def _suspend(self, event: Event) -> None:
        for _ in range(int(event.seconds) // 60):
            self.clock.suspend(60)
            self._measure(BUFFERED)

    def _clock(self, event: Event) -> None:
        self._step(event.amount)
        self._clock_was_set(event)

    def _step(self, ms: int) -> None:
        self.clock.step_wall(ms)
        self._off_ms += ms
        self._clock_was_set()

    def _clock_was_set(self, event: Event | None = None) -> None:
        for batch in [*self._unfolded, *(batch for _, batch in self._tickets)]:
            batch.clock_set(self.clock.wall_ms())
        if event:
            self._right_at = self.world.now + event.right_after

    def _set_clock_right(self) -> None:
        if self._right_at is not None and self.world.now >= self._right_at:
            self._step(-self._off_ms)
            self._right_at = None

    def _store_away(self, event: Event) -> None:
        store, commit = self.node.life.opened.store, self.node.life.opened.store.commit
        over = self.world.now + event.seconds
        self._store_back = max(self._store_back, over)

        def away(*given, **parts):
            if self.world.now < over:
                raise StorageError("the store is away")
            return commit(*given, **parts)

        store.commit = away

    def _disk_full(self, event: Event) -> None:
        journal, append = self.node.life.opened.journal, self.node.life.opened.journal.append
        over = self.world.now + event.seconds

        def full(*given):
            if self.world.now < over:
                raise DiskFull("no room")
            return append(*given)

        journal.append = full

    def _hold(self, event: Event) -> None:
        self._holds_until[event.amount] = self.world.now + event.seconds

    def _plugin(self, event: Event) -> None:
        self.plugin.seconds = event.seconds

    def _off(self, seconds: float) -> None:
        """The gateway is off; sensors with a memory go on."""
        for _ in range(int(seconds) // 60):
            self.world.now += 60
            self._measure(BUFFERED)
        self.world.now += seconds % 60

    @property
    def _place(self) -> Path:
        return self._folder / f"node-{self._copies}"

    def _new_node(self) -> SimulatedNode:
        return SimulatedNode(parse(CONFIG), self._place, self.clock)

    def _start(self) -> None:
        self._store_back = 0.0
        self.node = self._new_node()
        self.node.start()
        self.plugin = SlowPlugin(self.node)
        self.clock.drive(self.plugin.step, name="plugin").start()

    def _stop(self) -> None:
        try:
            self.node.stop()
            self.plugin.check()
        except StorageError:  # the store is away: the journal has what was not committed
            assert self.world.now < self._store_back
        self.node.vanish()  # the plugin too
        self._settle()

    def digest(self) -> str:
        """Of all that came of the life: the same for each run of it."""
        opened = self.node.life.opened
        with opened.store.reader() as reader:
            stored = reader.history().tobytes() + reader.numbered_alerts().tobytes()
        counted = repr((self.world.steps, self.world.now, self.expected.accepted))
        return hashlib.sha256(counted.encode() + opened.engine.snapshot() + stored).hexdigest()

    # --- what must hold ------------------------------------------------------------------------

    def check(self) -> None:
        with self._new_node() as node:
            self.world.pass_time(3)
            store = node.life.opened.store
            since = self.true_ms - KNOWN
            self.expected.forget(since)
            self.expected.check(store.history(since=since), store.alerts(), self.true_ms + DAY)
            self.expected.check_ledger(node.life.engine.ledger)

    def _check_so_far(self) -> None:
        """The same for what is settled, and a look at the memory; no check while the clock is wrong or something waits."""
        self.memory.append(int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE)
        if self._off_ms or self._unfolded or self._tickets or self.world.now < self._store_back:
            return
        with self.node.life.opened.store.reader() as reader:
            since, until = self.true_ms - KNOWN, self.true_ms - SETTLED
            self.expected.forget(since)
            self.expected.check(reader.history(since=since, until=until), reader.alerts(), until)


def play(life: Life, folder: Path) -> GatewayLife:
    """Play a life and check it."""
    played = GatewayLife(life, folder / "gateway")
    played.run()
    played.check()
    return played
