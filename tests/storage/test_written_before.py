"""What commit 394384c wrote is opened by this code and goes on: data folders, what was on Redis, a database in PostgreSQL.

`tests/written_by_394384c/` holds it, with the script that made it: of a node that was stopped, and of one that was killed with committed
turns behind its snapshot and accepted readings that it had not folded.  All of it is of 1 January 2025, so a start lets months pass at
once: windows close, sensors fall silent.
"""
import asyncio
import base64
import json
import struct
import tarfile
import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from corec.blocks import BloqueSimbiotico
from corec.config import parse
from corec.entities import crear_entidad
from corec.nucleus import CoreCNucleus

pytestmark = pytest.mark.slow


PLACE = Path(__file__).parent.parent / "written_by_394384c"
VARIANTS = [f"{kind}-{ending}" for kind in ("embedded", "redis", "postgres") for ending in ("clean", "killed")]
PARTS = ("stored", "filtered", "late", "shed", "rejected")
CAUSES = ("malformed", "channel", "id", "skew")
#: The first wire id of the block that a program registered; its entities are norte, sur, este.
REGISTERED = 2**31


class Written(NamedTuple):
    """One variant, put where a node finds it."""

    name: str
    config: dict[str, Any]
    data: Path
    expected: dict[str, Any]
    redis: Any  # a client of its server, or None

    @property
    def accepted(self) -> int:
        """Readings that were accepted, each once."""
        return new_readings(self.expected["ledger"]) + self.expected["unfolded"]["new"]


@pytest.fixture(params=VARIANTS)
def written(request, tmp_path):
    with tarfile.open(PLACE / f"{request.param}.tar.xz") as packed:
        packed.extraction_filter = getattr(tarfile, "data_filter", None)     # before Python 3.11.4 there is none
        packed.extractall(tmp_path)
    config, expected = (json.loads((tmp_path / name).read_text()) for name in ("corec_config.json", "expected.json"))
    client = None
    if "redis_config" in config:
        server = request.getfixturevalue("redis_server")
        config["redis_config"], client = server.section, server.client()
        put_on_redis(client, json.loads((tmp_path / "server.json").read_text()))
    if "db_config" in config:
        config["db_config"] = request.getfixturevalue("database")
        with request.getfixturevalue("postgres").connected(config["db_config"]["dbname"]) as cursor:
            cursor.execute((tmp_path / "dump.sql").read_text())
    return Written(request.param, config, tmp_path / "data", expected, client)


def put_on_redis(client, content):
    """Every key as it was, by plain commands."""
    def plain(fields):
        return {base64.b64decode(name): base64.b64decode(value) for name, value in fields.items()}

    for key, fields in content["hash"].items():
        client.hset(key, mapping=plain(fields))
    for key, string in content["string"].items():
        client.set(key, base64.b64decode(string["value"]), px=string["left_ms"])
    for key, stream in content["stream"].items():
        for id, fields in stream["entries"]:
            client.xadd(key, plain(fields), id=id)
        if not stream["entries"]:
            client.xdel(key, client.xadd(key, {"m": b""}, id=stream["last"]))
        more = ("ENTRIESADDED", stream["added"], "MAXDELETEDID", stream["deleted"])
        client.execute_command("XSETID", key, stream["last"], *more if "entries-added" in client.xinfo_stream(key) else ())


#: Entities whose readings in the tail are older than what they had said: these count, but are not the latest value.
OLDER_THAN_KNOWN = {"redis-killed": {"1500": 33.0, str(REGISTERED + 1): 1.5}}


@contextmanager
def opened(written):
    """A node on it; its ledger is balanced when it stops."""
    nucleus = CoreCNucleus(parse(written.config), data=written.data, with_sources=False)
    nucleus.start()
    try:
        yield nucleus
    finally:
        nucleus.stop()
    ledger = nucleus.engine.ledger
    assert ledger["in"] == sum(ledger[part] for part in PARTS)


def until(condition, seconds=60.0):
    """Wait for *condition*; its last value."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return value


def new_readings(ledger):
    """Readings that came, each once: a publisher sends again what nobody told it is committed."""
    return ledger["in"] - ledger["rejected_repeated"]


def folded(nucleus, readings):
    """Whether so many are committed, or more."""
    return until(lambda: new_readings(nucleus.store.state.ledger) >= readings)


def send(nucleus, ids, value, canal):
    """Readings of now; how many, once they are durable."""
    frames = b"".join(struct.pack("!Ibf?", id, canal, value, True) for id in ids)
    nucleus.submit(frames, time=time.time_ns() // 1_000_000).result(60)
    return len(frames) // 10


def minutes_of(rows):
    """As `expected.json` has them."""
    return [[int(row["window"]), int(row["block"]), int(row["count"]), int(row["errors"]), int(row["messages"]),
             *(None if np.isnan(row[name]) else round(float(row[name]), 3) for name in ("mean", "min", "max"))]
            for row in rows]  # fmt: skip


def test_what_was_accepted_is_counted_once(written):
    expected, after = written.expected, written.expected["after"]["ledger"]
    # Given what a node left behind, when this code opens it
    with opened(written) as nucleus:
        # Then nothing is behind what was committed, and what was not folded is folded now
        assert nucleus.store_turn >= expected["turn"]
        assert folded(nucleus, written.accepted)
        ledger = nucleus.store.state.ledger
        if not written.redis:
            assert ledger == after
        # When further readings come, on both streams, and all windows close
        more = send(nucleus, range(100), 50.0, 1) + send(nucleus, range(50_000, 50_050), 50.0, 2)
        assert folded(nucleus, written.accepted + more)
        nucleus.command({"op": "finish"})
        ledger = nucleus.store.state.ledger
        with nucleus.store.reader() as reader:
            rows, turns, outbox = reader.history(resolution="minute"), list(reader.turns(0)), reader.outbox_behind(0, 100_000)
            late = [[batch.cause, len(batch.frames) // 10] for batch in reader.late()]
    # Then the ledger has gone on from where it was, to the unit
    assert ledger["in"] == sum(ledger[part] for part in PARTS)
    assert new_readings(ledger) == written.accepted + more
    assert [ledger[f"rejected_{cause}"] for cause in CAUSES] == [after[f"rejected_{cause}"] for cause in CAUSES]
    assert ledger["shed"] == after["shed"] and late == expected["late"]
    assert sum(ledger[part] for part in PARTS[:3]) == sum(after[part] for part in PARTS[:3]) + more
    # And each reading is in one row, and each row is what 394384c would have made
    assert int(rows["count"].sum() + rows["errors"].sum()) == ledger["stored"] + ledger["filtered"]
    exact = expected["exact_before"]
    assert minutes_of(rows[rows["window"] < exact]) == [row for row in expected["after"]["rows"] if row[0] < exact]
    # And each turn begins where the one before it ended
    assert all((one.turn + 1, one.to_offset) == (other.turn, other.from_offset) for one, other in pairwise(turns))
    assert {turn.turn: turn.to_offset for turn in turns}[expected["turn"]] == expected["offset"]
    # And each message left once
    assert [number for number, *_ in outbox] == list(range(1, len(outbox) + 1)) and len(outbox) > expected["outbox"]
    assert sum(len(frames) for _, stream, _, frames in outbox if "messages" in stream) == 10 * ledger["stored"]
    if written.redis:
        sent = [fields[b"m"] for key in written.redis.scan_iter("corec:messages:*") for _, fields in written.redis.xrange(key)]
        assert sum(map(len, sent)) == 10 * ledger["stored"]
    # When it is opened once more, then it stands where it stood
    with opened(written) as nucleus:
        assert new_readings(nucleus.store.state.ledger) == written.accepted + more


def test_what_stood_stands(written):
    expected = written.expected
    # Given what a node left behind, when this code opens it
    with opened(written) as nucleus:
        engine = nucleus.engine
        # Then fusions, mutes and the names of a registered block are there
        assert list(engine.block_ids) == expected["blocks"]
        assert [[engine.block_ids[fusion.block], engine.block_ids[fusion.host]] for fusion in engine.fusions] == expected["fusions"]
        assert [list(mute) for mute in engine.mutes] == expected["mutes"]
        assert list(nucleus.block_names("horno")) == expected["names"] == ["norte", "sur", "este"]
        assert nucleus.entity_name(REGISTERED + 1) == ("sur", "")
        with nucleus.store.reader() as reader:
            known = [[each.turn, each.row, each.what, each.block, each.reason, each.subject] for each in reader.happenings()]
        assert sorted(known)[: len(expected["happenings"])] == expected["happenings"]
        # And entities have received what was folded, and what was not
        assert folded(nucleus, written.accepted)
        values = expected["after"]["entities"] | OLDER_THAN_KNOWN.get(written.name, {})
        assert {id: float(engine.entity(int(id))["valor"]) for id in values} == values
        # When entities cross their limits, then no subscriber gets the alert of the muted block
        muted = nucleus.status()["alerts"]["muted"]
        send(nucleus, [1700], 500.0, 4)
        send(nucleus, [400], 500.0, 1)
        assert until(lambda: 400 in [alert["entity"] for alert in nucleus.status()["alerts"]["recent"]])
        assert until(lambda: nucleus.status()["alerts"]["muted"] == muted + 1)
        # When the fusion is undone, then the block has its entities again
        nucleus.command({"op": "undo", "block": "salas/2"})
        assert engine.fusions == []
        with nucleus.store.reader() as reader:
            assert {block.id: block.entities for block in reader.blocks("salas/*")} == {f"salas/{number}": 500 for number in range(3)}
        # When the registered block comes again, in another order, then its entities are found by name
        horno = BloqueSimbiotico("horno", 4, [crear_entidad(name, 4, lambda: 9.0) for name in ("este", "norte")])
        nucleus.modulos["registro"].bloques["horno"] = horno
        asyncio.run(horno.procesar(0.0))
        assert folded(nucleus, written.accepted + 4)
        sur = values[str(REGISTERED + 1)]
        assert [float(engine.entity(REGISTERED + place)["valor"]) for place in range(3)] == [9.0, sur, 9.0]


def test_alerts_are_there_once(written):
    expected = written.expected
    # Given what a node left behind, when this code opens it
    with opened(written) as nucleus:
        assert folded(nucleus, written.accepted)
        with nucleus.store.reader() as reader:
            alerts = reader.numbered_alerts()
    # Then the alerts that were committed are there, each once, muted ones among them, whose kind 394384c wrote to PostgreSQL less 256
    found = sorted(map(list, alerts[["turn", "row", "time", "id", "kind"]].tolist()))
    assert [alert for alert in found if alert[0] <= expected["turn"]] == expected["alerts"]
    # And what was not folded has raised its own
    told = [alert[3] for alert in found if alert[0] > expected["turn"] and alert[4] == 1]
    assert told == ([0] if expected["unfolded"]["readings"] else [])
