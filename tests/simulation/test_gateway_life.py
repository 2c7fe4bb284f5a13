"""Lives of a gateway, each as its number decides: what was accepted is in one row, limits were told, whatever happened meanwhile."""
import os
import subprocess
import sys

import pytest

from tests.support.faults.memory import memory_folder
from tests.support.gateway_life import play
from tests.support.lives.events import drawn
from tests.support.paths import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

#: Lives in the short form and in the long one, and how many a test takes.
LIVES = 2_000 if os.environ.get("COREC_CHAOS") else 100
TOGETHER = 10
MINUTES, CHANCE = 150, 0.15


@pytest.mark.parametrize("first", range(0, LIVES, TOGETHER))
def test_nothing_accepted_is_lost(first):
    for number in range(first, first + TOGETHER):
        # Given a gateway that lives through restarts, kills, wrong clocks, outages and sleep
        with memory_folder() as folder:
            # Then each accepted reading is in one row of its window, or was refused for its time, and each limit exceeded was told
            play(drawn(number, MINUTES, CHANCE), folder)


def test_the_same_number_gives_the_same_life_in_another_process(tmp_path):
    # Given a life in which much happens
    life = drawn(3, 60, CHANCE)
    assert len({event.what for event in life.events}) > 3
    # When it is played again, in a process whose sets have another order, Then steps, times, rows, alerts and state are the same
    again = [sys.executable, "-m", "tests.support.lives", "--number", "3", "--minutes", "60", "--chance", str(CHANCE), "--digest"]
    other = subprocess.run(again, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == play(life, tmp_path).digest()
