"""A node stops within a second whatever its plugins do in Python, and its data folder is free at once, whoever they left behind."""
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from corec.common.file_lock import FileLock
from corec.storage.folder import DataFolder
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

CODE = """
import asyncio, multiprocessing, os, sys, threading, time
from concurrent.futures import ProcessPoolExecutor

FORK = multiprocessing.get_context("fork")

def spin():
    while True:
        pass

def stubborn():
    while True:
        try:
            spin()
        except BaseException:
            pass

def deep(frames, then):
    return deep(frames - 1, then) if frames else then()

def endless():
    return endless()

def recursing():
    while True:
        try:
            endless()
        except RecursionError:
            pass

def unbounded():
    sys.setrecursionlimit(10**9)

def started(*what):
    threading.Thread(target=what[0], args=what[1:]).start()

class Plugin:
    async def procesar(self, datos, carga):
        {body}
        await asyncio.sleep(1000)

def inicializar(nucleus, config):
    nucleus.registrar_plugin("bad", Plugin())
"""
#: What a busy machine adds to a second.
SLACK_S = 1.0
BUSY = {
    "spinning": "spin()",
    "catching all": "stubborn()",
    "a deep stack": "unbounded(); deep(2_000_000, spin)",
    "a deep stack that sleeps": "unbounded(); deep(2_000_000, lambda: time.sleep(1000))",
    "endless recursion": "recursing()",
    "busy threads": "[started(spin) for _ in range(20)]",
    "deep threads": "unbounded(); [started(deep, 300_000, spin) for _ in range(4)]",
}
CHILDREN = {
    "a fork": "os.fork() or (time.sleep(30), os._exit(0))",
    "an executor": "Plugin.pool = ProcessPoolExecutor(2, mp_context=FORK); Plugin.pool.submit(time.sleep, 30)",
    "a pool": "Plugin.pool = FORK.Pool(2); Plugin.pool.apply_async(time.sleep, (30,))",
}


@pytest.fixture
def node(tmp_path):
    """Starts `corec run` with a plugin whose pass does something; ends all that is left of it."""
    groups = []

    def start(body):
        (tmp_path / "plugins/bad").mkdir(parents=True)
        (tmp_path / "plugins/bad/main.py").write_text(CODE.format(body=f"{body}; open({str(tmp_path / 'there')!r}, 'w')"
                                                                  if body in CHILDREN.values() else body))  # fmt: skip
        (tmp_path / "corec_config.json").write_text(json.dumps({"instance_id": "t", "bloques": [{"id": "s", "canal": 1, "entidades": 10}]}))
        words = ["run", "--config", tmp_path, "--plugins", tmp_path / "plugins", "--data", tmp_path / "data"]
        process = subprocess.Popen([sys.executable, "-m", "corec", *words], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   text=True, start_new_session=True)  # fmt: skip
        groups.append(process.pid)
        assert any("Inicializado" in line for line in process.stderr)
        return process

    yield start
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


@pytest.mark.parametrize("body", BUSY.values(), ids=BUSY)
def test_a_node_stops_within_a_second(node, tmp_path, body):
    # Given a node whose plugin is at it
    process = node(body)
    time.sleep(3.0)
    # When it is asked to stop, then it has stopped within a second, cleanly
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert time.monotonic() - began < 1.0 + SLACK_S


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
@pytest.mark.parametrize("body", CHILDREN.values(), ids=CHILDREN)
def test_children_of_plugins_do_not_keep_the_data_folder(node, tmp_path, body, how):
    # Given a node whose plugin has forked children that go on
    process = node(body)
    while not (tmp_path / "there").exists():
        time.sleep(0.05)
    # When it ends
    process.send_signal(how)
    process.wait(30)
    # Then its folder is free at once
    DataFolder(tmp_path / "data").close()


def test_a_child_that_is_forked_has_no_lock_and_takes_none_away(tmp_path):
    # Given a folder that is open, and a child that is forked, tells what it has, and closes its copy
    folder = DataFolder(tmp_path)
    read, write = os.pipe()
    if not os.fork():
        try:
            folder.close()
            os.write(write, b"%d" % folder._lock.fd)
        finally:
            os._exit(0)
    os.close(write)
    os.wait()
    # Then the child had none, and the folder is still this process's
    assert os.read(read, 10) == b"-1"
    with pytest.raises(Exception, match="is using"):
        DataFolder(tmp_path)
    folder.close()
    assert isinstance(folder._lock, FileLock) and folder._lock.fd == -1
