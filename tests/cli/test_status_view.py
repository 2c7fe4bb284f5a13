"""corec.cli.output.status_text, corec.cli.output.status_view, corec.common.logs and corec.common.text: what a node shows of itself."""

import io
import logging
import time

import pytest
from rich.console import Console

from corec.cli.output.status_text import alert_text, as_text, chart, ledger_line, one_line, status_lines
from corec.cli.output.status_view import LineView, LiveView
from corec.common import logs
from corec.common.text import amount, counted, duration
from tests.support.status_samples import FakeNode, status

WIDTH = 80


def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    assert condition()


@pytest.fixture(autouse=True)
def root_logger():
    """The root logger as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


# --- words -----------------------------------------------------------------------------------------


def test_counts_amounts_and_durations_in_words():
    assert [counted(1, "row"), counted(2000, "row"), counted(3, "batch")] == ["1 row", "2,000 rows", "3 batches"]
    assert [amount(0), amount(640), amount(12_595), amount(98 << 20), amount(5 << 40)] == [
        "0 B", "640 B", "12.3 KB", "98.0 MB", "5,120.0 GB"]  # fmt: skip
    assert [duration(s) for s in (4.21, 200, 18_180, 1_051_200)] == ["4.2 s", "3 min 20 s", "5 h 03 min", "12 d 04 h"]


def test_chart_reaches_from_nothing_to_the_largest():
    assert chart([]) == ""
    assert chart([0, 0]) == "▁▁"
    assert chart([0, 50, 100]) == "▁▅█"
    assert len(chart(range(1000), width=20)) == 20


def test_ledger_is_shown_with_what_is_wrong_with_it():
    right = {"in": 7, "stored": 2, "filtered": 5, "late": 0, "shed": 0, "rejected": 0}
    assert ledger_line(right) == "7 in = 2 stored + 5 filtered + 0 late + 0 shed + 0 rejected"
    assert ledger_line({**right, "in": 9}).endswith("0 rejected: 2 missing")
    assert "!=" in ledger_line({**right, "stored": 3}) and ledger_line({**right, "stored": 3}).endswith(": 1 too many")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({}, "cpu0.load high: 98.25 %, limit 95 %"),
        ({"kind": "low", "unit": ""}, "cpu0.load low: 98.25, limit 95"),
        ({"kind": "silence"}, "cpu0.load silent"),
        ({"kind": "failure", "name": ""}, "0 failed twice, restarted"),
        ({"kind": "rain"}, "cpu0.load rain"),
    ],
)
def test_alerts_say_who_and_what(change, text):
    assert alert_text({**status()["alerts"]["recent"][1], **change}) == text


# --- the whole status ------------------------------------------------------------------------------


def test_status_says_everything_in_80_columns():
    text = as_text(status())
    for part in ("corec1", "running for 12 min 34 s", "load 31%", "98.0 MB", "203,114     11,222,333       12,345,678",
                 "1,532         87,654           98,765  0.8% of the",
                 "p50 8.1 ms, p99 11.3 ms; at turn 1,234; 45,678 rows since start", "12.3 MB, 1 batch pending",
                 "4 snapshots, 1.2 MB; the last took 812 ms",
                 "1,000 live   10 idle   3 hibernated   8 never", "casa/17: 3 of 1,000 failing", "balances", "8 id",
                 "host: 22 sensors, 22/s; this machine", "cpu0.load high: 98.25 %"):  # fmt: skip
        assert part in text
    assert max(map(len, text.splitlines())) <= WIDTH
    assert text.index("00:01:02 UTC") < text.index("00:00:01 UTC"), "the newest alert comes first"


def test_status_fits_with_large_numbers():
    big = {
        "in": 123_456_789_012,
        "stored": 3_456_789_012,
        "filtered": 120_000_000_000,
        "late": 0,
        "shed": 0,
        "rejected": 0,
    }
    lines = as_text(status(ledger=big)).splitlines()
    assert max(map(len, lines)) <= WIDTH


def test_status_that_does_not_balance_says_so():
    text = as_text(status(ledger={**status()["ledger"], "in": 1}))
    assert "DOES NOT BALANCE" in text and "too many" in text


def test_a_node_whose_readings_others_fold_says_who():
    # Given a node that sends to Redis and reads nothing there itself: Celery's workers do
    redis = {"address": "localhost:7000", "problem": "", "streams": [], "lost": [], "losses": 0, "sent": 0,
             "tail": {"waiting": 3, "kept": 7, "readings": 10}}  # fmt: skip
    workers = [{"name": "gw.1", "shards": [0, 2], "readings": 3000, "rows": 7},
               {"name": "gw.2", "shards": [], "readings": 0, "rows": 0}]  # fmt: skip
    text = as_text(status(redis=redis, fleet={"leads": True, "problem": "", "shards": 3, "workers": workers}))
    # Then its status says what waits, and who has which shards
    assert "at localhost:7000" in text and "tail 3 waiting, 7 kept" in text and "RAM" not in text
    assert "2 of 3 shards folded by 2 workers; this node leads" in text
    assert "gw.1: shards 0, 2; 3,000 readings, 7 rows since it began" in text and "gw.2: shards none; 0 readings" in text


def test_status_of_a_node_without_anything():
    # Given a node that has heard nothing yet
    nothing = {"total": 0, "since_start": 0, "per_s": 0.0}
    blocks = {**status()["blocks"], "live": 0, "idle": 0, "hibernated": 0, "never": 1021, "weakest": []}
    empty = status(
        readings=nothing,
        messages=nothing,
        alerts={**nothing, "recent": []},
        blocks=blocks,
        sources=[],
        ledger={"in": 0},
    )
    # Then its status stands all the same
    text = as_text(empty)
    assert "1,021 never" in text and "recent" not in text and "source" not in text
    assert "0 in = 0 stored" in one_line(empty)


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (1, 0, 0, 1000), (1, 1, 1, 1), (1000, 1, 1, 1)])
def test_bar_of_blocks_has_one_length(counts):
    names = ("live", "idle", "hibernated", "never")
    lines = as_text(status(blocks={**status()["blocks"], **dict(zip(names, counts, strict=True))})).splitlines()
    bar = next(line for line in lines if line.startswith("blocks"))
    marks = sum(bar.count(mark) for mark in "█▓▒░")
    assert marks == (40 if any(counts) else 0)
    assert all((bar.count(mark) > 0) == (count > 0) for mark, count in zip("█▓▒░", counts, strict=True))


def test_one_line_has_what_matters():
    line = one_line(status())
    for part in ("203,114 readings/s", "2 alerts", "1,000 of 1,021 blocks live", "RSS 98.0 MB", "12,345,678 in ="):
        assert part in line


def test_only_as_many_alerts_as_there_is_room_for():
    # Given two alerts, and a terminal with room for both, for one, for none
    whole = len(status_lines(status()))
    for missing in range(4):
        lines = status_lines(status(), height=whole - missing)
        # Then the older one goes first, and the line between goes with the last
        assert len(lines) == (whole, whole - 1, whole - 3, whole - 3)[missing]


# --- views -----------------------------------------------------------------------------------------


def test_lines_come_one_after_the_other(capsys):
    # Given a node that raises seven alerts between two lines
    first = status(alerts={"since_start": 0, "per_s": 0.0, "recent": []})
    alert = status()["alerts"]["recent"][1]
    then = status(alerts={"since_start": 7, "per_s": 1.0, "recent": [alert] * 7})
    node = FakeNode(first, first, then)
    # When it is looked at
    with LineView(node, first=0.01, every=0.01):
        until(lambda: node.asked > 4)
    # Then there is a line for each look, and the newest alerts by name, once
    out = capsys.readouterr().out
    assert out.startswith("[Status-corec1] 203,114 readings/s")
    assert out.count("[Alert-corec1] cpu0.load high: 98.25 %") == 5
    assert out.count("[Alert-corec1] and 2 more") == 1


def test_view_waits_for_a_node_to_start_and_leaves_at_once():
    node = FakeNode(state="recovering")
    view = LineView(node, first=0.01, every=60)
    with view:
        time.sleep(0.1)
        assert node.asked == 0
        node.state = "running"
        until(lambda: node.asked >= 2)
        began = time.monotonic()
    assert time.monotonic() - began < 10     # it looks every minute


def test_status_that_cannot_be_had_does_not_end_the_view(capsys):
    class Failing(FakeNode):
        def status(self):
            if super().status() and self.asked < 4:
                raise RuntimeError("deque mutated during iteration")
            return status()

    node = Failing()
    with LineView(node, first=0.01, every=0.01):
        until(lambda: node.asked >= 6)
    assert "[Status-corec1]" in capsys.readouterr().out


def live_console():
    return Console(
        file=io.StringIO(), force_terminal=True, width=WIDTH, height=24, highlight=False, legacy_windows=False
    )


def test_live_view_redraws_with_log_lines_above():
    # Given a live view on a terminal
    console, node = live_console(), FakeNode()
    # When the node logs meanwhile
    with LiveView(node, console, first=0.01, every=0.01):
        until(lambda: node.asked > 3)
        logging.getLogger("AlertsPlugin").info("Alerta enviada [b]1[/b]")
        logging.getLogger("corec.streams").error("[Journal-corec1] damage")
        logging.getLogger("corec").debug("not shown")
    # Then both are there, the lines as they were written
    shown = console.file.getvalue()
    assert "[AlertsPlugin] Alerta enviada [b]1[/b]" in shown
    assert "[Journal-corec1] damage" in shown and "not shown" not in shown
    assert "203,114 " in shown and "balances" in shown
    # and logging is back on standard error
    assert isinstance(logging.getLogger().handlers[0], logging.StreamHandler)


def test_live_view_cuts_what_is_too_wide():
    console = live_console()
    source = {"name": "simulada", "entities": 1, "per_s": 1.0, "detail": "x" * 200}
    node = FakeNode(status(sources=[source] * 2))
    with LiveView(node, console, first=0.01):
        until(lambda: node.asked > 1 and "simulada" in console.file.getvalue())
    assert "x" * 100 not in console.file.getvalue() and "…" in console.file.getvalue()


# --- logs ------------------------------------------------------------------------------------------


def test_log_records_begin_with_a_name(capsys):
    logs.setup()
    logging.getLogger("AlertsPlugin").info("Alerta enviada")
    logging.getLogger("corec.nucleus").info("[CoreCNucleus-%s] Inicializado", "corec1")
    logging.getLogger("corec").debug("not shown")
    assert capsys.readouterr().err == "[AlertsPlugin] Alerta enviada\n[CoreCNucleus-corec1] Inicializado\n"


def test_setup_replaces_what_was_set_up_before():
    lines = []
    logs.setup()
    logs.setup(logs.CallHandler(lambda line, level: lines.append((line, level))))
    logging.getLogger("x").warning("one")
    assert lines == [("[x] one", logging.WARNING)]


def test_handler_that_fails_does_not_raise(capsys):
    def broken(line, level):
        raise ValueError("no console")

    logs.setup(logs.CallHandler(broken))
    logging.getLogger("x").info("one")
    assert "ValueError: no console" in capsys.readouterr().err
