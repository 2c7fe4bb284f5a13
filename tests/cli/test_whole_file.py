"""`corec export` writes a file whole or not at all, and a full disk has its own exit code."""
import errno
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from corec.cli import main
from corec.cli.output.whole_file import whole_file
from corec.errors import ExitCode
from tests.support.nodes import now_ms, readings, running, small, until


def test_a_file_has_its_name_when_it_is_whole(tmp_path):
    # Given a file that is there, and a link to it
    file, link = tmp_path / "rows.csv", tmp_path / "link.csv"
    file.write_text("before")
    link.symlink_to(file)
    # When writing fails half-way, Then it is as it was and nothing else is there
    with pytest.raises(OSError), whole_file(file) as target:
        target.write_text("half")
        assert file.read_text() == "before"
        raise OSError(errno.ENOSPC, "No space left on device")
    assert file.read_text() == "before" and sorted(tmp_path.iterdir()) == [link, file]
    # And when it goes well, also through the link, it is there
    with whole_file(link) as target:
        target.write_text("after")
    assert file.read_text() == "after" and link.is_symlink() and sorted(tmp_path.iterdir()) == [link, file]


def test_what_is_no_file_is_written_to_as_it_is():
    with whole_file(Path(os.devnull)) as target:
        assert str(target) == os.devnull


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["csv", "npy", "frames"])
def test_export_to_a_full_disk_says_so_and_leaves_no_file(tmp_path, monkeypatch, ending):
    # Given what a node stored, and a disk that fills up while it is written
    with running(small(), tmp_path / "data") as nucleus:
        nucleus.submit(readings(range(100)), time=now_ms()).result(60)
        assert until(lambda: nucleus.store_turn)

    def fills_up(file, *_):
        file.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for module, name in (("corec.cli.output.rows_out", "write_csv"), ("corec.cli.output.rows_out", "save_npy"),
                         ("corec.sources.recordings.frames_recording", "write_frames")):  # fmt: skip
        monkeypatch.setattr(f"{module}.{name}", fills_up)
    # When it is exported
    done = CliRunner().invoke(main, ["export", str(tmp_path / f"out.{ending}"), "--data", str(tmp_path / "data"), "--embedded"])
    # Then the exit code is the disk's, and there is no file
    assert done.exit_code == ExitCode.DISK_FULL and "no room left" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
