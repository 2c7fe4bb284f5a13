"""What is no file of CoreC's in the folders of a node: it is named and put aside, and nothing waits for it or is lost."""
import json
import os

import pytest
from click.testing import CliRunner

from corec.cli import main
from corec.storage.numbered import number_of, numbered
from corec.streams.journal.clock import LATEST_STAMP, JournalClock
from corec.streams.sending.unsent import Unsent
from tests.support.nodes import now_ms, readings, running, small

NINES = "9" * 20
#: Names in CoreC's manner that no file of its own has.
NAMES = [f"{NINES}.%s", "x.%s", "²" * 20 + ".%s", "0" * 18 + "²².%s", "1.%s", "5" * 40 + ".%s"]


class Still:
    """A machine's clocks, which stand still."""

    def wall_ms(self):
        return 5000

    def boot_ms(self):
        return 1000

    def boot_id(self):
        return "b"


def folder_at(path):
    path.mkdir(parents=True)
    (path / "inner").write_text("kept")


@pytest.mark.parametrize(("name", "number"), [
    ("00000000000000000007.log", 7), ("00000000000000000007.snap.damaged", 7), ("04611686018427387904.log", 2**62),
    ("04611686018427387905.log", None), (NINES, None), ("²" * 20, None), ("7.log", None), ("5" * 40, None), ("", None)])  # fmt: skip
def test_numbers_are_those_that_a_node_may_come_to(name, number):
    assert number_of(name) == number


@pytest.mark.slow
def test_junk_in_every_folder_is_put_aside_and_named(tmp_path, caplog):
    # Given the folder of a node that took a reading
    data = tmp_path / "data"
    with running(small(), data) as nucleus:
        nucleus.submit(readings([1]), time=now_ms()).result(60)
        nucleus.pipeline.take_snapshot()
        ledger = nucleus.engine.ledger
    # And files, folders and pipes in it that have a name in CoreC's manner
    strangers = []
    for folder, endings in (("journal", ("log", "spare", "new")), ("snapshots", ("snap", "new"))):
        for ending in endings:
            for name in NAMES:
                (data / folder / (name % ending)).write_bytes(b"\xff\xfejunk")
            folder_at(data / folder / f"00000000000000000077.{ending}")
            os.mkfifo(data / folder / f"00000000000000000078.{ending}")
            strangers += [f"{folder}/{name % ending}" for name in (*NAMES, "00000000000000000077.%s", "00000000000000000078.%s")]
        (data / folder / "readme.txt").write_text("kept")
    for name in ("clock.part", "control.sock", "store.db-journal"):
        folder_at(data / name)
        strangers.append(name)
    (data / "clock").unlink()
    os.mkfifo(data / "clock")
    # Then a check comes to its end
    checked = CliRunner().invoke(main, ["check", "--data", str(data)])
    assert isinstance(checked.exception, SystemExit | None), checked.exception
    # And a start puts each aside under a name of its own, says so, and loses nothing
    with running(small(), data) as nucleus:
        assert nucleus.engine.ledger == ledger
        nucleus.submit(readings([2]), time=now_ms()).result(60)
        nucleus.pipeline.take_snapshot()
    for name in [*strangers, "clock"]:
        assert os.path.lexists(data / f"{name}.aside") and repr(name.rpartition("/")[2]) in caplog.text, name
    assert (data / "journal" / "readme.txt").read_text() == "kept"
    assert (data / "clock.part.aside" / "inner").read_text() == "kept"
    # And the next start finds nothing to put aside
    caplog.clear()
    with running(small(), data) as nucleus:
        assert nucleus.engine.ledger["in"] == ledger["in"] + 1
    assert ".aside" not in caplog.text


def test_what_was_put_aside_before_is_not_written_over(tmp_path):
    from corec.storage.numbered import put_aside

    for content in (b"first", b"second", b"third"):
        (tmp_path / "x.log").write_bytes(content)
        put_aside(tmp_path / "x.log", "test1", "is not named so")
    assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == [b"first", b"second", b"third"]
    assert numbered(tmp_path, ".log") == []


@pytest.mark.parametrize("anchor", ["1e400", "1e300", str(10**25), str(-10**17), str(2**53), '"NaN"', "true", "null", "[]"])
def test_clock_with_a_stamp_that_cannot_be_begins_anew(tmp_path, anchor):
    # Given a file whose anchor is no number, or leads beyond 2^53 ms or before 1970
    file = tmp_path / "clock"
    file.write_text('{"boot": "b", "anchor": ' + anchor + "}")
    # Then the wall clock gives a new one
    assert JournalClock(file, Still()).now() == 5000 < LATEST_STAMP
    assert json.loads(file.read_text()) == {"boot": "b", "anchor": 4000}


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b"[" * 100_000, b'{"boot": "b"}'])
def test_clock_that_is_no_clock_begins_anew(tmp_path, content):
    (tmp_path / "clock").write_bytes(content)
    assert JournalClock(tmp_path / "clock", Still()).now() == 5000


@pytest.mark.parametrize("content", [b"9" * 30, b"-5", b"\xff", b"x", None])
def test_sender_whose_position_is_none_sends_everything_again(tmp_path, content):
    # Given a folder of unsent batches in which the position is no number of a batch, or a folder
    if content is None:
        folder_at(tmp_path / "done")
    else:
        (tmp_path / "done").write_bytes(content)
    unsent = Unsent(tmp_path, "a", max_bytes=1 << 20, on_commit=lambda last: None)
    assert unsent.done == 0
    unsent.drop(1)
    unsent.close()
