"""How commands end before their end: Ctrl-C at any moment, a reader that leaves, a standard stream that is closed or full."""
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from corec.__main__ import arguments
from corec.cli import COMMANDS, main
from corec.cli.common.base import INTERRUPTED, READER_LEFT
from corec.errors import ExitCode
from corec.storage.sqlite.read import SqliteReader
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

ROWS = "time,a,b\n" + "".join(f"{second},{20 + second % 3},{second % 7}\n" for second in range(60))
#: Sends itself Ctrl-C when a module is imported, then goes on as `corec check` does.
INTERRUPTED_IMPORT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from corec.__main__ import command
command(["check"])
"""


@pytest.fixture(autouse=True)
def ctrl_c():
    """SIGINT as a terminal's programs have it: those that a shell starts in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a recording and the results of its replay."""
    (tmp_path / "rows.csv").write_text(ROWS)
    monkeypatch.chdir(tmp_path)
    assert corec("replay", "rows.csv", "--into", "data").exit_code == 0
    return tmp_path


def corec(*words):
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


def process(words, **how):
    """A command with its standard streams as the shell line *words* says."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONUNBUFFERED", None)   # output is buffered for most users, and what is left is written at the exit
    done = subprocess.run(["bash", "-c", f"{sys.executable} -m corec {words}"], env=environment, text=True, capture_output=True, **how)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    return done


# --- help and times --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_h_is_help_everywhere(name):
    words = [name] if name else []
    assert corec(*words, "-h").output == corec(*words, "--help").output != ""
    assert arguments(["-h"]) == ["-h"]


@pytest.mark.parametrize("seconds", ["nan", "-1", "inf", "1e999", "soon", "-5m", ""])
def test_run_for_what_is_no_time_is_refused(here, seconds):
    done = corec("run", "--for", seconds)
    assert done.exit_code == ExitCode.USAGE
    assert f"expected seconds, 0 or more, got '{seconds}'" in done.output and "HINT: 90, 0.5, 10m, 2h" in done.output


def test_run_for_a_span_with_a_unit(here):
    began = time.monotonic()
    assert process("run --data other --for 500ms").returncode == 0
    assert time.monotonic() - began < 10


# --- a reader that leaves, a stream that is closed or full ------------------------------------------


@pytest.mark.parametrize("words", ["query --last 0", "export -", "check", "status", "--help", "query --help"])
def test_reader_that_leaves_ends_a_command_quietly(here, words):
    done = process(f"{words} | true; exit ${{PIPESTATUS[0]}}")
    assert done.stderr == ""
    assert done.returncode == (READER_LEFT if words != "status" else done.returncode)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", ["query", "export -", "check", "run --data other --for 1", "--help"])
def test_closed_streams_are_no_matter(here, words, closed):
    done = process(f"{words} {closed}")
    assert done.returncode == 0, done.stderr


def test_node_goes_on_when_nobody_reads_its_lines(here):
    done = process("run --data other --for 3 | true; exit ${PIPESTATUS[0]}")
    assert done.returncode == 0 and "stopped at turn" in done.stderr


@pytest.mark.parametrize("words", ["query", "check", "query --help"])
def test_output_that_is_full_is_said_in_a_sentence(here, words):
    done = process(f"{words} >/dev/full")
    assert done.returncode == ExitCode.DISK_FULL
    assert done.stderr == "standard output: expected room to write, got no space left on device\n"


# --- Ctrl-C ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["click", "corec.cli.check", "corec.config", "msgspec"])
def test_ctrl_c_while_modules_are_imported_is_quiet(here, module):
    done = subprocess.run([sys.executable, "-c", INTERRUPTED_IMPORT, module], env=os.environ | {"PYTHONPATH": str(ROOT)},
                          text=True, capture_output=True)  # fmt: skip
    assert (done.returncode, done.stderr) == (INTERRUPTED, "")


def test_replay_that_is_interrupted_says_what_it_stored(here, monkeypatch):
    # Given a replay whose third piece Ctrl-C meets half way through its fold
    from corec.cli.readings import replay_run

    folds = []

    def interrupted(engine, content, fold=replay_run.fold):
        folds.append(content)
        if len(folds) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        yield from fold(engine, content)

    monkeypatch.setattr(replay_run, "fold", interrupted)
    monkeypatch.setattr(replay_run, "PIECE_S", 0.001)
    # When it runs at a pace, in pieces of ten seconds of the recording
    done = corec("replay", "rows.csv", "--speed", 10_000, "--into", "cut")
    assert done.exit_code == INTERRUPTED
    # Then it stopped behind that piece, and says of readings, windows and ledger what the store holds
    rows, readings, windows = (int(re.search(rf"(\d+) {noun}", done.output)[1]) for noun in ("rows", "readings", "windows"))
    reader = SqliteReader(here / "cut" / "store.db")
    stored, ledger = reader.history("*", 0, 2**62), dict(reader.state.ledger)
    reader.close()
    assert len(folds) == 3 and rows < 60 and readings == 2 * rows
    assert (readings, windows) == (stored["count"].sum(), len(stored)) and ledger["in"] == readings
    assert f"{readings} in = " in done.output
    # and Ctrl-C is again what it was
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_second_ctrl_c_ends_a_replay_at_once(here, monkeypatch):
    from corec.cli.readings import replay_run

    def hanging(engine, content):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        yield from ()

    monkeypatch.setattr(replay_run, "fold", hanging)
    done = corec("replay", "rows.csv")
    assert done.exit_code == INTERRUPTED and " in = " not in done.output
