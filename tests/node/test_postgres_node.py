"""A node on PostgreSQL: two with one name, a server that is stopped and comes back, commands that read its rows."""
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

from corec.cli import main
from corec.cli.output.status_text import as_text
from corec.errors import ExitCode, FenceLost, ServerError, StorageError
from corec.node.status import rss_bytes
from corec.nucleus import CoreCNucleus
from tests.support.machine_clock import MachineClock
from tests.support.nodes import SMALL, now_ms, readings, running, until
from tests.support.paths import ROOT
from tests.support.postgres_nodes import folded, on, stored
from tests.support.servers import postgres as servers
from tests.support.servers.proxy import Proxy

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.postgres]

CHAOS = bool(os.environ.get("COREC_CHAOS"))
AWAY_S = 60 if CHAOS else 5
DAY_S = 86_400


@pytest.fixture
def proxied(database):
    """(proxy, db_config by way of it)."""
    with Proxy(database["port"], database["host"]) as proxy:
        yield proxy, {**database, "host": "127.0.0.1", "port": proxy.port}


def send(nucleus, seconds, per_s=2000, batch=100):
    """Readings at a steady rate; how many."""
    end, sent = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        nucleus.submit(readings(np.arange(sent, sent + batch) % 2500), time=now_ms())
        sent += batch
        time.sleep(batch / per_s)
    return sent


# --- two nodes with one name ---------------------------------------------------------------------


def test_the_later_node_wins_and_the_earlier_says_why(database, tmp_path, caplog):
    # Given a node that works
    earlier = CoreCNucleus(on(database), data=tmp_path / "one", with_sources=False)
    earlier.start()
    earlier.submit(readings([1]), time=now_ms()).result()
    assert until(lambda: folded(earlier) == 1)
    # When another with the same instance_id starts from a folder of its own
    with running(on(database), tmp_path / "two") as later:
        turn = later.store.state.turn
        earlier.submit(readings([2]), time=now_ms()).result()
        # Then the earlier one ends at its next commit, and says who took over
        assert until(lambda: earlier.is_over)
        with pytest.raises(FenceLost, match="took over"):
            earlier.stop()
        assert "instance_id" in caplog.text
        later.submit(readings([3]), time=now_ms()).result()
        assert until(lambda: later.store.state.turn > turn)
    # And its folder is not mixed in again: what it accepted since is stored under another name
    with pytest.raises(StorageError, match="took over") as caught:
        CoreCNucleus(on(database), data=tmp_path / "one", with_sources=False).start()
    assert "--adopt" in caught.value.hint
    again = CoreCNucleus(on(database, instance_id="other"), data=tmp_path / "one", with_sources=False, adopt=True)
    again.start()
    assert until(lambda: folded(again) == 2)
    again.stop()


def test_a_process_that_lost_its_fence_exits_with_a_code_of_its_own(database, tmp_path):
    # Given `corec run`, when another node takes over, then it exits with the code that supervisors do not restart
    (tmp_path / "corec_config.json").write_text(json.dumps({**SMALL, "db_config": database, "fuentes": ["simulada"]}))
    process = subprocess.Popen([sys.executable, "-m", "corec", "run", "--config", tmp_path, "--data", tmp_path / "one"], cwd=ROOT,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    assert any("Inicializado" in line for line in process.stderr)
    with running(on(database), tmp_path / "two"):
        _, said = process.communicate(timeout=60)
    assert process.returncode == int(ExitCode.FENCE_LOST), said
    assert "took over" in said and "must not be restarted" in said


# --- a server that goes and comes ----------------------------------------------------------------


def test_server_stopped_and_started_again(proxied, database, postgres, tmp_path):
    proxy, address = proxied
    with running(on(address), tmp_path) as nucleus:
        sent = send(nucleus, 0.5)
        assert until(lambda: folded(nucleus) == sent)
        for _ in range(4):      # what else a machine does only adds to a time
            # When the server is away for a while and readings go on, then the node says since when, and does not grow
            sent, until_commit, until_all = outage(nucleus, proxy, sent)
            # And when it is back, within a second commits go through, and what waited is stored at several times the rate it came
            if until_commit < 1.0 and until_all < AWAY_S / 5:
                break
        else:
            raise AssertionError((until_commit, until_all))
        assert nucleus.status()["store"]["away_since"] is None
        # Then each reading is in one row, once its window has closed
        assert until(lambda: stored(database, postgres) == (sent, 0))


def outage(nucleus, proxy, sent):
    """Readings sent by its end, and the seconds from there to the first commit, and from that to the last."""
    proxy.down()
    before = rss_bytes()
    sent += send(nucleus, AWAY_S, per_s=50_000 if CHAOS else 20_000, batch=1000)
    status = nucleus.status()
    assert status["store"]["away_since"] and status["disk"]["state"] == "away" and status["journal"]["pending"] > 0
    assert "AWAY since" in as_text(status) and "PostgreSQL at" in as_text(status)
    assert rss_bytes() - before < 50e6
    proxy.up()
    back, turn = time.monotonic(), nucleus.store.state.turn
    assert until(lambda: nucleus.store.state.turn > turn)
    committed = time.monotonic()
    assert until(lambda: folded(nucleus) == sent)
    return sent, committed - back, time.monotonic() - committed


def test_ten_minutes_without_the_server(proxied, database, postgres, tmp_path, monkeypatch):
    # Given a node with a clock that tests move, ten minutes behind, and 5,000 readings for each of its seconds
    proxy, address = proxied
    clock = [now_ms() - 605_000]
    monkeypatch.setattr(time, "time_ns", lambda: clock[0] * 1_000_000)
    monkeypatch.setattr(time, "clock_gettime_ns", lambda clock_id: clock[0] * 1_000_000)
    with running(on(address), tmp_path) as nucleus:

        def live(seconds):
            for _ in range(seconds):
                clock[0] += 1000
                nucleus.submit(readings(np.arange(5000) % 2500), time=clock[0]).result()

        live(2)
        assert until(lambda: folded(nucleus) == 10_000)
        # When the server is away for ten minutes of them
        proxy.down()
        before = rss_bytes()
        live(600)
        assert nucleus.status()["store"]["away_since"] and nucleus.journal.last == 602
        assert rss_bytes() - before < 50e6
        # And comes back, while readings keep coming, then what waited is stored at more than five times the rate it came
        proxy.up()
        began = time.monotonic()
        live(3)
        assert until(lambda: folded(nucleus) == 605 * 5000, 600 / 5), nucleus.store.state
        assert time.monotonic() - began < 600 / 5
        # Then each reading is in one row: none late, none lost, none twice
        clock[0] += 2000
        assert until(lambda: stored(database, postgres) == (605 * 5000, 0), 60), stored(database, postgres)


@pytest.mark.parametrize("before", [0, 1], ids=["new folder", "folder that was used"])
def test_start_without_the_server_takes_readings_and_goes_on_when_it_comes(before, proxied, tmp_path):
    proxy, address = proxied
    if before:
        with running(on(address), tmp_path) as nucleus:
            nucleus.submit(readings([1]), time=now_ms()).result()
            assert until(lambda: folded(nucleus) == 1)
    # Given a node that starts while the server is away, then it takes readings
    proxy.down()
    with running(on(address), tmp_path) as nucleus:
        nucleus.submit(readings([1, 2, 3]), time=now_ms()).result()
        assert nucleus.state == "waiting" and nucleus.status()["disk"]["state"] == "away"
        # And when it comes, then they are folded
        proxy.up()
        assert until(lambda: nucleus.state == "running")
        assert until(lambda: folded(nucleus) == before + 3)


def test_stop_without_the_server_keeps_what_was_accepted(proxied, tmp_path):
    proxy, address = proxied
    # Given a node that started and stopped without its server
    proxy.down()
    nucleus = CoreCNucleus(on(address), data=tmp_path, with_sources=False)
    nucleus.start()
    nucleus.submit(readings([1, 2]), time=now_ms()).result()
    nucleus.stop()
    # When it starts with it, then what it accepted is folded
    proxy.up()
    with running(on(address), tmp_path) as nucleus:
        assert until(lambda: folded(nucleus) == 2)


def test_start_that_waits_for_nothing_ends(proxied, tmp_path, database):
    # Given a start without the server, when that comes and lacks the database, then the node ends and says so
    proxy, address = proxied
    proxy.down()
    nucleus = CoreCNucleus(on({**address, "dbname": "none_such"}), data=tmp_path, with_sources=False)
    nucleus.start()
    proxy.up()
    assert until(lambda: nucleus.is_over)
    with pytest.raises(ServerError, match="does not exist"):
        nucleus.stop()


def test_the_answer_to_the_nth_command_is_lost_for_each_n(proxied, database, postgres, tmp_path):
    # Given a node whose readings are critical, so that each commits
    proxy, address = proxied
    with running(on(address), tmp_path) as nucleus:
        sent = 0
        for nth in range(1, 41 if CHAOS else 16):
            # When the answer to the nth exchange from now on is lost, for each n
            lost = proxy.replies_lost
            proxy.lose_reply(nth)
            while proxy.replies_lost == lost:
                nucleus.submit(readings(2500 + np.arange(20), canal=2), time=now_ms()).result()
                sent += 20
        # Then nothing is lost and nothing doubled
        assert until(lambda: folded(nucleus) == sent, 60)
        assert until(lambda: stored(database, postgres) == (sent, 0), 60)


# --- commands ------------------------------------------------------------------------------------


def test_commands_read_what_is_stored_there(database, postgres, tmp_path, monkeypatch):
    # Given a node that ran on PostgreSQL
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "corec_config.json").write_text(json.dumps({**SMALL, "db_config": database}))
    with running(on(database), tmp_path / "data") as nucleus:
        nucleus.submit(readings([1, 2], values=200.0), time=now_ms() - 5000).result()
        nucleus.submit(readings([1, 2]), time=now_ms()).result()
        assert until(lambda: folded(nucleus) == 4)
        nucleus.command({"op": "repair", "block": "sensores/0"})
        assert until(lambda: stored(database, postgres)[0])
    # When commands ask for its rows, then they answer as they do for an embedded one
    assert "sensores/0" in corec("query")
    assert "high" in corec("query", "--alerts")
    assert "sensores/0" in corec("history", "sensores/0", "--last", "0") or "nothing happened" in corec("history", "sensores/0")
    corec("export", "rows.csv")
    assert "sensores/0" in (tmp_path / "rows.csv").read_text()
    assert "ends at turn" in corec("status", code=int(ExitCode.USAGE))
    assert "PostgreSQL" in corec("check", "--data", "data", "--config", "configs")
    # And with --embedded they look into the folder, which has none
    assert "expected a store, got nothing" in corec("query", "--embedded", code=int(ExitCode.DATA))


def corec(*words, code=0):
    done = CliRunner().invoke(main, words)
    assert done.exit_code == code, done.output
    return done.output


# --- days go by ----------------------------------------------------------------------------------


@pytest.mark.parametrize("asleep", [False, True])
def test_four_days_without_the_server_or_asleep(wall_clock, tmp_path, asleep):
    # Given a node that writes to a server with partitions for the days to come
    wall_clock.set(-4 * DAY_S)
    clock = MachineClock(1000 * 4 * DAY_S)
    with servers.running(environment=wall_clock.environment) as server:
        database = {"host": server.host, "port": server.port, "user": server.user, "dbname": server.new_database()}
        with running(on(database), tmp_path, clock) as nucleus:
            nucleus.submit(readings(range(100)), time=clock.wall_ms()).result()
            assert until(lambda: folded(nucleus) == 100)
            # When the server is away for four days, or both machines sleep for so long
            if not asleep:
                server.stop()
                nucleus.submit(readings(range(100)), time=clock.wall_ms()).result()
            wall_clock.set(0)
            clock.behind = 0
            if not asleep:
                server.start()
            nucleus.submit(readings(range(100)), time=clock.wall_ms()).result()
            # Then what came meanwhile and what comes now is committed, without a restart
            sent = 200 + 100 * (not asleep)
            assert until(lambda: folded(nucleus) == sent), nucleus.status()
            assert until(lambda: stored(database, server) == (sent, 0)), stored(database, server)
            assert nucleus.store.state.ledger["rejected"] == nucleus.store.state.ledger["late"] == 0
