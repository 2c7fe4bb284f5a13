"""A node on Redis that is killed again and again, while senders live on; and what must have become of what they sent."""
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.support.crash import redis_evidence
from tests.support.crash.forks import Forks
from tests.support.crash.kills import lives
from tests.support.crash.redis_load import Load
from tests.support.paths import ROOT

STREAMS = ("{s00}:fast", "{s00}:in")


class Node:
    """The process on a folder, without commands."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "tests.support.crash.redis_node", folder / "config.json", folder / "data", "quiet"]
        with open(folder / "log", "a") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, stderr=log)
        first = self._process.stdout.readline()
        if first != "running\n":
            self.kill()
            raise AssertionError((first, (folder / "log").read_text()[-3000:]))

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def ask(self) -> dict:
        """What it says of itself."""
        print("?", file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def stop(self) -> dict:
        """End it cleanly; its last words."""
        self._process.stdin.close()
        last = json.loads(self._process.stdout.read().splitlines()[-1])
        assert self._process.wait(60) == 0
        self._process.stdout.close()
        return last


class Aftermath(NamedTuple):
    """What is left after all kills and one clean stop."""

    streams: dict[str, list[tuple[bytes, bytes]]]
    sent: int  # readings
    last: dict  # what the node said last


def kill_often(server, folder: Path, config: dict, kills: int, seed: int, enough: Callable[[], bool] = lambda: True) -> Aftermath:
    """Start, let work, kill, with two publishers and bare frames on the way; *folder*: of the node and of what the senders keep."""
    dice, client = random.Random(seed), server.client()
    (folder / "config.json").write_text(json.dumps(config))
    loads = [Load(config, folder / "tails" / name, name, seed, pause=1.0) for seed, name in enumerate(("one", "two"), 5)]
    for load in loads:
        load.start()
    try:
        with Forks("tests.support.crash.redis_node", folder / "log") as forks:
            bare = sum(_one_life(forks, folder, client, dice) for _ in lives(kills, enough))
    finally:
        for load in loads:
            load.finish()
    node = Node(folder)
    try:
        _settle(node, client)
        last = node.stop()
    finally:
        node.kill()
    return Aftermath(redis_evidence.read_streams(client, STREAMS), bare + sum(load.readings for load in loads), last)


def _one_life(forks: Forks, folder: Path, client, dice: random.Random) -> int:
    """How many bare frames were sent meanwhile."""
    node = forks.start(folder / "config.json", folder / "data", dice.randrange(10**6))
    until, bare = time.monotonic() + dice.random() * 0.6, 0
    try:
        while time.monotonic() < until:
            client.xadd("{s00}:in", {"m": redis_evidence.bare(dice.randrange(4500), 1, dice.random())})
            bare += 1
            time.sleep(0.001)
    finally:
        forks.kill(node)
    return bare


def _settle(node: Node, client, seconds: float = 120) -> None:
    """Wait until the node has committed everything that the streams hold."""
    newest = {stream: client.xinfo_stream(stream)["last-generated-id"].decode() for stream in STREAMS if client.exists(stream)}
    end = time.monotonic() + seconds
    while {stream: place.split()[0] for stream, place in node.ask()["cursor"].items()} != newest and time.monotonic() < end:
        time.sleep(0.1)


def assert_read_once(found: Aftermath, turns: list[dict]) -> None:
    """Everything sent is on Redis, repeats under their own numbers, and turn records read every entry once and in order."""
    numbered, bare, repeats = _counted(found.streams)
    assert sum(numbered.values()) + bare == found.sent > 10_000
    for stream, rows in found.streams.items():
        runs = [run for run in _runs(turns) if run[0] == stream]
        ids = [redis_evidence.number(id) for run in runs for id in run[1:3]]
        assert ids == sorted(ids)
        assert sum(run[3] for run in runs) == len(rows)
    assert found.last["ledger"]["rejected_repeated"] == repeats
    assert (found.last["gaps"], found.last["pending"]) == (0, 0)
    assert {run[0] for run in _runs(turns)} == set(STREAMS)


def _runs(turns: list[dict]) -> list[list]:
    return [run for turn in turns for command in turn["commands"] if command["op"] == "read" for run in command["runs"]]


def _counted(streams) -> tuple[dict[tuple, int], int, int]:
    """({(producer, epoch, sequence): readings}, bare frames, readings that are there again)."""
    numbered, bare, repeats = {}, 0, 0
    for _, payload in (row for rows in streams.values() for row in rows):
        if len(payload) == 10:
            bare += 1
            continue
        batch = redis_evidence.read_envelope(payload)
        key, count = (batch.producer, batch.epoch, batch.sequence), len(batch.frames) // 10
        repeats += count if key in numbered else 0
        assert numbered.setdefault(key, count) == count
    return numbered, bare, repeats
