"""A fleet in shards: each engine steps its own blocks, and together they give what one engine gives."""
import numpy as np
import pytest

from corec.engine import Engine
from corec.engine.topology import shard_of
from corec.errors import UsageError
from corec.streams.redis.keys import normal_stream
from corec.streams.sending.routing import Routing
from tests.support.twin import T0

SHARDS = 3
CONFIG = {"fragmentos": SHARDS, "bloques": [
    {"id": "s", "canal": 1, "entidades": 7000, "funcion": {"nombre": "sine", "a": 5.0, "b": 2.0, "periodo": 7.0}},
    {"id": "a", "canal": 1, "entidades": 4000},
]}  # fmt: skip


def rows_of(engine):
    """Means by block, after three passes and readings of all ids."""
    for second in range(3):
        engine.step(T0 + 1000 * second)
    return {int(row["block"]): (row["count"], row["min"]) for row in engine.finish().aggregates}


def test_shards_step_what_is_theirs():
    # Given one engine a shard, and one that has no shards
    parts = [rows_of(Engine(CONFIG, shard=shard)) for shard in range(SHARDS)]
    whole = rows_of(Engine({"bloques": CONFIG["bloques"]}))
    # Then each gives the rows of its own blocks, and together they give all
    assert all(shard_of(block, SHARDS) == shard for shard, part in enumerate(parts) for block in part)
    assert {block: row for part in parts for block, row in part.items()} == whole and len(whole) == 7


def test_snapshot_keeps_its_shard():
    engine = Engine(CONFIG, shard=2)
    engine.step(T0)
    assert Engine.restore(engine.snapshot()).shard == 2


def test_readings_travel_to_the_shard_of_their_block():
    # Given a reading of the first entity of each block
    engine = Engine(CONFIG)
    ids = np.array([0, 1000, 2000, 6000, 7000, 10_000], np.uint32)
    frames = np.zeros((len(ids), 10), np.uint8)
    frames[:, :4] = ids.astype(">u4").view(np.uint8).reshape(-1, 4)
    frames[:, 4] = 1
    # When they are routed, then each goes where its block is stepped
    routed = {int.from_bytes(part.frames[at : at + 4], "big"): part.stream
              for part in Routing(SHARDS, engine.config).split(frames.tobytes()) for at in range(0, len(part.frames), 10)}
    owners = {int(id): int(engine.arena.segments["owner"][engine.locate(int(id))[0]]) for id in ids}
    assert routed == {id: normal_stream(shard_of(block, SHARDS)) for id, block in owners.items()}


@pytest.mark.parametrize("shards", [1, 2])
def test_the_number_of_shards_is_not_reloaded(shards):
    engine = Engine(CONFIG)
    with pytest.raises(UsageError, match="fragmentos"):
        engine.check_command({"op": "reload", "config": {**engine.config.to_mapping(), "fragmentos": shards}})
