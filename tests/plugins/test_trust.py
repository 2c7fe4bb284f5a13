"""Whose plugins a node loads, and what it leaves to one that is isolated; seen from outside, in /proc."""
import os
import re
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.nodes import until
from tests.support.plugin_nodes import GOOD

pytestmark = pytest.mark.slow


def linked_folder(folder, elsewhere):
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    return f"expected a folder, got a symbolic link - at {folder}", f"name the folder itself: {elsewhere}"


def linked_main(folder, elsewhere):
    (folder / "main.py").rename(elsewhere)
    (folder / "main.py").symlink_to(elsewhere)
    return f"expected a file, got a symbolic link - at {folder / 'main.py'}", f"name the file itself: {elsewhere}"


def open_to_all(path):
    path.chmod(0o777)
    return f"that no other user may write to, got mode 777 - at {path}", f"chmod go-w {path}"


@pytest.mark.parametrize("how", [
    linked_folder, linked_main, lambda folder, _: open_to_all(folder), lambda folder, _: open_to_all(folder / "main.py"),
    lambda folder, _: open_to_all(folder / "config.json"), lambda folder, _: open_to_all(folder / "helper.py"),
], ids=["linked folder", "linked main.py", "open folder", "open main.py", "open config.json", "open module"])  # fmt: skip
def test_a_plugin_that_others_may_change_is_not_loaded_and_the_remedy_is_said(node, tmp_path, caplog, how):
    # Given two plugins, one of which is a link, or may be written by everybody
    node.plugin("good", GOOD)
    node.plugin("open", GOOD.replace("good", "open"), {"x": 1})
    (node.plugins / "open/helper.py").write_text("")
    refused, remedy = how(node.plugins / "open", tmp_path / "elsewhere")
    # When a node starts, Then it goes on without it, and says which, why and what to do
    with node as nucleus:
        assert until(lambda: "plugin open not loaded" in caplog.text, 60)
        assert refused in caplog.text and remedy in caplog.text
        assert [each["name"] for each in nucleus.status()["plugins"] if each["state"] == "running"] == ["good"]


@pytest.fixture
def isolated(node, monkeypatch):
    """The process of an isolated plugin, of a node with secrets in its environment and open files that a child would inherit."""
    monkeypatch.setenv("DB_PASSWORD", "the node's secret")
    monkeypatch.setenv("PLUGIN_PW", "the plugin's own")
    node.plugin("good", GOOD, {"aislado": True, "max_ram_mb": 64, "db_config": {"password": "${PLUGIN_PW}"}})
    secret = node.plugins.parent / "secret"
    secret.write_text("x")
    with open(secret) as file:
        os.set_inheritable(file.fileno(), True)
        with node as nucleus:
            def running():
                return [each["pid"] for each in nucleus.status()["plugins"] if each["state"] == "running"]

            assert until(running, 60)
            yield Path("/proc") / str(running()[0])


def test_the_process_of_an_isolated_plugin_is_fenced(isolated):
    # Given the process of an isolated plugin, Then what it starts gains no rights
    status = (isolated / "status").read_text()
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
    # And it has the environment's variables that its configuration names, and no other secret
    environment = (isolated / "environ").read_bytes()
    assert b"PLUGIN_PW=the plugin's own" in environment and b"DB_PASSWORD" not in environment
    # And no file of the node is open in it: neither of the data folder nor another, only its own pipe
    opened = [os.readlink(each) for each in (isolated / "fd").iterdir() if each.exists() or each.is_symlink()]
    assert not [name for name in opened if name.endswith("secret") or "/data" in name], opened
    assert len([name for name in opened if name.startswith("socket:")]) <= 3, opened
    # And memory and core dumps are bounded
    limits = {line[:25].strip(): line[25:].split() for line in (isolated / "limits").read_text().splitlines()}
    assert limits["Max data size"][:2] == [str((64 + 256) << 20)] * 2
    assert limits["Max core file size"][:2] == ["0", "0"]


def test_what_an_isolated_plugin_starts_gains_no_rights_either(node, caplog):
    # Given an isolated plugin that starts a program and tells what the system says of it
    asks = "import subprocess\nprint('program', *subprocess.check_output(['grep', 'NoNewPrivs', '/proc/self/status'], text=True).split())\n"
    node.plugin("good", asks + dedent(GOOD), {"aislado": True})
    with node:
        # Then it is as the plugin itself
        assert until(lambda: "program NoNewPrivs: 1" in caplog.text, 60), caplog.text
