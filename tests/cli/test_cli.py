"""corec.cli: every command as a user types it, on good and bad input; nodes are real processes."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import click
import numpy as np
import pytest
from click.testing import CliRunner

from corec import __main__ as module_main
from corec.cli import COMMANDS, main
from corec.cli.common.base import PACKAGED, show_error
from corec.config import parse
from corec.errors import ConfigError, ExitCode, InternalError
from corec.nucleus import CoreCNucleus
from corec.sources.recordings.frames_recording import MAGIC
from tests.support.config_samples import CONFIGS
from tests.support.csv_files import CASES
from tests.support.nodes import until
from tests.support.paths import ROOT
from tests.support.recordings import envelopes

pytestmark = pytest.mark.slow

SMALL = {
    "instance_id": "cli1",
    "retraso_max": 0.2,
    "bloques": [
        {"id": "casa", "canal": 1, "entidades": 2500, "ventana": 0.5, "limites": {"bajo": -50, "alto": 100}},
        {
            "id": "calle",
            "canal": 2,
            "entidades": 5,
            "ids": {"device": [7000], "name": ["oven"], "unit": ["°C"], "high": [90]},
        },
    ],
    "fuentes": ["host", {"tipo": "simulada", "lecturas_por_segundo": 5000, "fallos": 0.2}],
}
NEW_YEAR = "2025-01-01 00:00:"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to work in, with a configuration in ./configs."""
    (tmp_path / "configs").mkdir()
    write_config(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_config(folder, **changes):
    (folder / "configs" / "corec_config.json").write_text(json.dumps(SMALL | changes))


def corec(*arguments):
    """One command, in this process: its result."""
    return CliRunner().invoke(main, [str(one) for one in arguments], catch_exceptions=False)


def succeeded(*arguments):
    result = corec(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def refused(code, *arguments):
    """What a command says that must end with a code; never a traceback."""
    result = corec(*arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def started(*arguments, cwd):
    """A command as a process of its own, which Ctrl-C reaches even where the tests run in the background."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "corec", *map(str, arguments)], cwd=cwd, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


@pytest.fixture
def node(here):
    """A running node with sources, as a process; killed if the test leaves it."""
    process = started("run", cwd=here)
    assert until(lambda: (here / "data" / "control.sock").exists() or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def stored(here):
    """A data folder in which a replay has left ten rows of two columns and what came of them."""
    rows = "".join(f"{NEW_YEAR}{second:02d},{20 + second % 2},{95 if second == 7 else 30}\n" for second in range(10))
    (here / "recording.csv").write_text("time,first,oven\n" + rows)
    succeeded("replay", "recording.csv", "--into", "data")
    return here


# --- the command itself ----------------------------------------------------------------------------


def test_help_names_every_command_and_exit_code():
    text = succeeded("--help")
    for name in COMMANDS:
        assert f"\n  {name} " in text
    for code in ExitCode:
        assert code.name in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_and_exit_codes(name):
    text = succeeded(name, "--help")
    assert f"\n  corec {name}" in text, "an example"
    assert "Exit codes: 0 OK" in text
    command = main.get_command(click.Context(main), name)
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_help_is_quick_and_loads_no_numpy(tmp_path):
    program = (
        "import sys; from corec.__main__ import command\n"
        "try: command(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'rich', 'msgspec', 'psutil', 'corec.common.zstandard', 'corec.engine', 'corec.config'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    times = []
    for _ in range(3):
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", program], check=True, env=environment, stdout=subprocess.DEVNULL)
        times.append(time.monotonic() - began)
    assert min(times) < 1.0  # 0.08 s on a quiet machine


def test_version():
    assert succeeded("--version").startswith("corec, version 0.")


def test_typo_in_a_command_is_answered_with_the_right_one():
    assert "did you mean `corec replay`?" in refused(2, "repaly", "x.csv")
    assert "`corec --help` lists the commands" in refused(2, "xyzzy")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ([], ["run"]),
        (["--for", "3"], ["run", "--for", "3"]),
        (["--help"], ["--help"]),
        (["--version"], ["--version"]),
        (["check", "--data", "x"], ["check", "--data", "x"]),
    ],
)
def test_module_without_a_command_runs_a_node(given, meant):
    assert module_main.arguments(given) == meant


def test_what_the_user_can_put_right_is_text(capsys):
    assert show_error(ConfigError("expected 1, got 2", detail="more", hint="try 1")) == ExitCode.CONFIG
    assert capsys.readouterr().err == "expected 1, got 2\nDETAIL: more\nHINT: try 1\n"


@pytest.mark.parametrize("error", [InternalError("a promise broken"), ZeroDivisionError("1 / 0")])
def test_what_is_ours_is_a_traceback_and_a_request(capsys, error):
    assert show_error(error) == ExitCode.BUG
    shown = capsys.readouterr().err
    assert str(error).splitlines()[0] in shown and "please report it" in shown


def test_bug_in_a_command_ends_with_its_code(here, monkeypatch):
    monkeypatch.setattr("corec.config.load", lambda *_, **__: 1 / 0)
    result = CliRunner().invoke(main, ["check"])
    assert result.exit_code == ExitCode.BUG and "please report it" in result.output


def test_interrupt_has_a_code_of_its_own(here, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("corec.config.load", interrupted)
    assert CliRunner().invoke(main, ["check"]).exit_code == 130


# --- check -----------------------------------------------------------------------------------------


def test_check_shows_blocks_ids_and_the_price(here):
    text = succeeded("check")
    assert "4 blocks, 2,505 entities" in text
    assert "  /0 to /2  " in text and "0 to 2499" in text and "1 from a table" in text
    assert "B an entity" in text and "of max_ram_mb 1,024.0 MB" in text and "it fits" in text


def test_check_without_a_configuration_takes_the_one_that_comes_along(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "991 blocks, 1,001,000 entities" in succeeded("check")


def test_configuration_that_comes_along_is_the_one_of_the_sources():
    own, packaged = (json.loads((folder / "corec_config.json").read_text()) for folder in (CONFIGS, PACKAGED))
    assert {**packaged, "$schema": None} == {**own, "$schema": None}


def test_check_refuses_what_cannot_fit_with_the_arithmetic(here):
    write_config(here, max_ram_mb=50)
    text = refused(ExitCode.CAPACITY, "check")
    assert "expected at most 50.0 MB of RAM" in text and "max_ram_mb" in text and "HINT" in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "valid JSON"),
        ('{"bloqes": []}', 'did you mean "bloques"?'),
        ('{"bloques": [{"id": "a", "canal": 200, "entidades": 1}]}', "from 0 to 127, got 200"),
        (b"\xff\xfe\x00", "UTF-8"),
    ],
)
def test_check_says_what_is_wrong_with_a_configuration(here, content, message):
    file = here / "configs" / "corec_config.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    text = refused(ExitCode.CONFIG, "check", "--config", "configs")
    assert message in text and "corec_config.json" in text


def test_check_names_embedded_where_servers_are_configured():
    assert "--embedded" in refused(ExitCode.CONFIG, "check", "--config", CONFIGS / "servers")
    assert "it fits" in succeeded("check", "--config", CONFIGS / "servers", "--embedded")


def test_check_verifies_a_data_folder(stored):
    text = succeeded("check", "--data", "data")
    assert [line.split()[0] for line in text.splitlines()] == ["store", "journal", "snapshots", "names", "together"]
    assert text.count(": sound") == 5
    assert "it fits" in succeeded("check", "--data", "data", "--config", "configs")


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [("store.db", "HINT: store: `corec check --data data --repair`"), ("snapshots/*.snap", "HINT: snapshots: a start puts")],
)
def test_check_finds_damage_in_a_data_folder(stored, pattern, hint):
    # Given a store or a snapshot with bytes changed in its middle
    file = next((stored / "data").glob(pattern))
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4096] = bytes(byte ^ 0xFF for byte in content[middle : middle + 4096])
    file.write_bytes(content)
    # Then the check says so and where, and what to do
    text = refused(ExitCode.DATA, "check", "--data", "data")
    assert hint in text and ": sound" in text


def test_check_of_what_is_no_data_folder(here):
    assert "expected a data folder" in refused(ExitCode.DATA, "check", "--data", "nothing")


# --- query and export ------------------------------------------------------------------------------


def test_query_shows_the_newest_windows(stored):
    lines = succeeded("query", "--last", 3).splitlines()
    assert lines[0].split() == [
        "window",
        "(UTC)",
        "block",
        "count",
        "mean",
        "min",
        "max",
        "std",
        "errors",
        "messages",
        "fitness",
    ]
    assert [line.split()[:3] for line in lines[1:]][-1] == ["2025-01-01", "00:00:09", "calle/0"]
    assert len(lines) == 4


def test_query_by_block_and_time(stored):
    lines = succeeded(
        "query", "--blocks", "casa/*", "--since", NEW_YEAR + "02", "--until", NEW_YEAR + "05"
    ).splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["00:00:02", "00:00:03", "00:00:04"]
    assert "no windows of blocks x*" in succeeded("query", "--blocks", "x*")
    assert "no windows" in succeeded("query", "--since", "1s")


def test_query_shows_alerts_by_name(stored):
    lines = succeeded("query", "--alerts").splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["2025-01-01", "00:00:07", "1.0", "high", "oven", "95", "90", "°C", "calle/0"]
    ]
    assert "no alerts" in succeeded("query", "--alerts", "--blocks", "casa/*")


def test_columns_of_a_replay_keep_their_names(here):
    (here / "x.csv").write_text("time,north,south\n0,1,999\n")
    succeeded("replay", "x.csv", "--into", "data")
    assert "south" in succeeded("query", "--alerts").splitlines()[1]


def test_query_goes_on_without_names_when_the_configuration_is_broken(stored):
    (stored / "configs" / "corec_config.json").write_text("{")
    assert "#7000" in succeeded("query", "--alerts")
    assert "names of devices are left out" in succeeded("query", "--alerts", "--config", "configs")


def test_query_without_a_store(here):
    assert "run the node once" in refused(ExitCode.DATA, "query")


def test_query_refuses_what_is_no_time(stored):
    assert "3d ago" in refused(2, "query", "--since", "yesterday")


def test_export_csv_to_file_and_to_standard_output(stored):
    succeeded("export", "out.csv")
    lines = (stored / "out.csv").read_text().splitlines()
    assert lines[0].startswith("block,canal,window,count,mean") and len(lines) == 21
    assert lines[1].startswith("casa/0,1,1735689600000,1,20.0")
    assert succeeded("export", "-").splitlines() == lines


def test_export_numpy_loads_without_pickle(stored):
    succeeded("export", "out.npy", "--alerts")
    alerts = np.load("out.npy", allow_pickle=False)
    assert alerts[["id", "block", "kind", "name", "unit"]].tolist() == [(7000, "calle/0", "high", "oven", "°C")]
    succeeded("export", "none.npy", "--since", "1s")
    assert len(np.load("none.npy", allow_pickle=False)) == 0


def test_exports_read_back_as_they_were_stored(stored):
    # Given windows as NumPy and as CSV
    succeeded("export", "out.npy")
    succeeded("export", "OUT.CSV")
    rows = np.load("out.npy")
    with open("OUT.CSV", newline="", encoding="utf-8") as stream:
        texts = list(csv.DictReader(stream))
    # Then each cell of the CSV reads back as the stored value, in the fewest digits that do
    assert len(texts) == len(rows) == 20
    for name in rows.dtype.names:
        assert [row[name] for row in texts] == [str(value) for value in rows[name]], name
        assert np.array([row[name] for row in texts]).astype(rows.dtype[name]).tolist() == rows[name].tolist(), name


def test_export_refuses_what_it_cannot_write(stored):
    assert ".csv, .npy or .frames" in refused(2, "export", "out.parquet")
    assert "no such file or directory" in refused(2, "export", "nothing/out.csv")
    assert "leave out --alerts" in refused(2, "export", "out.frames", "--alerts")
    assert "run the node once" in refused(ExitCode.DATA, "export", "out.frames", "--data", "nothing")


def test_readings_go_out_of_a_journal_and_through_a_replay(here):
    # Given a node that took 3,000 readings
    nucleus = CoreCNucleus(parse(SMALL), data=here / "data", with_sources=False)
    nucleus.start()
    frames = np.arange(3000, dtype=">u4").tobytes()  # any bytes will do: ten of them are a frame
    now = time.time_ns() // 1_000_000
    nucleus.submit(frames, time=now).result(60)
    nucleus.submit(frames, time=now + 500).result(60)
    nucleus.stop()
    # When they are exported and replayed
    assert "2 batches" in succeeded("export", "out.frames")
    text = succeeded("replay", "out.frames", "--lenient")
    # Then they come to what they came to
    assert "2 batches, 2,400 readings" in text
    assert f"{nucleus.engine.ledger['rejected']:,} rejected" in text
    # and without --lenient, readings that are refused are bad input, each cause with its count
    refusals = refused(ExitCode.DATA, "replay", "out.frames")
    for cause in ("malformed", "channel", "id"):
        assert f"{nucleus.engine.ledger[f'rejected_{cause}']:,} readings refused as {cause!r}: " in refusals
    assert "1 batch" in succeeded("export", "half.frames", "--since", now + 1)


# --- replay ----------------------------------------------------------------------------------------


def test_replay_ends_with_a_summary(stored):
    text = succeeded("replay", "recording.csv")
    assert "column oven -> the device of that name or id" in text
    assert "10 rows, 20 readings from 2025-01-01 00:00:00 to 2025-01-01 00:00:09 UTC" in text
    assert "20 in = " in text and "1 alert" in text
    assert text.splitlines()[-1].split()[:3] == ["1", "high", "oven"]


def test_replay_refuses_a_folder_that_has_results(stored):
    assert "expected an empty folder" in refused(ExitCode.DATA, "replay", "recording.csv", "--into", "data")


def test_node_goes_on_from_a_replay(stored):
    # Given the folder of a replay
    nucleus = CoreCNucleus(parse(SMALL), data=stored / "data", with_sources=False)
    nucleus.start()
    # Then a node that starts there knows what the replay knew
    assert nucleus.engine.ledger["in"] == 20
    assert nucleus.engine.entity(7000)["valor"] == 30.0
    nucleus.stop()


def test_replay_at_a_pace_takes_its_time(stored):
    began = time.monotonic()
    succeeded("replay", "recording.csv", "--speed", 10)
    assert 0.85 < time.monotonic() - began < 7      # 9 s without the pace


@pytest.mark.parametrize("speed", ["0", "-1", "fast", "nan", "inf"])
def test_replay_refuses_speeds_that_are_none(stored, speed):
    assert "expected `max` or a number above 0" in refused(2, "replay", "recording.csv", "--speed", speed)


def test_replay_of_text_and_gaps_says_what_was_left_out(here):
    (here / "x.csv").write_text("time,a\n0,1\n1,bad\n1,n/a\n2,\nlater,4\n")
    text = refused(ExitCode.DATA, "replay", "x.csv")
    assert "1 cell of text" in text and "1 empty cell" in text and "1 row left out, the first at line 6" in text
    assert "1 cell with a word for no value skipped, the first: 'n/a'" in text
    assert succeeded("replay", "x.csv", "--lenient").splitlines()[:3] == text.splitlines()[:3]


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (b"", ExitCode.DATA, "an empty file"),
        (b"time,a\n", ExitCode.DATA, "expected rows of readings"),
        (b"time,a\nsoon,1\n", ExitCode.DATA, "expected a time in column time, got 'soon'"),
        (b"\x00\x01" * 500, ExitCode.DATA, "UTF-8"),
        (b"\xff\x00\x00" * 500, ExitCode.DATA, "UTF-8"),
        (b"time,a\n0,\n", ExitCode.DATA, "expected readings, got none"),
        (b"0," + b"1," * 3000 + b"1\n", ExitCode.USAGE, "at most 2,500 value columns"),
        (b"CCFRAME1", ExitCode.DATA, "at least one batch"),
        (b"CCFRAME1" + bytes(200), ExitCode.DATA, "expected readings, got none"),
    ],
)
def test_replay_of_bad_files(here, content, code, message):
    (here / "bad").write_bytes(content)
    assert message in refused(code, "replay", "bad")


@pytest.mark.parametrize("command", [["check"], ["replay", CASES / "28_dup_names.csv"], ["send", CASES / "28_dup_names.csv"]])
def test_two_devices_of_one_name_are_refused(here, command):
    assert '"temp" for device 1 and for device 2' in refused(ExitCode.CONFIG, *command, "--config", CASES / "28_config.json")


def test_replay_reads_standard_input(here):
    (here / "x.csv").write_text("time,a\n0,1\n")
    with (here / "x.csv").open() as stream:
        done = subprocess.run([sys.executable, "-m", "corec", "replay", "-"], stdin=stream, capture_output=True, text=True,
                              env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.returncode == 0 and "standard input: times in column time" in done.stdout and "1 row, 1 reading" in done.stdout


def test_replay_keeps_units_that_a_file_gives(here):
    (here / "x.csv").write_text("time,north\ns,°C\n2026-01-30,999\n")
    succeeded("replay", "x.csv", "--into", "data")
    assert "°C" in succeeded("query", "--alerts").splitlines()[1]


def test_replay_of_a_missing_file(here):
    assert "no such file" in refused(ExitCode.USAGE, "replay", "nothing.csv")


def test_replay_of_bare_frames_needs_a_time(here):
    (here / "x.frames").write_bytes(bytes.fromhex("00000001 01 3f800000 01") * 3)
    assert "--at TIME" in refused(ExitCode.DATA, "replay", "x.frames")
    assert "3 frames, 3 readings" in succeeded("replay", "x.frames", "--at", "2025-01-01")


def test_replay_of_a_damaged_file_says_so_by_its_code(here):
    whole = bytearray(b"".join(envelopes(3)))
    whole[100] ^= 1
    (here / "x.frames").write_bytes(MAGIC + whole)
    text = refused(ExitCode.DATA, "replay", "x.frames")
    assert "in no sound batch" in text and "200 in = " in text


def test_replay_that_is_interrupted_shows_how_far_it_came(stored):
    process = started("replay", "recording.csv", "--speed", 1, "--into", "cut", cwd=stored)
    assert until(lambda: (stored / "cut" / "store.db").exists())
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "readings from 2025-01-01 00:00:00" in out and "kept in cut" in out
    assert "sound" in succeeded("check", "--data", "cut")


# --- a node ----------------------------------------------------------------------------------------


def test_node_runs_for_a_while_and_says_what_it_does(here):
    # Given a node for two seconds, its output no terminal
    process = started("--for", 2, cwd=here)
    out, error = process.communicate(timeout=60)
    # Then its log, its status and its alerts came as lines
    assert process.returncode == 0, error
    assert "[CoreCNucleus-cli1] Inicializado" in error and "stopped at turn" in error
    status = next(line for line in out.splitlines() if line.startswith("[Status-cli1]"))
    assert "readings/s" in status and " in = " in status
    assert "\x1b" not in out


def test_node_on_a_terminal_shows_a_live_status(here):
    # Given a node whose output is a terminal of 24 lines
    import pty

    control, terminal = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(
        [sys.executable, "-m", "corec", "run", "--for", "2.5"],
        cwd=here,
        env=environment,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""
    while True:
        try:
            shown += os.read(control, 65536)
        except OSError:  # the other end is closed
            break
    assert process.wait(timeout=60) == 0
    # Then the status is drawn with the log above it
    text = shown.decode()
    assert "[CoreCNucleus-cli1] Inicializado" in text
    assert "balances" in text and "\x1b[" in text


def test_status_repair_reload_and_query_while_a_node_runs(node, here):
    # Given a running node
    assert until(lambda: json.loads(succeeded("status", "--json")).get("ledger", {}).get("in", 0) > 2000)
    # Then its status is there as text and as JSON
    assert "running for" in succeeded("status")
    found = json.loads(succeeded("status", "--json"))
    assert found["instance_id"] == "cli1" and {source["name"] for source in found["sources"]} == {"host", "simulada"}
    # and it takes commands
    assert succeeded("repair", "casa/1").startswith("casa/1: ")
    assert "nothing has changed" in succeeded("reload")
    assert "there is no block 'nix'" in refused(ExitCode.USAGE, "repair", "nix")
    # and a configuration that it cannot take while it runs is refused, the running one stays
    write_config(here, bloques=SMALL["bloques"][:1])
    assert "restart the node" in refused(ExitCode.USAGE, "reload")
    (here / "configs" / "corec_config.json").write_text("{")
    assert "valid JSON" in refused(ExitCode.CONFIG, "reload")
    # and its store can be read meanwhile
    write_config(here)
    assert until(lambda: "casa/" in succeeded("query", "--last", 5))
    assert "batches in" in succeeded("export", "now.frames")
    # and a second node, or a check of its files, is kept out
    assert "is using" in refused(ExitCode.IN_USE, "run", "--for", 1)
    assert "is using" in refused(ExitCode.IN_USE, "check", "--data", "data")


def test_ctrl_c_stops_a_node_within_a_second(node):
    began = time.monotonic()
    node.send_signal(signal.SIGINT)
    _, error = node.communicate(timeout=60)
    assert node.returncode == 0, error
    assert time.monotonic() - began < 2.0  # 0.2 s on a quiet machine
    assert "stopped at turn" in error and "Traceback" not in error


def test_killed_node_leaves_what_status_and_query_can_read(node, here):
    assert until(lambda: json.loads(succeeded("status", "--json")).get("ledger", {}).get("in", 0) > 2000)
    node.kill()
    node.wait()
    text = refused(ExitCode.USAGE, "status")
    assert "no node runs on data" in text and "the store of cli1 ends at turn" in text and " in = " in text
    found = json.loads(refused(ExitCode.USAGE, "status", "--json"))
    assert found["state"] == "stopped" and found["store"]["ledger"]["in"] > 0
    assert "no node runs" in refused(ExitCode.USAGE, "repair", "casa/0")


def test_status_where_nothing_ever_was(here):
    text = refused(ExitCode.USAGE, "status", "--data", "nothing")
    assert "nothing is stored there" in text and "HINT: corec run --data nothing" in text


def test_node_is_refused_what_cannot_work(here):
    assert "expected a configuration file" in refused(ExitCode.CONFIG, "run", "--config", "nothing")
    assert "expected a folder of plugins" in refused(ExitCode.PLUGIN, "run", "--plugins", "nothing")
    (here / "file").write_text("")
    assert "folder" in refused(ExitCode.DATA, "run", "--data", "file/data")
    write_config(here, max_ram_mb=50)
    assert "expected at most 50.0 MB" in refused(ExitCode.CAPACITY, "run")


# --- docs ----


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_in_the_docs(name):
    text = (ROOT / "docs" / "cli.md").read_text()
    assert f"corec {name}" in text
    command = main.get_command(click.Context(main), name)
    for option in (parameter for parameter in command.params if isinstance(parameter, click.Option)):
        assert option.opts[0] in text, option.opts


# --- bench -----------------------------------------------------------------------------------------


def test_quick_bench_prints_figures_beside_yardsticks(monkeypatch):
    monkeypatch.setattr("corec.cli.quick_bench.ENTITIES", 20_000)
    monkeypatch.setattr("corec.cli.quick_bench.READINGS", 2_000)
    monkeypatch.setattr("corec.cli.quick_bench.REPEATS", 1)
    lines = succeeded("bench", "--quick").splitlines()
    assert [line.split("  ")[0] for line in lines[3:7]] == [
        "whole pass, entities", "readings by random id", "frames encoded", "frames decoded"]  # fmt: skip
    assert all(float(line.split()[-1]) > 0 for line in lines[3:])
