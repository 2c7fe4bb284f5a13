"""Makes what tests/storage/test_written_by_version_2.py opens: what a killed node of commit bb9dcda leaves behind.

    git worktree add ../old bb9dcda && cd ../old && make .venv/.test-extras
    .venv/bin/python MAKE.PY FOLDER

Run it in a checkout of bb9dcda: it is that commit's code that writes.  FOLDER gets embedded-killed.tar.xz, which holds

    corec_config.json   the node's configuration
    data/               its data folder: a snapshot of version 2, and committed turns behind it
    expected.json       what the node stood at when it was killed

Its entities have so many readings that the step of their slow clock, and with it what leaves as a message, depends on the rules of then.
Readings have fixed times on 1 January 2025, and so has the node's clock.
"""
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

sys.path.insert(0, os.getcwd())

import numpy as np

from corec._core.wire import encode_frames
from corec.common.clock import Clock
from corec.config import parse
from corec.nucleus import CoreCNucleus

T0 = 1_735_689_600_000
SENSORS, BEFORE, BEHIND = 40, 500, 100
CONFIG = {
    "instance_id": "old2", "retraso_max": 1, "retencion_dias": 36_500, "max_skew": 315_360_000,
    "modules": ["registro", "auditoria"], "auditoria": {"ventanas": 16},
    "bloques": [{"id": "salas", "canal": 1, "entidades": SENSORS, "ventana": 1, "filtro": {"carga": 0}}],
}  # fmt: skip


class Past(Clock):
    """A clock that moves only by what is said."""

    now = T0

    def wall_ms(self):
        return self.now

    def wall_us(self):
        return self.now * 1000

    def boot_ms(self):
        return self.now - T0 + 1000


def values(second):
    """float32[SENSORS]: integers that no library has a say in."""
    x = (np.arange(SENSORS, dtype=np.uint64) + np.uint64(SENSORS * second)) * np.uint64(0x9E3779B97F4A7C15)
    return ((x >> np.uint64(40)) % np.uint64(32)).astype(np.float32)


def until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.01)


def live(data):
    """The process that is killed; it prints what it stood at."""
    clock = Past()
    nucleus = CoreCNucleus(parse(CONFIG), data=data, with_sources=False, clock=clock)
    nucleus.start()
    for second in range(BEFORE + BEHIND):
        clock.now = T0 + 1000 * second
        nucleus.submit(encode_frames(np.arange(SENSORS), 1, values(second), True), time=clock.now).result(30)
        if second == BEFORE:
            until(lambda: nucleus.store.state.ledger["in"] == SENSORS * (BEFORE + 1))
            nucleus.pipeline.take_snapshot()
    until(lambda: nucleus.store.state.ledger["in"] == SENSORS * (BEFORE + BEHIND))
    entities = {str(id): nucleus.engine.entity(id) for id in range(SENSORS)}
    print(json.dumps({"ledger": nucleus.store.state.ledger, "turn": nucleus.store_turn, "entities": entities}), flush=True)
    sys.stdin.read()


def make(out):
    with tempfile.TemporaryDirectory() as scratch:
        kept = Path(scratch)
        command = [sys.executable, __file__, "--node", kept / "data"]
        node = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        expected = node.stdout.readline()
        node.send_signal(signal.SIGKILL)
        node.wait(60)
        (kept / "expected.json").write_text(expected)
        (kept / "corec_config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
        with tarfile.open(out / "embedded-killed.tar.xz", "w:xz", preset=9) as packed:
            for name in ("corec_config.json", "data", "expected.json"):
                packed.add(kept / name, name, filter=plain)


def plain(member):
    """A member without whose it was and when."""
    if member.name.endswith(".sock"):
        return None
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    if sys.argv[1] == "--node":
        live(sys.argv[2])
    else:
        make(Path(sys.argv[1]))
