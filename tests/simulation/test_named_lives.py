"""Things that happen to a gateway and once lost readings or rows, each by itself, in simulated time."""
import numpy as np
import pytest

from corec._core.wire import encode_frames
from corec.config import parse
from corec.errors import StorageError
from corec.simulation import SimulatedClock, SimulatedNode, World
from tests.support.gateway_life import CONFIG, DAY, HOUR, MINUTE, START, play
from tests.support.lives.events import Event, Life

pytestmark = pytest.mark.slow


class Gateway:
    """A node on a folder, and its world."""

    def __init__(self, folder, *, wall_ms=START, **changes):
        self.world = World(1)
        self.clock = SimulatedClock(self.world, wall_ms=wall_ms)
        self.folder, self.config = folder, parse({**CONFIG, **changes})
        self.sent = 0
        self.start()

    def start(self):
        self.node = SimulatedNode(self.config, self.folder, self.clock)
        self.node.start()

    def read(self, minutes, *, time=None, values=20.0, sensors=5):
        """A reading of each sensor a minute, by the machine's clock or of *time*."""
        for _ in range(minutes):
            frames = encode_frames(np.arange(sensors, dtype=np.uint32), 1, np.full(sensors, values, np.float32), True)
            ticket = self.node.submit(frames, time=self.clock.wall_ms() if time is None else time)
            self.world.pass_time(60)
            assert ticket.result(0) > 0
            self.sent += sensors

    def rows(self):
        return self.node.life.opened.store.history()

    def happenings(self):
        with self.node.life.opened.store.reader() as reader:
            return reader.happenings("a/0")

    def stored(self, since, until):
        """Readings in rows of windows in [since, until)."""
        rows = self.rows()
        chosen = (rows["window"] >= since) & (rows["window"] < until)
        return int(rows["count"][chosen].sum())

    @property
    def ledger(self):
        return self.node.life.engine.ledger

    def store_away(self, seconds):
        store, commit, over = self.node.life.opened.store, self.node.life.opened.store.commit, self.world.now + seconds

        def away(*given, **parts):
            if self.world.now < over:
                raise StorageError("the store is away")
            return commit(*given, **parts)

        store.commit = away

    def silent(self):
        """Alerts of silence so far."""
        return int((self.node.life.opened.store.alerts()["kind"] == 3).sum())


def test_a_gateway_that_was_in_2036_goes_on_at_the_present_and_keeps_its_rows(tmp_path):
    # Given a gateway with two hours of rows that keeps thirty days, whose clock is set to 2036 for three hours, and that starts anew then
    gateway = Gateway(tmp_path, retencion_dias=30)
    gateway.read(120)
    gateway.clock.step_wall(3_650 * DAY)
    gateway.world.pass_time(5)
    gateway.read(90)
    gateway.node.stop()
    gateway.start()
    gateway.read(90)
    gateway.clock.step_wall(-3_650 * DAY)
    gateway.world.pass_time(5)
    # Then the history names the stretch
    steps = [each for each in gateway.happenings() if each.what == "clock"]
    assert [("to 2036-" in each.reason, "from 2036-" in each.reason) for each in steps] == [(True, False), (False, True)]
    # When readings of the present come, then they count, and so do those of before
    now = gateway.clock.wall_ms()
    gateway.read(60)
    gateway.world.pass_time(120)
    assert gateway.stored(START - MINUTE, START + 2 * HOUR + MINUTE) == 120 * 5
    assert gateway.stored(now - MINUTE, now + HOUR + MINUTE) == 60 * 5
    assert gateway.ledger["late"] == gateway.ledger["rejected"] == 0 and gateway.ledger["in"] == gateway.sent


def test_a_gateway_that_was_away_for_a_year_drops_its_old_rows_after_a_day(tmp_path):
    # Given rows of an hour, and a gateway that is off for a year
    gateway = Gateway(tmp_path, retencion_dias=30)
    gateway.read(60)
    gateway.node.stop()
    gateway.world.now += 365 * 86_400
    gateway.start()
    gateway.read(60)
    assert gateway.stored(START - MINUTE, START + 2 * HOUR) == 60 * 5
    # When its clock stays as it is for a day, then it is believed
    for _ in range(24):
        gateway.world.pass_time(3_600)
        gateway.read(1)
    gateway.read(180)
    assert gateway.stored(START - MINUTE, START + 2 * HOUR) == 0 < gateway.stored(START + 364 * DAY, START + 400 * DAY)


def test_a_clock_that_is_behind_at_the_start_and_put_right_makes_nobody_silent(tmp_path):
    # Given a gateway that starts a week behind, and sensors that speak once a minute
    gateway = Gateway(tmp_path, wall_ms=START - 7 * DAY)
    gateway.read(10)
    # When its clock is put right, then no sensor counts as silent, and all readings count
    before = gateway.silent()
    gateway.clock.step_wall(7 * DAY)
    gateway.world.pass_time(3)
    assert gateway.silent() == before
    gateway.read(10)
    assert gateway.ledger["late"] == gateway.ledger["rejected"] == 0 and gateway.ledger["in"] == gateway.sent


def test_a_turn_that_closes_a_window_and_amends_it_is_committed(tmp_path):
    # Given a store that is away while windows close and readings for them come again and again
    gateway = Gateway(tmp_path)
    gateway.read(5)
    gateway.store_away(1_800)
    for _ in range(10):
        held = gateway.clock.wall_ms() - 3 * MINUTE
        gateway.read(1)
        gateway.read(1, time=held)
    # When it is back, then all is committed, each reading in its window
    gateway.world.pass_time(3_600)
    assert gateway.node.run_until(lambda: gateway.node.life.pipeline.pending == 0, 60)
    gateway.world.pass_time(300)
    assert int(gateway.rows()["count"].sum()) == gateway.sent == gateway.ledger["in"]


def test_a_machine_that_slept_for_four_days_goes_on(tmp_path):
    gateway = Gateway(tmp_path)
    gateway.read(10)
    gateway.clock.suspend(4 * 86_400)
    gateway.world.pass_time(5)
    gateway.read(10)
    gateway.world.pass_time(180)
    assert int(gateway.rows()["count"].sum()) == gateway.sent and gateway.ledger["rejected"] == gateway.ledger["late"] == 0


def test_what_was_refused_in_the_first_batch_of_all_stays_refused_when_the_clock_jumps(tmp_path):
    # Given a new node, in whose first batch a reading is ahead of the clock; it once counted as late when the clock jumped by years
    play(Life(1, 2, (Event(1, "clock", 0, 3_650 * DAY, 2),)), tmp_path)


def test_readings_come_in_and_go_out_while_the_store_is_away(tmp_path):
    # Given a store that is away for two hours, in which the clock is set and the gateway is killed; it once stood still until then
    play(Life(4, 150, (Event(5, "store_away", 7_200), Event(30, "clock", 0, HOUR, 300), Event(60, "kill", 60, 300))), tmp_path)


def test_a_stop_while_the_store_is_away_leaves_the_turn_to_the_next_start(tmp_path):
    play(Life(4, 20, (Event(3, "store_away", 600), Event(8, "restart", 60))), tmp_path)
