"""Lives of a fleet, each as its number decides: shards change hands between workers that are killed, stand still and lose their servers."""
import os

import pytest

from tests.support.fleet_life import FleetLife

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

#: Lives in the short form and in the long one, and how many a test takes.
LIVES = 400 if os.environ.get("COREC_CHAOS") else 4
TOGETHER = 2
ROUNDS = 25


@pytest.mark.parametrize("first", range(0, LIVES, TOGETHER))
def test_each_reading_is_committed_once_by_whoever_has_its_shard(tmp_path, first):
    for number in range(first, first + TOGETHER):
        # Given three workers with three shards, two nodes that coordinate them, and what befalls each
        life = FleetLife(number, tmp_path / str(number), ROUNDS)
        life.run()
        # Then each durable reading is in one row, whoever committed it, and each limit exceeded was told
        life.check()
