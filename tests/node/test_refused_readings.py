"""Who sends readings that are refused is named in the log; what was ahead of a clock that was behind counts when it is put right."""
import pytest

from corec.publish import Publisher
from tests.support.machine_clock import MachineClock
from tests.support.nodes import now_ms, readings, running, small, until

pytestmark = pytest.mark.slow

HOUR_MS = 3_600_000


def test_the_log_of_a_node_names_whose_readings_are_refused(tmp_path, caplog):
    # Given a node, When a device's clock is an hour ahead, and two others have ids of no block
    with running(small(), tmp_path) as nucleus:
        for _ in range(10):
            nucleus.submit(readings([3]), time=now_ms() + HOUR_MS).result()
            nucleus.submit(readings([70_000, 80_000]), time=now_ms()).result()
            assert until(lambda: nucleus.engine.ledger["in"] % 3 == 0)
    # Then the log has one line for each cause
    lines = [record.getMessage() for record in caplog.records if record.name == "corec.node.refused"]
    assert len(lines) == 2, lines
    assert any("refused as 'id'" in line and "device 70000" in line for line in lines), lines
    assert any("refused as 'skew'" in line and "device 3 " in line and "s ahead" in line for line in lines), lines


def test_what_came_while_the_clock_of_the_machine_was_behind_counts_when_it_is_put_right(tmp_path, caplog):
    # Given a machine that starts with a clock a day behind, and a sender whose clock is right
    clock, config = MachineClock(24 * HOUR_MS), small()
    with running(config, tmp_path, clock) as nucleus, Publisher(config, name="gate", data=tmp_path) as publisher:
        publisher.publish(readings(range(100)), time=now_ms())
        publisher.publish(readings([1], 101.0), time=now_ms())
        assert until(lambda: nucleus.store.state.ledger.get("rejected_skew") == 101)
        assert publisher.wait(10, result=True).refused == {"skew": 101}
        # When the clock is put right
        clock.behind = 0
        # Then all counts, the exceeded limit is told, and the sender learns it
        assert until(lambda: nucleus.store.state.ledger.get("rejected_skew") == 0)
        ledger = nucleus.store.state.ledger
        assert (ledger["in"], ledger["stored"] + ledger["filtered"]) == (101, 101)
        assert until(lambda: publisher.wait(10, result=True).taken == 101)
        assert until(lambda: nucleus.pipeline.totals["alerts"] == 1)
        assert "101 readings that were put aside for their time count now" in caplog.text
    # And the next start has the same
    with running(config, tmp_path, clock) as nucleus:
        assert nucleus.engine.ledger == ledger


def test_a_node_that_is_killed_before_its_clock_is_put_right_folds_the_same(tmp_path, monkeypatch):
    # Given a node that was killed, so to say: it left no snapshot behind the turn that put readings aside
    monkeypatch.setattr("corec.pipeline.checkpoints.FEW_READINGS", 1 << 60)
    clock, config = MachineClock(24 * HOUR_MS), small()
    with running(config, tmp_path, clock) as nucleus:
        nucleus.submit(readings(range(100)), time=now_ms()).result()
        assert until(lambda: nucleus.store.state.ledger.get("rejected_skew") == 100)
    # When the next one, which folds that turn again, sees the clock put right
    clock.behind = 0
    with running(config, tmp_path, clock) as nucleus:
        assert until(lambda: nucleus.store.state.ledger.get("stored", 0) + nucleus.store.state.ledger.get("filtered", 0) == 100)
        ledger = nucleus.store.state.ledger
    # Then it counts, and once more after a replay of both turns
    with running(config, tmp_path, clock) as nucleus:
        assert nucleus.engine.ledger == ledger and ledger["rejected"] == 0
