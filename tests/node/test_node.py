"""A whole node: readings in, committed rows out, whatever happens to its folder in between."""
import json
import sqlite3
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from corec.config import parse
from corec.control.client import NodeNotRunning, ask
from corec.errors import CapacityError, DiskFull, FolderInUse, UsageError
from corec.nucleus import CoreCNucleus
from corec.streams.sending.producer import Producer
from tests.support.nodes import SMALL, now_ms, quickest, readings, running, small, until

pytestmark = pytest.mark.slow


def rows(nucleus):
    """Every committed window: (block id, count, mean, errors)."""
    with sqlite3.connect(nucleus.folder.store) as db:
        return db.execute('SELECT id, "count", mean, errors FROM bloques ORDER BY "window", id').fetchall()


def test_readings_become_rows(tmp_path):
    # Given a running node
    with running(small(), tmp_path) as nucleus:
        # When readings are accepted and their window has passed
        nucleus.submit(readings(range(10), values=np.arange(10)), time=now_ms()).result(60)
        assert until(lambda: nucleus.pipeline.totals["rows"])
        # Then the row is in the store
        assert rows(nucleus) == [("sensores/0", 10, 4.5, 0)]


def test_critical_readings_commit_at_once(tmp_path):
    # Given readings of channel 2
    with running(small(), tmp_path) as nucleus:
        def committed():
            turn = nucleus.store_turn
            nucleus.submit(readings([2500], canal=2), time=now_ms()).result(60)
            assert until(lambda: nucleus.store_turn > turn)

        # Then their turn is committed long before half a second has passed
        assert quickest(committed, 0.25) < 0.25


def test_alert_is_committed_with_its_name(tmp_path):
    with running(small(), tmp_path) as nucleus:
        nucleus.submit(readings([7], values=150.0), time=now_ms()).result(60)
        assert until(lambda: nucleus.alerts.recent)
        alert = nucleus.alerts.recent[0]
        assert (alert["kind"], alert["entity"], alert["name"], alert["limit"]) == ("high", 7, "sensores/0:7", 100.0)
        assert len(nucleus.store.alerts(0, 2**60)) == 1


def test_state_survives_a_restart(tmp_path):
    # Given a node that folded readings and stopped
    with running(small(), tmp_path) as nucleus:
        for k in range(5):
            nucleus.submit(readings(range(2500), values=20 + k), time=now_ms()).result(60)
        until(lambda: not nucleus.pipeline.pending)
    before, ledger = nucleus.engine.entities.copy(), nucleus.engine.ledger
    # When it starts again, Then it is where it was
    with running(small(), tmp_path) as again:
        assert np.array_equal(again.engine.entities, before)
        assert {**again.engine.ledger} == ledger


def test_every_batch_of_many_threads_counts_once(tmp_path):
    # Given eight threads that hand in batches without a producer of their own, in turns as short as the interpreter gives
    threads, batches, size = 8, 150, 3
    interval = sys.getswitchinterval()
    with running(small(), tmp_path) as nucleus:
        def hand_in(first):
            tickets = [nucleus.submit(readings(range(first, first + size)), time=now_ms()) for _ in range(batches)]
            assert all(ticket.result(60) is not None for ticket in tickets)

        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(hand_in, range(0, threads * size, size)))
        finally:
            sys.setswitchinterval(interval)
        # Then every reading is counted, none as a repeat of another thread's
        assert until(lambda: nucleus.engine.ledger["in"] == threads * batches * size, seconds=60)
        assert nucleus.engine.ledger["rejected"] == 0


def test_repeated_batch_counts_once(tmp_path):
    # Given an envelope that is handed in twice, with a restart in between
    with running(small(), tmp_path) as nucleus:
        envelope = Producer("device").send(readings(range(10)), now_ms(), None, bytes)
        nucleus.committer.submit(envelope, readings=10).result(60)
        until(lambda: nucleus.engine.ledger["in"] == 10)
    with running(small(), tmp_path) as nucleus:
        nucleus.committer.submit(envelope, readings=10).result(60)
        # Then the second one is refused as repeated
        assert until(lambda: nucleus.engine.ledger["rejected_repeated"] == 10)
        assert nucleus.engine.ledger["in"] == 20


def test_wrong_clock_is_put_aside(tmp_path):
    # Given batches of 2001 and of 2099
    with running(small(), tmp_path) as nucleus:
        for moment in (1_000_000_000_000, 4_070_908_800_000):
            nucleus.submit(readings(range(3)), time=moment).result(60)
        assert until(lambda: nucleus.engine.ledger["rejected_skew"] == 6)
        until(lambda: nucleus.store_turn)
        nucleus.submit(readings(range(3)), time=now_ms()).result(60)
        # Then the clock did not follow them and their frames are kept
        assert until(lambda: abs(nucleus.engine.clock - now_ms()) < 5_000)
        assert until(lambda: sum(len(batch.frames) for batch in nucleus.store.late()) == 60)


def test_second_node_is_refused(tmp_path):
    with running(small(), tmp_path), pytest.raises(FolderInUse, match=str(tmp_path)):
        CoreCNucleus(small(), data=tmp_path, with_sources=False).start()


def test_node_beyond_its_ram_is_refused(tmp_path):
    big = parse({"max_ram_mb": 100, "bloques": [{"id": "a", "canal": 1, "entidades": 3_000_000}]})
    with pytest.raises(CapacityError, match="100"):
        CoreCNucleus(big, data=tmp_path)


def test_full_journal_sheds_and_counts(tmp_path):
    # Given a journal of one megabyte that is never trimmed
    with running(small(max_disk_mb=1, conservar_diario_mb=1024), tmp_path) as nucleus:
        frames, refused = readings(range(2000), values=np.random.default_rng(1).normal(size=2000)), 0
        for _ in range(150):
            ticket = nucleus.submit(frames, time=now_ms())
            refused += isinstance(ticket.exception(60), DiskFull)
        assert 0 < refused < 150
        # When the node tells what it shed, Then the ledger has it, and the node still works
        assert until(lambda: nucleus.report_refused() or nucleus.engine.ledger["shed"] == refused * 2000)
        assert until(lambda: nucleus.engine.ledger["in"] == 150 * 2000)


def test_repair_and_reload_over_the_socket(tmp_path):
    # Given a node whose configuration file changed, and a block with failing entities
    file = tmp_path / "corec_config.json"
    file.write_text(json.dumps(SMALL))
    from corec.config import load

    with running(load(file), tmp_path / "data") as nucleus:
        for _ in range(3):
            nucleus.submit(readings([5], states=False), time=now_ms()).result(60)
        assert until(lambda: nucleus.engine.blocks[0]["failing"] == 1)
        # When both commands are asked for
        repaired = ask(tmp_path / "data", {"op": "repair", "block": "sensores/0"})
        changed = json.loads(json.dumps(SMALL))
        changed["bloques"][0]["limites"]["alto"] = 25
        file.write_text(json.dumps(changed))
        reloaded = ask(tmp_path / "data", {"op": "reload"})
        # Then both were committed, and the new limit holds
        assert reloaded["turn"] > repaired["turn"]
        assert nucleus.engine.blocks[0]["failing"] == 0
        nucleus.submit(readings([9], values=30.0), time=now_ms()).result(60)
        assert until(lambda: nucleus.alerts.recent and nucleus.alerts.recent[-1]["limit"] == 25)


def test_socket_refuses_what_it_cannot_do(tmp_path):
    with running(small(), tmp_path):
        with pytest.raises(UsageError, match="no block 'nowhere'"):
            ask(tmp_path, {"op": "repair", "block": "nowhere"})
        with pytest.raises(UsageError, match="expected one of status"):
            ask(tmp_path, {"op": "dance"})
        assert ask(tmp_path, {"op": "status"})["state"] == "running"
    with pytest.raises(NodeNotRunning):
        ask(tmp_path, {"op": "status"})


def test_reload_that_changes_blocks_is_refused(tmp_path):
    with running(small(), tmp_path) as nucleus, pytest.raises(UsageError, match="cannot change which blocks"):
        nucleus.command({"op": "reload", "config": small(bloques=SMALL["bloques"][:1]).to_mapping()})


def test_changed_blocks_are_carried_over_at_a_start(tmp_path):
    # Given a node with state in both entries
    with running(small(), tmp_path) as nucleus:
        nucleus.submit(readings([3], values=42.0), time=now_ms()).result(60)
        nucleus.submit(readings([2503], values=43.0, canal=2), time=now_ms()).result(60)
        until(lambda: nucleus.engine.ledger["in"] == 2)
    # When the first entry grows and a third one comes
    more = [{**SMALL["bloques"][0], "entidades": 4000}, SMALL["bloques"][1], {"id": "nuevo", "canal": 4, "entidades": 10}]
    with running(small(bloques=more), tmp_path) as nucleus:
        # Then what both have is still there, under its new id
        assert nucleus.engine.entity(3)["valor"] == 42.0
        assert nucleus.engine.entity(4003)["valor"] == 43.0
        nucleus.submit(readings([4050], canal=4), time=now_ms()).result(60)
        assert until(lambda: nucleus.engine.ledger["in"] == 3)
    with running(small(bloques=more), tmp_path) as nucleus:
        assert nucleus.engine.entity(4003)["valor"] == 43.0


def test_changed_filter_is_taken_over_at_a_start(tmp_path):
    with running(small(), tmp_path) as nucleus:
        nucleus.submit(readings([3]), time=now_ms()).result(60)
    changed = [{**SMALL["bloques"][0], "limites": {"alto": 10}}, SMALL["bloques"][1]]
    with running(small(bloques=changed), tmp_path) as nucleus:
        assert until(lambda: nucleus.engine.config.bloques[0].limites.alto == 10)
        nucleus.submit(readings([4]), time=now_ms()).result(60)
        assert until(lambda: nucleus.alerts.recent)


def test_stop_takes_less_than_a_second(tmp_path):
    # Given a node under load from several threads, when it is stopped, then it does so within a second
    assert any(stop_under_load(tmp_path / str(number)) < 1.0 for number in range(5))


def stop_under_load(data):
    """The seconds that a stop takes."""
    nucleus = CoreCNucleus(small(), data=data, with_sources=False)
    nucleus.start()
    over = threading.Event()

    def push():
        while not over.is_set():
            nucleus.submit(readings(range(1000)), time=now_ms())
            time.sleep(0.001)

    threads = [threading.Thread(target=push) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    over.set()
    for thread in threads:
        thread.join()
    began = time.monotonic()
    nucleus.stop()
    return time.monotonic() - began


@pytest.mark.parametrize("victim", ["snapshots/*.snap", "store.db", "journal/*.log"])
def test_damaged_file_loses_nothing_accepted(tmp_path, victim, caplog):
    # Given a stopped node with snapshots, rows and a journal that was not trimmed
    config = small(conservar_diario_mb=64)
    with running(config, tmp_path) as nucleus:
        for k in range(8):
            nucleus.submit(readings(range(500), values=20 + k), time=now_ms()).result(60)
            time.sleep(0.05)
            if k in (2, 5):
                until(lambda: not nucleus.pipeline.pending)
                nucleus.pipeline.take_snapshot()
        until(lambda: nucleus.engine.ledger["in"] == 4000)
    entities, ledger = nucleus.engine.entities.copy(), nucleus.engine.ledger
    # When one byte of its newest file is flipped
    file = sorted(tmp_path.glob(victim))[-1]
    data = bytearray(file.read_bytes())
    data[200 if "journal" in victim else len(data) // 2] ^= 0x10
    file.write_bytes(data)
    # Then the node starts, and says what it found; state is the same unless the journal itself was hit
    with running(config, tmp_path) as nucleus:
        if "journal" not in victim:
            assert np.array_equal(nucleus.engine.entities, entities)
            assert nucleus.engine.ledger == ledger
        else:
            assert "journal" in caplog.text.lower()
        nucleus.submit(readings([1]), time=now_ms()).result(60)
        assert until(lambda: nucleus.state == "running" and nucleus.engine.ledger["in"] > ledger["in"] - 501)
        assert until(lambda: not nucleus.pipeline.pending)
        time.sleep(0.7)
    assert nucleus.state == "stopped"


def test_lost_snapshots_lose_nothing_while_the_journal_reaches_back(tmp_path):
    # Given a node whose journal was never trimmed
    with running(small(), tmp_path) as nucleus:
        for k in range(5):
            nucleus.submit(readings(range(500), values=20 + k), time=now_ms()).result(60)
        until(lambda: nucleus.engine.ledger["in"] == 2500)
    entities, ledger = nucleus.engine.entities.copy(), nucleus.engine.ledger
    # When every snapshot is gone
    for file in tmp_path.glob("snapshots/*.snap"):
        file.unlink()
    # Then the state follows from the journal
    with running(small(), tmp_path) as nucleus:
        assert np.array_equal(nucleus.engine.entities, entities)
        assert nucleus.engine.ledger == ledger


def test_program_that_raises_ends_with_its_node_stopped(tmp_path):
    # Given a program that raises after a reading was accepted
    nucleus = CoreCNucleus(small(), data=tmp_path / "data", with_sources=False)
    with pytest.raises(ZeroDivisionError), nucleus:
        nucleus.submit(readings([1]), time=now_ms()).result(60)
        raise ZeroDivisionError
    # Then the node stopped, with that reading committed
    assert nucleus.state == "stopped"
    assert nucleus.pipeline.ledger["in"] == 1
