"""How each figure of the original documentation is measured: on real processes, from outside wherever that can be.

A measurement yields (text, value) for each of its figures, in the order in which `figures.FIGURES` lists them, or
raises NotRun.
"""
import asyncio
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

from redis.asyncio import Redis

from corec.core import enviar_mensaje_redis, serializar_mensaje
from tests.support.figures.processes import MB, Child, child, configured, place, size_of, written
from tests.support.servers import redis

Measured = Iterator[tuple[str, float]]
#: Blocks of the documented configuration, and the entities in them.
BLOCKS, ENTITIES = 991, 1_001_000
GROWN = 3_333_333
#: Seconds until all windows have closed: lateness, a window, the commit.
CLOSED_S = 3.5
DAY_S = 86_400


class NotRun(Exception):
    """What a figure needs is not here."""


def memory(quick: bool) -> Measured:
    """Resident memory of a node with the documented configuration: one block heard, ten, all."""
    with place() as folder, child("node", configured(folder), folder / "data") as node:
        for entities in (1_000, 10_000, ENTITIES):
            node.ask("hear", entities)
            time.sleep(CLOSED_S if entities == ENTITIES or not quick else 0)
            yield _mb(node.rss)


def growth(quick: bool) -> Measured:
    """The future that the original documentation sees: 3,333,333 entities of which each was heard."""
    entry = {"id": "swarm", "canal": 1, "entidades": GROWN}
    with place() as folder:
        config = written(folder, {"instance_id": "grown", "max_ram_mb": 2048, "bloques": [entry]})
        with child("node", config, folder / "data") as node:
            node.ask("hear", GROWN)
            time.sleep(0 if quick else CLOSED_S)
            yield _mb(node.rss)


def inactive(quick: bool) -> Measured:
    """What an entity that was heard once and then no more keeps of memory."""
    entities = 1_000_000
    with child("engine", entities) as engine:
        empty = engine.rss
        engine.ask("hear")
        assert engine.ask("sleep")["asleep"]
        each = max(engine.rss - empty, 0) / entities
        yield f"{each:.0f} B", each


def work(quick: bool) -> Measured:
    """All blocks step once a second, each entity by a function: cores for 1,000 of such turns, rows written."""
    with place() as folder, child("node", configured(folder, funcion="random"), folder / "data") as node:
        time.sleep(CLOSED_S)
        began, before = time.monotonic(), node.ask("status")
        cores = node.cores(3 if quick else 20) * 1000 / BLOCKS
        rows, passed = node.ask("status")["rows"] - before["rows"], time.monotonic() - began
    yield f"{cores:.2f} cores", cores
    each = rows / passed / BLOCKS
    yield f"{each:.1f}/s", each
    fewer = 100 * (1 - rows / (ENTITIES * passed))
    yield f"{fewer:.1f} % fewer", fewer


def disk(quick: bool) -> Measured:
    """What the data folder takes after *minutes* in which every block gave a row a second; an hour fills its bound."""
    minutes = 2 if quick else 58
    with place() as folder, child("node", configured(folder), folder / "data") as node:
        node.ask("history", 60 * minutes)
        time.sleep(0 if quick else 10)  # house-keeping
        taken = size_of(folder / "data")
    yield f"{taken / MB:.0f} MB, {minutes} min", taken / MB


def latency(quick: bool) -> Measured:
    """From handing in a reading beyond its limit until its alert is committed; median, of a few rounds the best."""
    with place() as folder, child("node", configured(folder, limites={"alto": 100.0}), folder / "data") as node:
        taken = min(median(node.ask("alerts", 15 if quick else 100)["ms"]) for _ in range(3))
    yield f"{taken:.1f} ms", taken


def availability(quick: bool) -> Measured:
    """How long a node is gone after each fault of a suite, start and recovery included; one such fault a day."""
    outages = [_outage(fault) for fault in ((_nothing, _damaged_store) if quick else FAULTS * 3)]
    up = 100 * (1 - sum(outages) / len(outages) / DAY_S)
    yield f"{up:.4f} %", up


def redis_streams(quick: bool) -> Measured:
    """A Redis that takes a plugin's 1,000 messages a second and gives them to a reader: its memory, its traffic."""
    if redis.binary() is None:
        raise NotRun("no redis-server")
    with redis.running() as server:
        resident, traffic = asyncio.run(_stream(server.port, 2 if quick else 30))
    yield _mb(resident)
    yield f"{traffic:.2f} MB/s", traffic


async def _stream(port: int, seconds: int) -> tuple[int, float]:
    """Bytes of resident memory, and MB a second in and out."""
    client = Redis(port=port)
    before, last = await _bytes(client), b"0"
    for _ in range(seconds * 10):
        began = time.monotonic()
        for number in range(100):
            await enviar_mensaje_redis(client, "alertas", await serializar_mensaje(number, 5, 1.0, True))
        for _, entries in await client.xread({"alertas": last}):
            last = entries[-1][0]
        await asyncio.sleep(max(0.0, 0.1 - (time.monotonic() - began)))
    traffic, resident = (await _bytes(client) - before) / seconds / 1e6, (await client.info("memory"))["used_memory_rss"]
    await client.aclose()
    return resident, traffic


async def _bytes(client: Any) -> int:
    facts = await client.info("stats")
    return facts["total_net_input_bytes"] + facts["total_net_output_bytes"]


def _mb(count: int) -> tuple[str, float]:
    return f"{count / MB:.0f} MB", count / MB


# --- faults ------------------------------------------------------------------------------------

def _outage(fault: Any) -> float:
    """Seconds from a kill, and what *fault* did to the data folder, until the node takes readings again; none is lost."""
    with place() as folder:
        config, data = configured(folder), folder / "data"
        node = Child("node", config, data)
        node.ask("hear", 100_000)
        node.ask("snapshot")
        heard = node.ask("status")["in"]
        node.kill()
        fault(data)
        began = time.monotonic()
        with child("node", config, data) as again:
            outage = time.monotonic() - began
            found = again.ask("status")["in"]
            assert found >= heard, f"expected the {heard:,} readings that were accepted, got {found:,}"
    return outage


def _nothing(data: Any) -> None:
    """A kill alone."""


def _torn_journal(data: Any) -> None:
    """The last write of the journal came through in part."""
    newest = sorted((data / "journal").glob("*.log"))[-1]
    written_up_to = len(newest.read_bytes().rstrip(b"\0"))
    with newest.open("r+b") as file:
        file.seek(written_up_to)
        file.write(b"\x01torn")


def _damaged_snapshot(data: Any) -> None:
    """Every snapshot lost a bit."""
    snapshots = list((data / "snapshots").glob("*.snap"))
    assert snapshots
    for snapshot in snapshots:
        _flip(snapshot)


def _damaged_store(data: Any) -> None:
    """A page of the store lost a bit."""
    _flip(data / "store.db")


def _flip(path: Any) -> None:
    with path.open("r+b") as file:
        middle = path.stat().st_size // 2
        file.seek(middle)
        byte = file.read(1)
        file.seek(middle)
        file.write(bytes((byte[0] ^ 64,)))


#: What the availability is measured over, beside kills alone.
FAULTS = (_nothing, _torn_journal, _damaged_snapshot, _damaged_store)
