"""Long work on what is stored: fusions planned for a fleet, and `auditoria` fitted to what was."""
import json

import numpy as np
import pytest
from click.testing import CliRunner

from corec._core.dtypes import AGGREGATE
from corec.cli import main
from corec.config import parse
from corec.errors import ServerError, UsageError
from corec.storage.base import Block, StoreBase, TurnRecord
from corec.storage.open_store import open_shard_store
from corec.storage.postgres.schema import migrate_if_allowed
from corec.storage.sqlite.store import SqliteStore
from corec.workers import analysis, fusions
from tests.support.nodes import now_ms

pytestmark = [pytest.mark.slow, pytest.mark.redis, pytest.mark.postgres]

#: Ten blocks of channel 1 and two of channel 2, in four shards: s/0, s/4 and s/8 are of one.
FLEET = {"flota": "f", "redis_config": {}, "celery_config": {}, "fragmentos": 4,
         "sincronizacion": {"ventanas": 5, "fusiones_por_minuto": 4},
         "bloques": [{"id": "s", "canal": 1, "entidades": 200, "entidades_por_bloque": 20},
                     {"id": "p", "canal": 2, "entidades": 40, "entidades_por_bloque": 20}]}  # fmt: skip
WEAK, STRONG = 0.1, 0.9
BEGAN = now_ms() // 1000 * 1000 - 300_000


@pytest.fixture
def fleet(database):
    """(configuration, a function that commits windows, or an event, of one shard)."""
    config = parse({**FLEET, "db_config": database})
    migrate_if_allowed(config.db_config)
    stores = [open_shard_store(config, shard, StoreBase())[0] for shard in range(4)]

    def commit(shard, rows=(), events=()):
        store = stores[shard]
        turn = TurnRecord(store.state.turn + 1, store.state.offset, store.state.offset, 0, 0, [], "hash", now_ms())
        store.commit(turn, aggregates=np.concatenate([np.zeros(0, AGGREGATE), *rows]), events=events)

    for store in stores:
        store.set_blocks([Block(block, f"s/{block}" if block < 10 else f"p/{block - 10}", 1 + block // 10, 20) for block in range(12)])
    yield config, commit
    for store in stores:
        store.close()


def windows(block, fitness, count=8, first=0):
    rows = np.zeros(count, AGGREGATE)
    rows["block"], rows["fitness"], rows["canal"], rows["count"] = block, fitness, 1 + block // 10, 20
    rows["window"] = BEGAN + 1000 * (first + np.arange(count))
    return rows


def move(time, block, what, host):
    """An event of the history."""
    return time, block, what, host, WEAK, STRONG, 0, 20, 0, "by command", ""


def planned(config, send=None, **more):
    return fusions.plan(config, BEGAN, now_ms(), send=send or (lambda shard, command: {"turn": 7}), **more)


def pairs(answer):
    return [(each["shard"], each["block"], each["host"]) for each in answer["fusions"]]


def test_weak_blocks_join_strong_ones_of_their_channel_and_shard(fleet):
    # Given weak blocks in two shards, strong ones in those and in others, and one that is strong now
    config, commit = fleet
    commit(0, [windows(0, WEAK), windows(4, STRONG), windows(8, 0.8)])
    commit(1, [windows(1, WEAK), windows(5, WEAK, 4), windows(5, STRONG, 2, first=4)])
    commit(2, [windows(2, WEAK), windows(10, STRONG)])
    sent = []
    # When fusions are planned, then each weak block goes to the strongest of its channel and shard, if there is one
    answer = planned(config, lambda shard, command: sent.append((shard, command)) or {"turn": 7})
    assert pairs(answer) == [(0, "s/0", "s/4"), (1, "s/1", "s/5")]
    assert [(shard, command["op"], command["block"]) for shard, command in sent] == [(0, "fuse", "s/0"), (1, "fuse", "s/1")]
    assert answer["windows"] == 54 and answer["refused"] == answer["silent"] == [] and answer["fusions"][0]["turn"] == 7
    # And a dry run says so and sends nothing
    sent.clear()
    assert pairs(planned(config, dry_run=True)) == pairs(answer) and sent == []
    assert json.loads(json.dumps(answer)) == answer


def test_asked_twice_nothing_is_fused_twice(fleet):
    config, commit = fleet
    commit(0, [windows(0, WEAK), windows(4, STRONG)], [move(now_ms(), 0, "fuse", 4)])
    assert pairs(planned(config)) == []


def test_what_was_undone_is_left_alone_until_it_was_strong(fleet):
    # Given a block whose fusion somebody has undone, and that was weak before and since
    config, commit = fleet
    commit(0, [windows(4, STRONG, 20), windows(0, STRONG, 2), windows(0, WEAK, 6, first=2)],
           [move(BEGAN + 8000, 0, "fuse", 4), move(BEGAN + 9000, 0, "undo", 4)])
    commit(0, [windows(0, WEAK, 6, first=10)])
    assert pairs(planned(config)) == []
    # When it was strong once and is weak again, then it is planned for
    commit(0, [windows(0, STRONG, 1, first=16), windows(0, WEAK, 6, first=17)])
    assert pairs(planned(config)) == [(0, "s/0", "s/4")]


def test_fusions_of_the_last_minute_count(fleet):
    # Given a shard in which three blocks were fused just now, and two that are weak
    config, commit = fleet
    events = [move(now_ms(), 4, "fuse", 8)] * 3
    commit(0, [windows(0, WEAK), windows(8, STRONG)], events)
    assert len(pairs(planned(config))) == 1
    commit(0, [], events[:1])
    assert pairs(planned(config)) == []


def test_a_refused_host_is_followed_by_the_next_and_a_silent_shard_is_left(fleet):
    config, commit = fleet
    commit(0, [windows(0, WEAK), windows(4, STRONG), windows(8, 0.8)])
    commit(1, [windows(1, WEAK), windows(5, STRONG)])

    def send(shard, command):
        if shard == 1:
            raise ServerError("nobody answered")
        if command["host"] == "s/4":
            raise UsageError("it is full")
        return {"turn": 9}

    answer = planned(config, send)
    assert pairs(answer) == [(0, "s/0", "s/8")] and answer["silent"] == [1]
    assert answer["refused"] == [{"shard": 0, "block": "s/0", "host": "s/4", "error": "it is full"}]


# --- training --------------------------------------------------------------------------------------

AUDITED = {"auditoria": {"ventanas": 64}, "bloques": [{"id": "s", "canal": 1, "entidades": 20}]}
SINCE = BEGAN - 3_600_000


@pytest.fixture
def history(tmp_path):
    """A folder with an hour of one block's scored windows: quiet, with bursts that end at 6, 12 and 20."""
    config = parse(AUDITED)
    rows = np.zeros(1200, AGGREGATE)
    rows["canal"], rows["count"], rows["window"] = 1, 20, SINCE + 3000 * np.arange(1200)
    rows["score"] = 1 + np.random.default_rng(3).random(1200) / 10
    for at, score in ((300, 6.0), (600, 12.0), (900, 20.0)):
        rows["score"][at] = score
    store = SqliteStore(tmp_path / "store.db", instance="corec1")
    store.set_blocks([Block(0, "s/0", 1, 20)])
    store.commit(TurnRecord(1, 0, 0, 0, 0, [], "hash", now_ms()), aggregates=rows)
    store.close()
    return config, tmp_path


@pytest.mark.parametrize(("wanted", "anomalies"), [(3, 3), (2, 2), (1, 1), (0, 0)])
def test_auditoria_is_fitted_to_so_many_anomalies(history, wanted, anomalies):
    # Given an hour with three bursts, when so many anomalies are to be in it
    config, data = history
    until = now_ms()
    answer = analysis.train(config, SINCE, until, por_dia=24 * wanted + 0.1, data=data)
    # Then the threshold lets those through and no more, and no lower one does
    assert answer["anomalies"] == anomalies
    umbral = answer["auditoria"]["umbral"]
    assert analysis.rescore(config, SINCE, until, umbral=umbral, data=data)["anomalies"] == anomalies
    # And it is the same whenever it is asked, and JSON that a configuration takes
    assert answer == analysis.train(config, SINCE, until, por_dia=24 * wanted + 0.1, data=data)
    assert parse({"auditoria": json.loads(json.dumps(answer))["auditoria"]}).auditoria.umbral == umbral


def test_without_windows_there_is_nothing_to_learn_from(history):
    config, data = history
    with pytest.raises(UsageError, match="got none"):
        analysis.train(config, now_ms(), now_ms() + 1000, data=data)


def test_windows_without_a_score_leave_what_is_configured(tmp_path):
    # Given windows of before the reference was learnt, all with a score of 0
    rows = np.zeros(10, AGGREGATE)
    rows["canal"], rows["count"], rows["window"] = 1, 20, SINCE + 3000 * np.arange(10)
    store = SqliteStore(tmp_path / "store.db", instance="corec1")
    store.set_blocks([Block(0, "s/0", 1, 20)])
    store.commit(TurnRecord(1, 0, 0, 0, 0, [], "hash", now_ms()), aggregates=rows)
    store.close()
    # When a threshold is asked for, then it is not one that any window would exceed
    config = parse({**AUDITED, "auditoria": {"umbral": 5.5}})
    answer = analysis.train(config, SINCE, now_ms(), data=tmp_path)
    assert answer["auditoria"]["umbral"] == 5.5 and answer["windows"] == 10 and answer["highest_score"] == 0


def test_an_embedded_node_is_fitted_by_the_command(history, tmp_path):
    _, data = history
    (tmp_path / "corec_config.json").write_text(json.dumps(AUDITED))
    done = CliRunner().invoke(main, ["train", "--since", "2h", "--per-day", "24.1", "--config", str(tmp_path), "--data", str(data)])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["anomalies"] == 1
