"""The simulated world: time that goes on by itself, loops in an order that a number decides, and clocks of a machine."""
import math
import threading

import pytest

from corec.errors import InternalError
from corec.simulation import SimulatedClock, World

START = 1_790_000_000_000


def machine(number=1):
    world = World(number)
    return world, SimulatedClock(world, wall_ms=START)


def test_a_loop_runs_when_it_is_due_and_when_it_is_woken():
    # Given a loop that rests for ten seconds, and one that rests until it is woken
    world, clock = machine()
    ran, woken = [], threading.Event()
    clock.drive(lambda: ran.append("due") or 10.0, name="due").start()
    clock.drive(lambda: ran.append("woken") or math.inf, name="woken", woken=woken).start()
    # When three seconds go by, the one is woken, and ten more go by
    world.run_until(lambda: False, 3)
    assert sorted(ran) == ["due", "woken"]
    woken.set()
    world.run_until(lambda: False, 10)
    # Then each ran once more
    assert sorted(ran) == ["due", "due", "woken", "woken"] and 13 <= world.now < 13.1


def test_who_waits_lets_others_run():
    # Given a loop that waits inside its step for what another does a second later
    world, clock = machine()
    done, saw = threading.Event(), []

    def waits():
        saw.append(clock.wait(done, 5))

    clock.drive(waits, name="waits").start()
    clock.drive(lambda: done.set() if world.now > 1 else 0.5, name="does").start()
    # Then it goes on when that is done; what never comes is given up
    assert world.run_until(lambda: bool(saw), 10) and saw == [True] and world.now < 2
    assert clock.wait(threading.Event(), 2) is False


def test_a_world_in_which_nothing_will_happen_says_so():
    world, clock = machine()
    clock.drive(lambda: math.inf, name="waits").start()
    with pytest.raises(InternalError, match="nothing will wake one"):
        world.run_until(lambda: False)


def test_clocks_of_a_machine():
    # Given a machine that sleeps for an hour, whose clock is set, and that starts again
    world, clock = machine()
    world.pass_time(10)
    clock.suspend(3600)
    assert (clock.wall_ms() - START, clock.boot_ms(), clock.steady_s()) == (3_610_000, 3_610_000, 10.0)
    clock.step_wall(-60_000)
    assert (clock.wall_ms() - START, clock.boot_ms(), clock.steady_s()) == (3_550_000, 3_610_000, 10.0)
    before = clock.boot_id()
    clock.start_again(START)
    # Then the boot clock begins again, and the boot has another name
    assert (clock.wall_ms(), clock.boot_ms()) == (START, 0) and clock.boot_id() != before


def test_idle_time_is_skipped():
    # Given a loop that runs each second
    world, clock = machine()
    ran = []
    clock.drive(lambda: ran.append(world.now) or 1.0, name="each second").start()
    # When an hour goes by, then it ran for the first seconds, and not 3,600 times
    world.pass_time(3600)
    assert world.now >= 3600 and len(ran) < 10
