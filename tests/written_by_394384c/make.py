"""Makes what tests/storage/test_written_before.py opens: what a node of commit 394384c leaves behind.

    git worktree add ../old 394384c && cd ../old && make .venv/.test-extras
    .venv/bin/python MAKE.PY FOLDER [VARIANT ...]

Run it in a checkout of 394384c: it is that commit's code that writes.  It needs redis-server, PostgreSQL with pg_dump, and gcc.
FOLDER gets one VARIANT.tar.xz for each of `VARIANTS`, which holds

    corec_config.json   the node's configuration, with addresses that a test replaces
    data/               its data folder
    server.json         with Redis: every key of the server, to be put back by plain commands
    dump.sql            with PostgreSQL: the database, as statements that any client can send
    expected.json       what was committed then, and (`after`) what 394384c itself made of it when it was started again; rows of a
                        later time than `exact_before` depend on what comes first to a node on Redis

Readings have fixed times on 1 January 2025, and so has the node's clock, so that no later start finds them ahead of it.  Ids of Redis
count from that day too, but run with the time that making takes; the node's id and PostgreSQL's own moments are of when it was made.
"""
import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, os.getcwd())

import numpy as np
from corec.storage.opening import open_reader

from corec._core.wire import encode_frames, pack_envelope
from corec.blocks import BloqueSimbiotico
from corec.config import parse
from corec.entities import crear_entidad
from corec.nucleus import CoreCNucleus
from corec.streams import journal

VARIANTS = ("embedded-clean", "embedded-killed", "redis-clean", "redis-killed", "postgres-clean", "postgres-killed")
T0 = 1_735_689_600_000
DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS
#: The server's clock begins here: behind the times of all readings that are folded before the kill.
REDIS_T0 = T0 + 600_000
UNTIL = 4_000_000_000_000   # of mutes: the year 2096

PLAIN = {"ventana": 10, "filtro": {"carga": 0}}    # what leaves as a message does not depend on how busy the machine was
CONFIG = {
    "instance_id": "old1", "max_skew": 315_360_000, "retraso_max": 5, "max_disk_mb": 1, "retencion_dias": 36_500,
    "modules": ["registro", "auditoria"], "auditoria": {"ventanas": 16},
    "bloques": [
        {"id": "salas", "canal": 1, "entidades": 1500, "entidades_por_bloque": 500, "limites": {"bajo": 0, "alto": 60}, **PLAIN},
        {"id": "puertas", "canal": 2, "entidades": 100, "entidades_por_bloque": 50, "ids": 50_000, "silencio_max": 60, **PLAIN},
        {"id": "bombas", "canal": 4, "entidades": 400, "limites": {"alto": 60}, **PLAIN},
    ],
}  # fmt: skip
SALAS, PUERTAS, BOMBAS = np.arange(1500), np.arange(50_000, 50_100), np.arange(1500, 1900)
NAMES = ["norte", "sur", "este"]
REGISTERED = 2**31
#: Entities whose last value is noted: heard before the snapshot, behind it, and in what was not folded.
NOTED = (0, 7, 1003, 1499, 1500, 50_001, 50_099, REGISTERED, REGISTERED + 1)

# A clock of the past for redis-server: it runs on from the ms in START_MS.
CLOCK = """
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
int gettimeofday(struct timeval *t, void *zone) {
    static long long start, began;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long long us = now.tv_sec * 1000000LL + now.tv_nsec / 1000;
    if (!start) { start = atoll(getenv("START_MS")) * 1000; began = us; }
    us += start - began;
    t->tv_sec = us / 1000000; t->tv_usec = us % 1000000;
    return 0;
}
"""


def until(condition, seconds=30.0):
    """Wait for *condition*."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.01)


# --- the node, in a process of its own -------------------------------------------------------------


class Story:
    """What a node lives through.  Its clock moves only here."""

    def __init__(self, config, data, start):
        self.now, self.sent, self.put_aside = start, 0, 0
        time.time_ns = lambda: self.now * 1_000_000
        journal.LEAST_FILES = 256   # so that little data fills several files
        self.nucleus = CoreCNucleus(parse(config), data=data, with_sources=False)
        self.nucleus.start()

    def say(self, ids, values, canal, *, states=True, after=1000, time=None):
        """Readings, *after* ms later, or of a *time* of their own; returns once they are accepted."""
        self.now += after
        frames = encode_frames(np.asarray(ids, np.uint32), canal, values, states)
        self.nucleus.submit(frames, time=self.now if time is None else time).result(30)
        self.sent += len(frames) // 10

    def raw(self, payload, readings):
        """An envelope as a device made it."""
        if self.nucleus.redis:
            self.redis.xadd("{s00}:in", {"m": payload})
        else:
            self.nucleus.committer.submit(payload, self.now, readings=readings).result(30)
        self.sent += readings

    @property
    def redis(self):
        """A client of the node's server."""
        import redis

        server = self.nucleus.config.redis_config
        return redis.Redis(host=server.host, port=server.port)

    def settle(self):
        """Until all that was said is committed."""
        until(lambda: self.nucleus.store.state.ledger.get("in", 0) == self.sent == self.nucleus.engine.ledger["in"])

    def order(self, op, **what):
        """A command."""
        self.settle()
        self.nucleus.command({"op": op} | what)

    def shed(self, frames):
        """Readings that there is no room for."""
        self.nucleus.shed(frames)
        self.nucleus.wait(0.05)
        self.sent += len(frames) // 10
        self.settle()

    def everybody(self, step, after=1000):
        """A reading of each entity; few different values, so that files pack well."""
        for ids, canal in ((SALAS, 1), (PUERTAS, 2), (BOMBAS, 4)):
            self.say(ids, 20.0 + ids % 8 + step, canal, after=after)


def live(story):
    """Fusions, an undo, mutes, a repair, a registered block, alerts, each cause of the ledger, two snapshots, turns behind them."""
    nucleus = story.nucleus
    story.everybody(0)
    story.everybody(5)
    horno = BloqueSimbiotico("horno", 4, [crear_entidad(name, 4, lambda: 1.5) for name in NAMES])
    nucleus.modulos["registro"].bloques["horno"] = horno
    asyncio.run(horno.procesar(0.0))
    story.sent += len(NAMES)
    story.settle()
    for _ in range(8):
        story.say(np.arange(10, 20), np.nan, 1, states=False)
    story.order("repair", block="salas/0", why="ten sensors failed")
    story.order("fuse", block="salas/2", host="salas/0", force=True, why="few of them speak")
    story.order("mute", entity=1003, until=UNTIL, why="is being replaced")
    story.order("mute", block="bombas/0", until=UNTIL, why="pumps are being painted")
    story.settle()
    with nucleus.store.reader() as reader:
        first = reader.numbered_alerts()[0]
    story.order("ack", alerts={f"{first['turn']}.{first['row']}": nucleus.engine.block_ids[first["block"]]}, why="a window was open")
    nucleus.pipeline.take_snapshot()

    story.say([3, 1003], 200.0, 1, after=15_000)    # told, and muted
    story.say([1600], 200.0, 4)
    story.order("fuse", block="puertas/1", host="puertas/0", force=True)
    story.order("undo", block="puertas/1", why="a mistake")
    story.everybody(2)
    device = pack_envelope(encode_frames([1, 2, 3], 1, 21.0, True), producer=77, epoch=1, sequence=0, time=story.now)
    story.raw(device, 3)
    story.settle()
    nucleus.pipeline.take_snapshot()

    story.raw(device, 3)                            # repeated
    story.say([1, 2], 20.0, 9)                      # no channel of theirs
    story.say([900_000], 20.0, 1)                   # nobody's id
    story.say([4, 5, 6], 20.0, 1, after=0, time=T0 - 11 * YEAR_MS)      # skew
    story.say([4, 5], 20.0, 1, after=0, time=T0 - 60_000)               # late
    story.now += 1000
    whole = encode_frames([8, 9], 1, 20.0, True)
    nucleus.submit(whole[:19] + b"\2", time=story.now).result(30)       # the second is malformed
    story.sent += 2
    story.shed(encode_frames(np.arange(20), 1, 20.0, True))
    story.everybody(9, after=5000)
    story.say([7, 1499], 33.0, 1)
    asyncio.run(horno.procesar(0.0))
    story.sent += len(NAMES)
    story.settle()


def hold(story):
    """From here on nothing is folded."""
    pipeline = story.nucleus.pipeline
    pipeline.step = lambda: time.sleep(0.02)
    time.sleep(0.2)
    assert pipeline._record is None and story.nucleus.store.state.ledger["in"] == story.sent


def leave_unfolded(story):
    """Batches in the journal: of all entities, with an alert, a repeat and a wrong channel."""
    before = story.sent
    for step in (1, 6):
        story.everybody(step)
    story.raw(pack_envelope(encode_frames([1, 2, 3], 1, 21.0, True), producer=77, epoch=1, sequence=0, time=story.now), 3)
    story.say([0, 1003], 300.0, 1)
    story.say([50_001], 30.0, 2)
    story.say([1500], 30.0, 3)
    story.say([REGISTERED + 1], 2.5, 4)
    return {"readings": story.sent - before, "new": story.sent - before - 3}


def leave_on_the_way(story):
    """On Redis: batches in the spool, on the fast stream, and in the tail alone."""
    before, side = story.sent, story.nucleus.redis
    seconds, micros = story.redis.time()
    story.now = seconds * 1000 + micros // 1000
    reader = side.intake.reader
    reader.ahead_bytes = 0      # nothing is read ahead: what nobody takes for two seconds goes to the spool
    time.sleep(0.5)
    story.say(SALAS, 20.0 + SALAS % 8 + 1, 1)
    story.say([0, 1003], 300.0, 1, after=10)
    until(lambda: reader.spool.waiting)
    time.sleep(0.5)
    story.say(PUERTAS, 30.0, 2, after=10)
    assert side.publisher.flush(10)
    side.publisher.sender.stop()
    story.say(BOMBAS, 20.0 + BOMBAS % 8 + 1, 4, after=10)
    story.say([REGISTERED + 1], 2.5, 4, after=10)
    return {"readings": story.sent - before, "new": story.sent - before}


def run_node(config_file, data, ending):
    """The process that is stopped or killed; it tells what it stood at."""
    story = Story(json.loads(Path(config_file).read_text()), Path(data), T0)
    nucleus = story.nucleus
    live(story)
    if nucleus.redis:
        until(lambda: nucleus.redis.publisher.tail.done == nucleus.redis.publisher.tail.last)
    engine, unfolded = nucleus.engine, {"readings": 0, "new": 0}
    found = {
        "fusions": [[engine.block_ids[fusion.block], engine.block_ids[fusion.host]] for fusion in engine.fusions],
        "mutes": [[mute.subject, mute.until, mute.why] for mute in engine.mutes],
        "names": list(nucleus.block_names("horno")), "entities": values_of(engine), "shed_by": engine.shed_by,
    }  # fmt: skip
    if ending == "killed":
        hold(story)
        unfolded = leave_on_the_way(story) if nucleus.redis else leave_unfolded(story)
    else:
        nucleus.stop()
    print(json.dumps(found | {"unfolded": unfolded}), flush=True)
    sys.stdin.read()


def values_of(engine):
    """The last value of some entities."""
    return {str(id): float(engine.entity(id)["valor"]) for id in NOTED}


def run_again(config_file, data, wanted):
    """What 394384c makes of it: all that was accepted folded, all windows closed.  wanted: readings that are no repeats."""
    story = Story(json.loads(Path(config_file).read_text()), Path(data), T0 + YEAR_MS)
    nucleus = story.nucleus
    until(lambda: nucleus.pipeline.pending == 0 and new_readings(nucleus.store.state.ledger) == int(wanted))
    if nucleus.redis:
        time.sleep(1.0)     # what comes again is counted too
    nucleus.command({"op": "finish"})
    with nucleus.store.reader() as reader:
        rows = minutes_of(reader)
    print(json.dumps({"ledger": nucleus.store.state.ledger, "rows": rows, "entities": values_of(nucleus.engine)}), flush=True)
    nucleus.stop()


def new_readings(ledger):
    """Readings that came, each once."""
    return ledger["in"] - ledger["rejected_repeated"]


def minutes_of(reader):
    """[minute, block, count, errors, messages, mean, min, max] of all rows."""
    return [[int(row["window"]), int(row["block"]), int(row["count"]), int(row["errors"]), int(row["messages"]),
             *(None if np.isnan(row[name]) else round(float(row[name]), 3) for name in ("mean", "min", "max"))]
            for row in reader.history(resolution="minute")]  # fmt: skip


# --- what is kept of it ----------------------------------------------------------------------------


def send_from_outside(client):
    """Entries that a node which is gone has not read: on its streams and on the bare stream; how many readings."""
    device = pack_envelope(encode_frames(np.arange(100, 140), 1, 44.0, True), producer=78, epoch=1, sequence=0, time=now_at(client))
    client.xadd("{s00}:in", {"m": device})
    for id in (1, 2, 3):
        client.xadd("{s00}:in", {"m": encode_frames([id], 1, 45.0, True)})
        client.xadd("{s00}:fast", {"m": encode_frames([50_010 + id], 2, 45.0, True)})
        client.xadd("corec:in", {"m": encode_frames([200 + id], 1, 46.0, True)})
    both = encode_frames([300, 50_020], np.array([1, 2]), 47.0, True)
    client.xadd("corec:in", {"m": pack_envelope(both, producer=79, epoch=1, sequence=0, time=now_at(client))})
    return 40 + 3 * 3 + 2


def now_at(client):
    """The server's clock, ms."""
    seconds, micros = client.time()
    return seconds * 1000 + micros // 1000


def redis_content(client):
    """Every key, by its type."""
    found = {"stream": {}, "hash": {}, "string": {}}
    for key in sorted(client.keys()):
        kind = client.type(key).decode()
        found[kind][key.decode()] = {"stream": _stream, "hash": _hash, "string": _string}[kind](client, key)
    return found


def _text(value):
    return base64.b64encode(value).decode()


def _stream(client, key):
    info = {name.decode() if isinstance(name, bytes) else name: value for name, value in client.xinfo_stream(key).items()}
    entries = [[id.decode(), {_text(name): _text(value) for name, value in fields.items()}] for id, fields in client.xrange(key)]
    return {"entries": entries, "last": info["last-generated-id"].decode(), "added": info["entries-added"],
            "deleted": info["max-deleted-entry-id"].decode()}  # fmt: skip


def _hash(client, key):
    return {_text(name): _text(value) for name, value in sorted(client.hgetall(key).items())}


def _string(client, key):
    left = client.pttl(key)
    return {"value": _text(client.get(key)), "left_ms": left if left > 0 else None}


def dumped(server, database):
    """A database as SQL for PostgreSQL 14 to 18, without what only psql or a newer server knows."""
    command = [server.bin / "pg_dump", "-h", server.host, "-p", str(server.port), "-U", server.user, "--rows-per-insert=500",
               "--no-owner", "--no-privileges", database]  # fmt: skip
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    kept = [line for line in text.splitlines() if line and not line.startswith(("--", "\\", "SET transaction_timeout"))]
    return "\n".join(kept) + "\n"


def committed(config, data):
    """What the store holds, read from a copy: reading a folder at rest changes it."""
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(data, Path(scratch) / "data", ignore=shutil.ignore_patterns("*.sock"))
        with open_reader(parse(config), Path(scratch) / "data") as reader:
            state, history = reader.state, reader.history()
            outbox, per_block = reader.outbox_behind(0, 100_000), {}
            for row in history:
                name = str(int(row["block"]))
                rows, readings = per_block.get(name, (0, 0))
                per_block[name] = (rows + 1, readings + int(row["count"]) + int(row["errors"]))
            return {
                "turn": state.turn, "offset": state.offset, "ledger": dict(state.ledger),
                "blocks": [block.id for block in reader.blocks()], "rows_and_readings": per_block,
                "count": int(history["count"].sum()), "errors": int(history["errors"].sum()),
                "alerts": alerts_of(reader),
                "happenings": sorted([each.turn, each.row, each.what, each.block, each.reason, each.subject]
                                     for each in reader.happenings()),
                "late": [[batch.cause, len(batch.frames) // 10] for batch in reader.late()], "outbox": outbox[-1][0],
                "snapshots": [turn for turn, _, _ in reader.snapshots()],
            }  # fmt: skip


def alerts_of(reader):
    """[turn, row, time, id, kind] of all; on PostgreSQL 394384c writes the kind of a muted one less 256, and cannot read it back."""
    if hasattr(reader, "session"):
        rows = reader._query('SELECT turn, row, (extract(epoch FROM "timestamp") * 1000)::bigint, id, (kind + 256) %% 256 FROM alerts'
                             " WHERE instance_id = %s AND shard = %s")  # fmt: skip
    else:
        rows = reader.numbered_alerts()[["turn", "row", "time", "id", "kind"]].tolist()
    return sorted(map(list, rows))


@contextmanager
def old_redis(folder):
    """A server whose clock begins at REDIS_T0."""
    from tests.servers import redis as servers

    (folder / "clock.c").write_text(CLOCK)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", folder / "clock.so", folder / "clock.c"], check=True)
    os.environ |= {"LD_PRELOAD": str(folder / "clock.so"), "START_MS": str(REDIS_T0)}
    try:
        server = servers.Server(servers.binary(), folder / "redis")
        server.start()
    finally:
        del os.environ["LD_PRELOAD"]
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def new_database():
    """(server, name of an empty database)."""
    from tests.servers import postgres as servers

    with servers.running() as server:
        yield server, server.new_database()


def child(*words):
    """This script as a node."""
    return subprocess.Popen([sys.executable, __file__, *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                            start_new_session=True)  # fmt: skip


def make(variant, out):
    """One variant, packed."""
    kind, ending = variant.split("-")
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        work.chmod(0o755)
        kept, data, config = work / variant, work / "data", dict(CONFIG)
        kept.mkdir()
        if kind == "redis":
            redis = stack.enter_context(old_redis(work))
            config["redis_config"] = redis.section
        if kind == "postgres":
            postgres, name = stack.enter_context(new_database())
            config["db_config"] = {key: value for key, value in postgres.address(name).items() if key != "password"}
        (work / "config.json").write_text(json.dumps(config))
        found = live_and_end(work, data, ending)
        if kind == "redis" and ending == "killed":
            more = send_from_outside(redis.client())
            found["unfolded"] = {name: readings + more for name, readings in found["unfolded"].items()}
        shutil.copytree(data, kept / "data", ignore=shutil.ignore_patterns("*.sock"))
        if kind == "redis":
            (kept / "server.json").write_text(json.dumps(redis_content(redis.client()), indent=0))
        if kind == "postgres":
            (kept / "dump.sql").write_text(dumped(postgres, name))
        found = committed(config, kept / "data") | found | {"exact_before": REDIS_T0 if variant == "redis-killed" else T0 + DAY_MS}
        again = child("--again", work / "config.json", data, new_readings(found["ledger"]) + found["unfolded"]["new"])
        found["after"] = json.loads(again.communicate(timeout=60)[0])
        addresses = {"redis": {"redis_config": {"host": "localhost", "port": 6379}},
                     "postgres": {"db_config": {"host": "localhost", "dbname": "corec_db"}}}  # fmt: skip
        (kept / "corec_config.json").write_text(json.dumps(CONFIG | addresses.get(kind, {}), indent=2) + "\n")
        (kept / "expected.json").write_text(json.dumps(found, separators=(",", ":")) + "\n")
        pack(kept, out / f"{variant}.tar.xz")


def live_and_end(work, data, ending):
    """A node's life; what it said of itself before it ended."""
    node = child("--node", work / "config.json", data, ending)
    said = node.stdout.readline()
    if ending == "killed":
        os.killpg(node.pid, signal.SIGKILL)
    node.stdin.close()
    code = node.wait(60)
    assert said and code == (-signal.SIGKILL if ending == "killed" else 0), (said, code)
    return json.loads(said)


def pack(folder, file):
    """The content of *folder*, without whose it was and when."""
    def plain(member):
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        return member

    with tarfile.open(file, "w:xz", preset=9) as packed:
        for path in sorted(folder.iterdir()):
            packed.add(path, path.name, filter=plain)
    print(f"{file.name}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    first, *rest = sys.argv[1:]
    if first in ("--node", "--again"):
        try:
            {"--node": run_node, "--again": run_again}[first](*rest)
        except BaseException:
            traceback.print_exc()
            os._exit(1)     # a node's threads would keep the process
    else:
        Path(first).mkdir(parents=True, exist_ok=True)
        for each in rest or VARIANTS:
            make(each, Path(first))
