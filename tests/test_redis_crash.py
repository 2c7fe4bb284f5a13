"""kill -9 of a node on Redis at random moments, under load from senders that live on.

Then everything that the senders know to be safe is in the node's count, once, and the committed rows are what the oracle
makes of the streams under the turn records.
"""
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.crash import evidence, redis_evidence
from tests.crash.redis_load import Load
from tests.oracle import Oracle
from tests.test_crash import CONFIG, rounded

pytest_plugins = ["tests.servers.redis"]

KILLS = 300 if os.environ.get("COREC_CHAOS") else 20
ROOT = Path(__file__).parent.parent
STREAMS = ("{s00}:fast", "{s00}:in")


class Node:
    """The process on a folder."""

    def __init__(self, folder: Path, seed: object = "quiet") -> None:
        command = [sys.executable, "-m", "tests.crash.redis_node", folder / "config.json", folder / "data", str(seed)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                         stderr=open(folder / "log", "a"))  # fmt: skip
        first = self._process.stdout.readline()
        assert first == "running\n", (first, (folder / "log").read_text()[-3000:])

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
        assert self._process.wait(20) == 0
        self._process.stdout.close()
        return last


def settled(node: Node, client, seconds: float = 30) -> dict:
    """Wait until the node has committed everything that the streams hold; what it says then."""
    newest = {stream: client.xinfo_stream(stream)["last-generated-id"].decode() for stream in STREAMS if client.exists(stream)}
    end = time.monotonic() + seconds
    while True:
        said = node.ask()
        if {stream: place.split()[0] for stream, place in said["cursor"].items()} == newest or time.monotonic() > end:
            return said
        time.sleep(0.1)


def config_on(server, folder: Path) -> dict:
    config = CONFIG | {"redis_config": server.section, "conservar_diario_mb": 4096}
    (folder / "config.json").write_text(json.dumps(config))
    return config


@pytest.fixture(scope="module")
def aftermath(shared_redis, tmp_path_factory):
    """(folder, streams, readings sent, last words) after all kills."""
    folder, dice = tmp_path_factory.mktemp("redis-crash"), random.Random(int(os.environ.get("COREC_SEED", "1")))
    client = shared_redis.client()
    client.flushall()
    config = config_on(shared_redis, folder)
    loads = [Load(config, folder / "tails" / name, name, seed, pause=1.0) for seed, name in enumerate(("one", "two"), 5)]
    for load in loads:
        load.start()
    bare = 0
    for _ in range(KILLS):
        node, until = Node(folder, dice.randrange(10**6)), time.monotonic() + dice.random() * 0.6
        while time.monotonic() < until:
            client.xadd("{s00}:in", {"m": redis_evidence.bare(dice.randrange(4500), 1, dice.random())})
            bare += 1
            time.sleep(0.001)
        node.kill()
    for load in loads:
        load.finish()
    node = Node(folder)
    sent = bare + sum(load.readings for load in loads)
    settled(node, client)
    last = node.stop()
    yield folder, redis_evidence.read_streams(client, STREAMS), sent, last
    client.flushall()


def test_everything_sent_is_there_and_was_read_once(aftermath):
    # Given what senders know to be safe
    folder, streams, sent, last = aftermath
    # Then it is on Redis, and what is there twice has the same number
    numbered, bare, repeats = counted(streams)
    assert sum(numbered.values()) + bare == sent > 10_000
    # And the node has read every entry once, in order, and dropped the repeats
    turns = evidence.read_turns(folder / "data" / "store.db")
    for stream, rows in streams.items():
        notes = [command for turn in turns for command in turn["commands"] if command["op"] == "read"]
        runs = [run for note in notes for run in note["runs"] if run[0] == stream]
        ids = [redis_evidence.number(id) for run in runs for id in run[1:3]]
        assert ids == sorted(ids)
        assert sum(run[3] for run in runs) == len(rows)
    assert last["ledger"]["rejected_repeated"] == repeats
    assert (last["gaps"], last["pending"]) == (0, 0)


def counted(streams) -> tuple[dict[tuple, int], int, int]:
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


def test_rows_are_what_the_oracle_makes_of_the_streams(aftermath):
    # Given what was read, as turn records say, and what stands on Redis
    folder, streams, _, last = aftermath
    turns = evidence.read_turns(folder / "data" / "store.db")
    oracle, expected = Oracle(CONFIG), []
    # When the oracle folds it
    for turn in turns:
        made = oracle.turn(redis_evidence.batches_of(turn, streams), load_q=turn["load_q"],
                           commands=[command for command in turn["commands"] if command["op"] != "read"], tick=turn["tick"])
        expected.extend((turn["turn"], *row) for row in sorted(made.rows, key=lambda row: (row[2], row[0])))
    # Then the committed rows are its rows, none more, none less
    committed = evidence.read_rows(folder / "data" / "store.db")
    assert len(committed) > 100
    assert [rounded(row) for row in committed] == [rounded(row) for row in expected]
    assert last["ledger"] == oracle.ledger
    # And critical channels were read from both streams in one order that replay gave back
    assert {run[0] for turn in turns for command in turn["commands"] if command["op"] == "read" for run in command["runs"]} == set(STREAMS)
