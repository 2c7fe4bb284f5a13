"""What commands show in a terminal of 80 columns, of 200, and where there is none: names give way in the middle, numbers never do."""
import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

from corec.cli import main
from corec.cli.output.status_text import as_text
from corec.cli.output.table import Table, columns
from corec.common.text import counted, elided
from tests.support.status_samples import status

LONG = "a_very_long_name_of_a_hall_of_machines_in_the_third_plant_south"
NUMBERS = ("-123457", "1.23457e+06", "-9.87654e-05")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with long names, and windows and alerts stored under them."""
    config = {"instance_id": LONG, "bloques": [
        {"id": LONG, "canal": 1, "entidades": 1000, "limites": {"alto": 50}, "plugin": "plugin_" + LONG[:40]},
        {"id": "x", "canal": 2, "entidades": 1, "ids": {"device": [7000], "name": ["device " + LONG], "high": [9]}}]}  # fmt: skip
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "corec_config.json").write_text(json.dumps(config))
    rows = "".join(f"2026-01-30 12:00:{second:02d},{10 ** (second % 7) * 1.234567},{second}\n" for second in range(60))
    (tmp_path / "rows.csv").write_text(f"time,first,device {LONG}\n{rows}")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["replay", "rows.csv", "--into", "data"])
    assert done.exit_code == 0, done.output
    return tmp_path


def shown(monkeypatch, width, *words):
    """The lines of a command in a terminal of *width* columns (None: no terminal)."""
    for module in ("output.table", "readings.replay_run"):
        monkeypatch.setattr(f"corec.cli.{module}.terminal_width", lambda: width)
    done = CliRunner().invoke(main, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


COMMANDS = [("query",), ("query", "--alerts"), ("check",), ("replay", "rows.csv")]


@pytest.mark.parametrize("words", COMMANDS)
def test_tables_fit_80_columns_with_all_their_numbers(here, monkeypatch, words):
    wide = shown(monkeypatch, None, *words)
    narrow = shown(monkeypatch, 80, *words)
    tables = [line for line in narrow if "  " in line]
    assert tables and max(map(len, tables)) <= 80
    assert any("…" in line for line in tables) and not any("…" in line for line in wide)
    assert len(narrow) == len(wide)


@pytest.mark.parametrize("words", COMMANDS)
def test_nothing_is_lost_in_200_columns(here, monkeypatch, words):
    wide = shown(monkeypatch, 230, *words)      # three names of 64 letters and more stand in one line
    assert not any("…" in line for line in wide)
    assert any(LONG in line for line in wide)


def test_windows_of_one_day_say_the_day_once(here, monkeypatch):
    header, first, *_ = shown(monkeypatch, 80, "query", "--last", "3")
    assert header.startswith("2026-01-30, UTC ") and re.match(r"12:00:5\d ", first)


def test_table_without_room_is_cut_at_the_edge():
    table = Table(["number", "name"], [[number, LONG] for number in NUMBERS], ["name"], ["name"])
    for width in (80, 30, 20, 12):
        lines = columns(table, width=width)
        assert max(map(len, lines)) <= width
    assert all(number in line for number, line in zip(NUMBERS, columns(table, width=20)[1:]))


@pytest.mark.parametrize("width", [80, 60, 40])
def test_status_fits_and_keeps_its_numbers(width):
    # Given a status in which everything has a long name
    alert = {**status()["alerts"]["recent"][1], "name": LONG}
    long = status(instance_id=LONG, alerts={**status()["alerts"], "recent": [alert]},
                  blocks={**status()["blocks"], "weakest": [{"id": LONG + "/17", "fitness": 0.7, "failing": 3, "entities": 1000}],
                          "fused": {LONG + "/1": LONG + "/2"}},
                  sources=[{"name": "host", "entities": 22, "per_s": 22.0, "detail": f"this machine, into {LONG}"}])  # fmt: skip
    # Then it is as wide as it may be, and the names' ends are there
    lines = as_text(long, width).splitlines()
    assert max(map(len, lines)) <= width
    if width == 80:
        text = "\n".join(lines)
        for part in ("running for 12 min 34 s", "3 of 1,000 failing", "high: 98.25 %, limit 95 %", "host: 22 sensors, 22/s", "outh/17"):
            assert part in text
    # and in 200 columns, or none, nothing is left out
    assert "…" not in as_text(long, 230) + as_text(long) and LONG in as_text(long)


def test_names_are_elided_in_their_middle():
    assert [elided("enjambre_sensor/979", width) for width in (19, 12, 2, 1, 0)] == ["enjambre_sensor/979", "enjamb…r/979", "e…", "…", ""]
    assert [counted(2, "entity"), counted(1, "entity"), counted(3, "batch")] == ["2 entities", "1 entity", "3 batches"]


def test_elided_is_never_longer_than_asked():
    for length in np.random.default_rng(1).integers(0, 40, 50):
        for width in range(12):
            assert len(elided("x" * int(length), width)) == min(length, width)
