"""Lives of a gateway, each as its number decides: what was accepted is in one row, limits were told, whatever happened meanwhile."""
import os

import pytest

from tests.support.gateway_life import GatewayLife

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

#: Lives in the short form and in the long one, and how many a test takes.
LIVES = 2_000 if os.environ.get("COREC_CHAOS") else 100
TOGETHER = 10
MINUTES, CHANCE = 150, 0.15


@pytest.mark.parametrize("first", range(0, LIVES, TOGETHER))
def test_nothing_accepted_is_lost(tmp_path, first):
    for number in range(first, first + TOGETHER):
        # Given a gateway that lives through restarts, kills, wrong clocks, outages and sleep
        life = GatewayLife(number, tmp_path / str(number), MINUTES, chance=CHANCE)
        life.run()
        # Then each accepted reading is in one row of its window, or was refused for its time, and each limit exceeded was told
        life.check()


def test_the_same_number_gives_the_same_life(tmp_path):
    # Given two lives of one number, Then they end at the same step, with the same readings at the same times
    lives = [GatewayLife(3, tmp_path / name, 60, chance=CHANCE) for name in ("one", "another")]
    for life in lives:
        life.run()
    one, another = lives
    assert (one.world.steps, one.world.now, one.accepted) == (another.world.steps, another.world.now, another.accepted)
    assert one.happened and one.node.life.engine.snapshot() == another.node.life.engine.snapshot()
