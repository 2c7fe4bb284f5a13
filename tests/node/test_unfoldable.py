"""An entry at which folding fails by a mistake of ours: put aside, counted and named; the node goes on and starts again."""
import numpy as np
import pytest

from corec._core.wire import pack_envelope, unpack_envelope
from corec.engine import open_turn
from corec.pipeline import unfoldable
from tests.support.nodes import now_ms, readings, running, small, until

pytestmark = pytest.mark.slow


BAD = 666


@pytest.fixture(autouse=True)
def _forgets():
    """What a process knows, the next one does not."""
    yield
    unfoldable._found.clear()


@pytest.fixture
def mistake(monkeypatch):
    """Fold as ever, but fail at readings of BAD, half way; calling what it gives mends that or brings it back."""
    fold = open_turn.OpenTurn.fold

    def failing(turn, time, *, offsets=None, **batch):
        ids = np.frombuffer(batch["frames"], ">u4,u1,>f4,u1")["f0"]
        fold(turn, time, offsets=offsets, **batch)
        if BAD in ids:
            raise ValueError("a mistake of ours")

    def there(is_there):
        monkeypatch.setattr(open_turn.OpenTurn, "fold", failing if is_there else fold)

    there(True)
    return there


def ledger_of(nucleus):
    return dict(nucleus.store.state.ledger)


def killed(nucleus, monkeypatch):
    """End without a snapshot."""
    monkeypatch.setattr(nucleus.pipeline.checkpoints, "end", lambda *_, **__: None)
    if nucleus.redis:
        monkeypatch.setattr(nucleus.redis, "stop_reading", lambda pipeline: nucleus.redis.intake.close())


@pytest.fixture(params=["embedded", "redis"])
def config(request):
    """Of a node with a log of its own, and of one on Redis."""
    return small() if request.param == "embedded" else small(redis_config=request.getfixturevalue("redis_server").section)


def test_the_node_goes_on_and_starts_again(config, tmp_path, monkeypatch, mistake, caplog):
    # Given a node that has folded readings
    with running(config, tmp_path) as nucleus:
        nucleus.submit(readings(range(10)), time=now_ms()).result()
        assert until(lambda: ledger_of(nucleus).get("in") == 10)
        # When two entries come that cannot be folded, among others
        for ids in ([BAD, 1, 2], range(20), [BAD, 3], range(30)):
            nucleus.submit(readings(ids), time=now_ms()).result()
        # Then those are put aside, counted and named, and the others are folded, each once
        assert until(lambda: nucleus.state == "running" and ledger_of(nucleus).get("in") == 65, 30), ledger_of(nucleus)
        ledger = ledger_of(nucleus)
        assert ledger["rejected_malformed"] == ledger["rejected"] == 5
        late = list(nucleus.store.late())
        assert [unpack_envelope(batch.frames).count for batch in late if batch.cause == "damaged"] == [3, 2]
        assert "cannot be folded: ValueError: a mistake of ours" in caplog.text
        assert caplog.text.count("is put aside") == 2
        killed(nucleus, monkeypatch)
    # And the next starts, with the mistake and without it, fold the turns again to the same
    for is_there in (True, False):
        unfoldable._found.clear()
        mistake(is_there)
        caplog.clear()
        with running(config, tmp_path) as nucleus:
            assert nucleus.engine.ledger == ledger
            assert "off by" not in caplog.text and "cannot be folded" not in caplog.text
            nucleus.submit(readings([7]), time=now_ms()).result()
            assert until(lambda expected=ledger["in"] + 1: ledger_of(nucleus)["in"] == expected)
            ledger = ledger_of(nucleus)
            killed(nucleus, monkeypatch)


def test_a_committed_turn_that_cannot_be_folded_again_does_not_stop_a_start(config, tmp_path, monkeypatch, mistake, caplog):
    # Given turns that were folded without a mistake, behind the snapshot of a stop
    mistake(False)
    with running(config, tmp_path) as nucleus:
        nucleus.submit(readings(range(100)), time=now_ms()).result()
    with running(config, tmp_path) as nucleus:
        for ids in (range(10), [BAD, 1, 2], range(20)):
            nucleus.submit(readings(ids), time=now_ms()).result()
            assert until(lambda: nucleus.pipeline.pending == 0)
        assert until(lambda: ledger_of(nucleus).get("in") == 133)
        ledger = ledger_of(nucleus)
        killed(nucleus, monkeypatch)
    # When the node starts with a mistake that one of them meets
    mistake(True)
    with running(config, tmp_path) as nucleus:
        # Then it starts, says so, and keeps the committed ledger
        assert nucleus.engine.ledger == ledger
        assert "cannot be folded" in caplog.text
        nucleus.submit(readings([7]), time=now_ms()).result()
        assert until(lambda: ledger_of(nucleus)["in"] == 134)


def test_an_error_that_no_entry_causes_ends_the_node(tmp_path, monkeypatch):
    # Given a mistake that fails at a batch's stand-in too
    def failing(turn, envelope, arrival):
        raise ValueError("always")

    monkeypatch.setattr(open_turn.OpenTurn, "fold_batch", failing)
    with pytest.raises(ValueError, match="always"), running(small(), tmp_path) as nucleus:
        nucleus.submit(readings([1]), time=now_ms()).result()
        # Then the node ends as it does at any mistake
        assert until(lambda: nucleus.is_over)


def test_a_stand_in_counts_as_many_readings():
    for count in (1, 3, 70):
        envelope = pack_envelope(readings(range(count)), producer=1, epoch=1, sequence=0, time=now_ms())
        assert unpack_envelope(unfoldable.as_malformed(envelope)).count == count
    assert unfoldable.as_malformed(b"rubbish") == b""
