"""What a node trusts belongs to its user: links, and folders that others may write to, are refused by name and with the remedy."""
import os
import stat
import subprocess
import sys

import pytest

from corec.errors import StorageError
from corec.plugins.isolated.parent import variables_in
from corec.storage import private
from corec.storage.folder import DataFolder
from corec.storage.private import make_private, open_private, require_private
from corec.streams.sending.unsent import Unsent
from tests.support.nodes import now_ms, readings, running, small


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


@pytest.mark.slow
def test_data_folders_are_0700_and_files_0600(tmp_path):
    # Given a node that stored a reading and a snapshot, with the usual umask
    before = os.umask(0o022)
    try:
        with running(small(), tmp_path / "data") as nucleus:
            nucleus.submit(readings([1]), time=now_ms()).result(60)
            nucleus.pipeline.take_snapshot()
            found = list((tmp_path / "data").rglob("*"))
    finally:
        os.umask(before)
    # Then nobody else may read any of it
    assert {mode_of(path) for path in [tmp_path / "data", *found] if path.is_dir()} == {0o700}
    files = {path.name: mode_of(path) for path in found if path.is_file()}
    assert {name for name, mode in files.items() if mode & 0o077} <= {"clock"}, files


@pytest.mark.parametrize("place", ["data", "data/journal", "data/snapshots", "data/lock"])
def test_links_in_place_of_folders_and_lock_are_refused(tmp_path, place):
    # Given a data folder a part of which is a link to somewhere else
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / place
    if place == "data":
        path.rmdir()
    path.symlink_to(tmp_path / "elsewhere")
    # Then a node does not use it, and says what is there
    with pytest.raises(StorageError, match="got a symbolic link - at") as caught:
        DataFolder(tmp_path / "data", least_free=0)
    assert str(path) in caught.value.text and caught.value.hint
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_tail_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "tail").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="symbolic link"):
        Unsent(tmp_path / "tail", "a", max_bytes=1 << 20, on_commit=lambda last: None)


def test_folder_that_others_may_write_to_is_refused(tmp_path):
    # Given a folder that everybody may write to
    tmp_path.chmod(0o777)
    with pytest.raises(StorageError, match="no other user may write to, got mode 777") as caught:
        require_private(tmp_path)
    # Then the hint is a command that puts it right
    subprocess.run(caught.value.hint.partition(",")[0].split(), check=True)
    require_private(tmp_path)


def test_folder_of_another_user_is_refused_and_root_s_is_taken(tmp_path, monkeypatch):
    # Given a folder of user 1234, for user 4321
    real = os.lstat
    monkeypatch.setattr(private.os, "geteuid", lambda: 4321)
    monkeypatch.setattr(private.os, "lstat", lambda path: os.stat_result((*real(path)[:4], 1234, *real(path)[5:])))
    with pytest.raises(StorageError, match="of this user, got one of 1234"):
        require_private(tmp_path)
    # Then root's is taken, and what is mounted
    monkeypatch.setattr(private.os, "lstat", lambda path: os.stat_result((*real(path)[:4], 0, *real(path)[5:])))
    require_private(tmp_path)
    monkeypatch.setattr(private.os, "lstat", lambda path: os.stat_result((*real(path)[:4], 1234, *real(path)[5:])))
    monkeypatch.setattr(private.os.path, "ismount", lambda path: True)
    require_private(tmp_path)


def test_private_folders_and_files_are_made_so(tmp_path):
    make_private(tmp_path / "a" / "b")
    os.close(open_private(tmp_path / "a" / "file", os.O_RDWR))
    assert (mode_of(tmp_path / "a" / "b"), mode_of(tmp_path / "a" / "file")) == (0o700, 0o600)


def test_isolated_process_gets_no_environment_but_what_its_configuration_names(monkeypatch):
    # Given secrets in the environment, one of which the plugin's configuration names
    assert variables_in({"db_config": {"password": "${PLUGIN_PW}", "host": "h"}, "x": ["${A:-b}"]}) == {"PLUGIN_PW", "A"}
    code = """
import os, socket, sys
from corec.common import child_process
seen = {}
child_process.subprocess.Popen = lambda command, **how: (seen.update(how["env"]), type("P", (), {"pid": 1})())[1]
child_process.Process(socket.socketpair()[0], {"PLUGIN_PW"})
print(sorted(set(seen) & {"DB_PASSWORD", "PLUGIN_PW", "PATH"}))
"""
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "DB_PASSWORD": "x", "PLUGIN_PW": "y"}, capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert done.stdout.strip() == "['PATH', 'PLUGIN_PW']"
