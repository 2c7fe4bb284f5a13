"""A year of a gateway with a reading a minute and sensor: a few things a day go wrong."""
import os

import pytest

from corec.common.units import MB
from tests.support.faults.memory import memory_folder
from tests.support.gateway_life import play
from tests.support.lives.events import drawn

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

DAY = 1_440
DAYS = 365 if os.environ.get("COREC_CHAOS") else 7
#: Kinds of things that happen at least.
KINDS = 9 if DAYS == 365 else 7
#: Of something happening in a minute: four a day.
CHANCE = 0.003
#: Checks on the way, one in five days, after which memory grows no more: rows, refused readings and the test's own books are bounded.
FULL = 8


def test_a_year_loses_nothing_and_its_memory_is_bounded():
    # Given a gateway that is restarted, killed, off and asleep for hours, with a full disk, a store that is away, a slow plugin, clocks
    # that are set, devices with wrong clocks, and sensors that hold their readings back, When a year goes by (in `make test` a week)
    with memory_folder() as folder:
        year = play(drawn(1, DAYS * DAY, CHANCE), folder)
    # Then nothing is lost: checks on the way and at the end look at every reading.  All kinds of things happened, and memory is bounded
    assert year.world.now >= DAYS * 86_400 and len(year.happened) >= KINDS
    assert max(year.memory[FULL:], default=0) <= max(year.memory[:FULL], default=0) + 40 * MB
