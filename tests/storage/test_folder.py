"""The data folder: one node, enough room, and a lock that goes with its process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from corec.errors import DiskFull, FolderInUse, StorageError
from corec.storage.folder import DataFolder
from tests.support.paths import ROOT

HOLD = (
    "import sys, time; from pathlib import Path; from corec.storage.folder import DataFolder\n"
    "folder = DataFolder(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
)


def holder(path: Path) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout.readline() == "held\n"
    return process


def test_it_makes_its_parts(tmp_path):
    with DataFolder(tmp_path / "a" / "data") as folder:
        assert folder.journal.is_dir() and folder.snapshots.is_dir()
        assert folder.store == tmp_path / "a" / "data" / "store.db"


def test_a_second_node_is_told_who_is_there(tmp_path):
    first = holder(tmp_path)
    try:
        with pytest.raises(FolderInUse, match=f"process {first.pid} is using") as caught:
            DataFolder(tmp_path)
        assert "--data" in caught.value.hint
    finally:
        first.kill()
        first.wait()


def test_the_lock_goes_with_the_process_however_that_ends(tmp_path):
    first = holder(tmp_path)
    first.send_signal(signal.SIGKILL)
    first.wait()
    with DataFolder(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()} starting\n"


def test_closing_lets_the_next_one_in(tmp_path):
    DataFolder(tmp_path).close()
    with DataFolder(tmp_path), pytest.raises(FolderInUse):
        DataFolder(tmp_path)
    DataFolder(tmp_path).close()


def test_too_little_room_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(DiskFull, match="bytes free, got"):
        DataFolder(tmp_path, least_free=1 << 60)
    DataFolder(tmp_path).close()


def test_a_place_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="expected a folder that can be written to"):
        DataFolder(tmp_path / "file")
