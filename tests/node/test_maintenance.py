"""Mutes and acknowledgements: what is muted is stored and counted, and told to nobody; who saw to an alert is known."""
import json

import numpy as np
import pytest
from click.testing import CliRunner

from corec.cli import main
from corec.control.client import ask
from corec.engine import Engine
from corec.errors import ExitCode, UsageError
from corec.storage.sqlite.read import SqliteReader
from corec.storage.sqlite.verify import verify
from tests.support.fleet import entry
from tests.support.nodes import now_ms, readings, running, small, until
from tests.support.twin import T0, Twin

pytestmark = pytest.mark.slow

CONFIG = {"bloques": [entry(entidades=2000, limites={"alto": 5.0}), entry(id="z", canal=2, entidades=5, limites={"alto": 5.0})]}
SUBJECTS = [{"block": "a/1"}, {"entity": 1003}]


def high(twin, at, ids=(3, 1003)):
    """A burst above the limit begins for each entity."""
    twin.feed_arrays(np.array(ids), np.zeros(len(ids)), at=at, channel=1, states=np.zeros(len(ids)))
    return twin.feed_arrays(np.array(ids), np.full(len(ids), 9.0), at=at + 1, channel=1)


def corec(*arguments):
    result = CliRunner().invoke(main, [str(one) for one in arguments], catch_exceptions=False)
    return result.exit_code, result.output


@pytest.mark.parametrize("subject", SUBJECTS)
def test_muted_alerts_are_counted_apart_until_the_mute_ends(subject):
    # Given a mute of a block or of one of its entities, for a minute
    twin = Twin(CONFIG)
    high(twin, T0)
    outcome = twin.turn([], commands=[{"op": "mute", "until": T0 + 60_000, "why": "new sensors"} | subject])
    assert [(event.what, event.block, event.reason) for event in outcome.events] == [("mute", 1, "new sensors")]
    # When entities of two blocks cross their limits, then only the other's alert is told
    outcome = high(twin, T0 + 1000)
    assert (outcome.alerts["id"].tolist(), outcome.muted["id"].tolist()) == ([3], [1003])
    assert not outcome.empty
    # And after the minute, or once the mute is ended, both are
    assert len(high(twin, T0 + 60_000).alerts) == 2
    twin.turn([], commands=[{"op": "mute", "until": T0 + 90_000} | subject, {"op": "mute", "until": 0} | subject])
    assert len(high(twin, T0 + 61_000).alerts) == 2
    assert twin.engine.mutes == []


def test_mute_holds_for_entities_that_were_fused_away():
    # Given a muted block that joined another
    twin = Twin(CONFIG)
    high(twin, T0)
    fuse = {"op": "fuse", "block": "a/1", "host": "a/0", "force": True}
    twin.turn([], commands=[{"op": "mute", "until": T0 + 60_000, "block": "a/1"}, fuse])
    # Then its own entities are muted, the host's are not
    outcome = high(twin, T0 + 1000)
    assert (outcome.alerts["id"].tolist(), outcome.muted["id"].tolist()) == ([3], [1003])
    # And a mute of the host covers all that counts in it
    twin.turn([], commands=[{"op": "mute", "until": T0 + 60_000, "block": "a/0"}, {"op": "mute", "until": 0, "block": "a/1"}])
    assert len(high(twin, T0 + 2000).muted) == 2


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ({"op": "mute", "block": "nix", "until": T0}, "there is no block 'nix'"),
        ({"op": "mute", "entity": 99_999, "until": T0}, "there is no entity 99999"),
        ({"op": "mute", "entity": "x", "until": T0}, "there is no entity 'x'"),
        ({"op": "mute", "entity": -1, "until": T0}, "there is no entity -1"),
        ({"op": "mute", "block": "a/0"}, "expected `until`"),
        ({"op": "mute", "block": "a/0", "until": 2**60}, "expected `until`"),
        ({"op": "mute", "block": "a/0", "until": "2h"}, "expected `until`"),
        ({"op": "ack", "alerts": []}, "expected 1 to 1,000 alerts"),
        ({"op": "ack", "alerts": {"first": "a/0"}}, "expected an alert as TURN.ROW"),
        ({"op": "ack", "alerts": {"1.0": "nix"}}, "there is no block 'nix'"),
    ],
)
def test_maintenance_that_cannot_be_is_refused(command, said):
    engine = Engine(CONFIG)
    with pytest.raises(UsageError, match=said) as caught:
        engine.check_command(command)
    assert caught.value.hint
    assert len(engine.turn([], commands=[command]).refused) == 1


def test_mutes_are_in_snapshots():
    twin = Twin(CONFIG)
    twin.turn([], commands=[{"op": "mute", "until": T0 + 60_000, "why": "x"} | subject for subject in SUBJECTS])
    assert Engine.restore(twin.engine.snapshot()).mutes == twin.engine.mutes
    assert len(twin.engine.mutes) == 2


def test_node_stores_muted_alerts_and_tells_nobody(tmp_path):
    data = tmp_path / "data"
    with running(small(), data) as nucleus:
        # Given a mute that a user typed
        code, said = corec("mute", "sensores/1", "--for", "2h", "--why", "new sensors", "--data", data)
        assert (code, said.startswith("sensores/1 is muted until 20")) == (0, True)
        # When two blocks cross their limits
        nucleus.submit(readings([3, 1003], 200.0), time=now_ms()).result()
        assert until(lambda: nucleus.pipeline.totals["muted"]) == 1
        # Then the status has one alert, and counts the other
        status = until(lambda: nucleus.status() if nucleus.alerts.recent else None)
        assert [alert["entity"] for alert in status["alerts"]["recent"]] == [3]
        assert (status["alerts"]["since_start"], status["alerts"]["muted"]) == (1, 1)
        assert [each["subject"] for each in status["alerts"]["mutes"]] == ["sensores/1"]
        assert "1 muted, 1 mute in force" in corec("status", "--data", data)[1]
    # And the table has both, the stream one
    with running(small(), data) as nucleus:
        assert [each.subject for each in nucleus.engine.mutes] == ["sensores/1"]
        assert sum(len(frames) for _, _, frames in nucleus.pipeline.read_out("corec:alerts")) == 10
    assert "high (muted)" in corec("query", "--alerts", "--data", data)[1]
    assert "high (muted)" in corec("export", "-", "--alerts", "--data", data)[1]
    assert verify(data / "store.db") == []


def test_alerts_are_acknowledged_by_number(tmp_path):
    data = tmp_path / "data"
    with running(small(), data) as nucleus:
        # Given an alert
        nucleus.submit(readings([3], 200.0), time=now_ms()).result()
        recent = until(lambda: list(nucleus.alerts.recent))
        number = recent[0]["alert"]
        assert number in corec("query", "--alerts", "--data", data)[1]
        # When somebody acknowledges it
        code, said = corec("ack", number, "--why", "cable replaced", "--data", data)
        assert (code, said) == (0, f"1 alert acknowledged (turn {nucleus.store_turn:,})\n")
        # Then status, query and history say so
        assert nucleus.alerts.recent[0]["acknowledged"] is True
        assert "cable replaced" in corec("query", "--alerts", "--data", data)[1]
        happened = json.loads(corec("history", "sensores/0", "--json", "--data", data)[1].splitlines()[-1])
        assert (happened["what"], happened["subject"], happened["reason"]) == ("ack", number, "cable replaced")
        # And a number that is none is refused
        code, said = corec("ack", number, "77777.1", "--data", data)
        assert (code, "there is no alert 77777.1" in said) == (ExitCode.USAGE, True)
        with pytest.raises(UsageError, match="expected 1 to 1,000 alerts"):
            ask(data, {"op": "ack", "alerts": "7"})
    reader = SqliteReader(data / "store.db")
    assert len([each for each in reader.happenings() if each.what == "ack"]) == 1
    reader.close()
