"""Lives of a node that reads Redis, each as its number decides: what a sender was told is durable is in one row, whatever happened."""
import os

import pytest

from tests.support.redis_life import RedisLife

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

#: Lives in the short form and in the long one, and how many a test takes.
LIVES = 1_000 if os.environ.get("COREC_CHAOS") else 16
TOGETHER = 4
ROUNDS = 30


@pytest.mark.parametrize("first", range(0, LIVES, TOGETHER))
def test_nothing_sent_is_lost_or_counted_twice(tmp_path, first):
    for number in range(first, first + TOGETHER):
        # Given a node, a publisher and a Redis that live through kills, refusals, outages, restarts and lost answers
        life = RedisLife(number, tmp_path / str(number), ROUNDS)
        life.run()
        # Then each durable reading is in one row of its window, each limit exceeded was told, and who was stuck said so and went on
        life.check()


def test_the_same_number_gives_the_same_life(tmp_path):
    # Given two lives of one number, Then they end at the same step, with the same readings at the same times
    one, another = (RedisLife(3, tmp_path / name, ROUNDS) for name in ("one", "another"))
    for life in (one, another):
        life.run()
    assert (one.world.steps, one.world.now, one.sent, one.log) == (another.world.steps, another.world.now, another.sent, another.log)
    assert one.log and one.server.calls == another.server.calls
