"""A node on Redis: what it reads, in which order, what it writes, and that it counts everything once."""
import itertools
import os
import struct
from contextlib import closing, contextmanager

import pytest

from corec._core.wire import pack_envelope, unpack_envelope
from corec.errors import FenceLost, FolderInUse
from corec.node.router import LEASE, Router
from corec.nucleus import CoreCNucleus
from corec.publish import Publisher
from corec.storage.sqlite.read import SqliteReader
from corec.streams.journal import Journal
from corec.streams.redis import bare_stream
from corec.streams.redis.keys import shard_key
from tests.support.nodes import now_ms, readings, running, small, until
from tests.support.servers.ports import free_port
from tests.support.servers.proxy import Proxy
from tests.support.servers.redis import make_certificate
from tests.support.servers.redis import running as server_running

pytestmark = [pytest.mark.slow, pytest.mark.redis]


def on(server, **changes):
    """The small configuration on a server."""
    return small(redis_config=server.section, **changes)


def envelope(ids, sequence=0, *, producer=7, epoch=1, canal=1, values=20.0, time=None):
    return pack_envelope(readings(ids, values, canal), producer=producer, epoch=epoch, sequence=sequence, time=time or now_ms())


def test_batches_are_folded_and_committed(redis_server, tmp_path):
    # Given a node on Redis
    with running(on(redis_server), tmp_path) as nucleus:
        # When a device sends two batches and repeats the first
        client = redis_server.client()
        for batch in (one := envelope(range(100)), envelope(range(100), 100), one):
            client.xadd("{s00}:in", {"m": batch})
        # Then all came, and none counted twice
        assert until(lambda: nucleus.store.state.ledger.get("in") == 300), nucleus.store.state
        assert nucleus.engine.ledger["rejected_repeated"] == 100
    # And the next start goes on behind them
    with running(on(redis_server), tmp_path) as nucleus:
        client.xadd("{s00}:in", {"m": envelope(range(50), 200)})
        assert until(lambda: nucleus.store.state.ledger["in"] == 350), nucleus.store.state


def test_bare_stream_takes_bare_frames_and_batches_of_devices(redis_server, tmp_path):
    # Given a node
    client = redis_server.client()
    with running(on(redis_server), tmp_path) as nucleus:
        # When bare frames of both kinds of channel, a numbered batch twice and rubbish come to corec:in
        for id in range(20):
            client.xadd("corec:in", {"m": readings([id])})
            client.xadd("corec:in", {"m": readings([2500 + id], canal=2)})
        mixed = pack_envelope(readings(range(30)) + readings(range(2500, 2510), canal=2), producer=7, epoch=1, sequence=0, time=now_ms())
        client.xadd("corec:in", {"m": mixed})
        client.xadd("corec:in", {"m": mixed})
        client.xadd("corec:in", {"other": "x"})
        # Then each counts once, the repeat is dropped, rubbish is counted as such
        assert until(lambda: nucleus.store.state.ledger.get("in") == 40 + 80 + 1), nucleus.store.state
        ledger = nucleus.store.state.ledger
        assert (ledger["rejected_repeated"], ledger["rejected_malformed"], ledger["rejected"]) == (40, 1, 41)
        # And critical channels have gone their own way
        assert client.xlen("{s00}:fast") >= 2


def test_a_backlog_of_critical_and_other_channels_is_read_side_by_side(redis_server, tmp_path):
    # Given twenty seconds of readings that waited on both streams
    config, began = on(redis_server, retraso_max=1), now_ms() - 20_000
    with Publisher(config, name="d", folder=tmp_path / "tail") as publisher:
        for number in range(200):
            publisher.publish(readings(range(100)), time=began + 100 * number)
            if number % 10 == 5:
                publisher.publish(readings(range(2500, 2510), canal=2), time=began + 100 * number)
        assert publisher.flush(60)
        # When a node starts, then critical ones do not run so far ahead that the others are late
        with running(config, tmp_path / "node") as nucleus:
            assert until(lambda: nucleus.store.state.ledger.get("in") == 20_200, 60), nucleus.store.state
            assert nucleus.store.state.ledger["late"] == 0


@contextmanager
def routing(server, port=None, **changes):
    """A router on *server*, by way of *port*."""
    router = Router(small(redis_config={**server.section, "port": port or server.port}, **changes))
    router.start()
    try:
        yield router
    finally:
        router.stop()


def test_a_router_that_was_overtaken_routes_nothing_twice(redis_server):
    # Given a router whose line is so slow that its lease runs out before it has served what it read
    client = redis_server.client()
    ids = [client.xadd("corec:in", {"m": readings([id])}) for id in range(5)]
    with Proxy(redis_server.port) as proxy:
        proxy.delay = 0.25
        with routing(redis_server, proxy.port):
            assert until(lambda: client.exists(LEASE))
            # When another router serves it meanwhile, and the slow one goes on
            with routing(redis_server):
                assert until(lambda: client.get("{s00}:routed") == ids[-1])
                exchanges, proxy.delay = proxy.exchanges, 0.0
                assert until(lambda: proxy.exchanges > exchanges + 8)
    # Then it went through once
    batches = [unpack_envelope(fields[b"m"]) for _, fields in client.xrange("{s00}:in")]
    assert [batch.count for batch in batches] == [5]
    assert client.get("{s00}:routed") == ids[-1]


def test_no_batch_holds_what_its_shard_has_and_what_it_lacks(redis_server):
    # Given a router that was killed when it had served one shard of two, and an entry that came after that
    client, fleet = redis_server.client(), {"fragmentos": 2, "bloques": [{"id": "b", "canal": 1, "entidades": 2000}]}
    served = [client.xadd("corec:in", {"m": readings([id])}) for id in (1, 2, 1001)]
    client.set("{s00}:routed", served[-1])
    new = client.xadd("corec:in", {"m": readings([3])})
    # When another goes on
    with routing(redis_server, **fleet):
        assert until(lambda: client.get("{s00}:routed") == client.get("{s01}:routed") == new)
    # Then the first shard gets the new one alone, under its own number: a batch that began with an old one would be a repeat
    batches = {shard: [unpack_envelope(fields[b"m"]) for _, fields in client.xrange(f"{{s{shard:02d}}}:in")] for shard in (0, 1)}
    epoch = batches[0][0].epoch
    assert [(batch.count, batch.sequence) for batch in batches[0]] == [(1, bare_stream.number_of(new, epoch).sequence)]
    assert [batch.count for batch in batches[1]] == [1]


def test_an_entry_that_cannot_be_routed_holds_up_no_other(redis_server, tmp_path, monkeypatch, caplog):
    # Given a mistake of ours at one bare frame
    number_of = bare_stream.number_of
    bad = redis_server.client().xadd("corec:in", {"m": readings([7])})
    monkeypatch.setattr(bare_stream, "number_of", lambda id, epoch: 1 // 0 if id == bad else number_of(id, epoch))
    for id in range(3):
        redis_server.client().xadd("corec:in", {"m": readings([id])})
    # When a node routes it, then it is told, and all are counted
    with running(on(redis_server), tmp_path) as nucleus:
        assert until(lambda: nucleus.store.state.ledger.get("in") == 4), nucleus.store.state
        assert f"entry {bad.decode()} of corec:in cannot be routed" in caplog.text


def test_a_router_killed_between_two_shards_goes_on_where_each_stands(redis_server):
    # Given entries for four shards
    client, fleet = redis_server.client(), {"fragmentos": 4, "bloques": [{"id": "b", "canal": 1, "entidades": 4000}]}
    seen = set()
    for last in itertools.count(8):
        client.flushall()
        newest = [client.xadd("corec:in", {"m": readings([id])}) for id in range(0, 4000, 500)][-1]
        # When a router dies at its nth exchange with Redis, for each n up to the one that serves the last shard
        with Proxy(redis_server.port) as proxy:
            proxy.end_at(last)
            with routing(redis_server, proxy.port, **fleet):
                assert until(lambda proxy=proxy: proxy.replies_lost)
        served = sum(client.get(shard_key(shard, "routed")) == newest for shard in range(4))
        # And another goes on
        client.delete(LEASE)
        with routing(redis_server, **fleet):
            assert until(lambda newest=newest: all(client.get(shard_key(shard, "routed")) == newest for shard in range(4)))
        # Then each shard has its frames, once
        for shard in range(4):
            batches = [unpack_envelope(fields[b"m"]) for _, fields in client.xrange(shard_key(shard, "in"))]
            assert [batch.count for batch in batches] == [2], (last, shard)
        seen.add(served)
        if served == 4:
            break
    assert seen == {0, 1, 2, 3, 4}


def test_outputs_are_sent_once_each_and_the_latest_of_blocks_is_there(redis_server, tmp_path):
    # Given a node whose readings pass their limits, started twice
    client = redis_server.client()
    for start in range(2):
        with running(on(redis_server), tmp_path) as nucleus:
            for number in range(5):
                nucleus.submit(readings([7 + 10 * start + number], 200.0 + number), time=now_ms()).result()
            assert until(lambda start=start: nucleus.engine.ledger["in"] == 5 * (start + 1))
            with nucleus.store.reader() as reader:
                assert until(lambda reader=reader, start=start: len(reader.outbox("corec:alerts")) > start)
            assert until(lambda: client.hgetall("corec:bloque:sensores/0"))
    # Then what the store has in its outbox is in the streams, once
    with closing(SqliteReader(tmp_path / "store.db")) as reader:
        for stream in ("corec:alerts", "corec:messages:1"):
            entries = [fields[b"m"] for _, fields in client.xrange(stream)]
            assert entries == [frames for _, _, frames in reader.outbox(stream)] != []
    # And other programs read the latest aggregate of a block
    latest = client.hgetall("corec:bloque:sensores/0")
    assert latest[b"instance_id"] == b"test1" and int(latest[b"count"]) >= 1 and float(latest[b"max"]) >= 200


def test_what_plugins_send_leaves_with_the_commit_and_their_client_is_real(redis_server, tmp_path):
    # Given a node on Redis, with a plugin that sends, and asks for something that embedded nodes do not have
    plugin = tmp_path / "plugins" / "p"
    plugin.mkdir(parents=True)
    plugin.joinpath("main.py").write_text(PLUGIN)
    nucleus = CoreCNucleus(on(redis_server), data=tmp_path / "data", plugins=tmp_path / "plugins", with_sources=False)
    nucleus.start()
    # Then both have arrived, with the fields that the door gives
    try:
        client = redis_server.client()
        assert until(lambda: client.get("of:the:plugin") == b"1")
        assert until(lambda: client.xlen("alertas") == 1)
        ((_, fields),) = client.xrange("alertas")
        assert fields == {b"m": struct.pack("!Ibf?", 0, 5, 1.5, True), b"p": b"critical"}
    finally:
        nucleus.stop()


PLUGIN = """
from corec.core import enviar_mensaje_redis, serializar_mensaje

class Plugin:
    sent = False

    def __init__(self, nucleus):
        self.nucleus = nucleus

    async def procesar(self, datos, carga):
        if not self.sent:
            self.sent = True
            await self.nucleus.redis_client.set("of:the:plugin", 1)
            frame = await serializar_mensaje(0, 5, 1.5, True)
            await enviar_mensaje_redis(self.nucleus.redis_client, "alertas", frame, prioridad="critical")

def inicializar(nucleus, config):
    nucleus.registrar_plugin("p", Plugin(nucleus))
"""


def test_what_an_embedded_node_had_not_folded_is_folded_first_once(redis_server, tmp_path, caplog):
    # Given an embedded node that dies with batches in its journal that it has not folded
    with running(small(), tmp_path) as nucleus:
        nucleus.submit(readings(range(100)), time=now_ms()).result()
        assert until(lambda: nucleus.store.state.ledger.get("in") == 100)
    journal = Journal(tmp_path / "journal")
    journal.append([envelope(range(50), producer=3, values=21.0), envelope(range(50), 50, producer=3)], now_ms())
    journal.sync()
    journal.close()
    redis_server.client().xadd("{s00}:in", {"m": envelope(range(10))})
    # When it starts with redis_config, and again
    for _ in range(2):
        with running(on(redis_server), tmp_path) as nucleus:
            assert until(lambda: nucleus.store.state.ledger["in"] >= 210)
    # Then those were folded first, then Redis, each once
    assert nucleus.engine.ledger["in"] == 210
    assert nucleus.engine.marks.gaps == 0
    turns = [turn for turn in SqliteReader(tmp_path / "store.db").turns() if turn.to_offset > turn.from_offset]
    assert [turn.to_offset for turn in turns][-1] == 4
    assert not any(command["op"] == "read" for command in turns[0].commands)
    # And its journal, which takes readings again once there is no Redis, misses nothing of what came from there
    with running(small(), tmp_path) as nucleus:
        nucleus.submit(readings(range(100)), time=now_ms()).result()
        assert until(lambda: nucleus.store.state.ledger.get("in") == 310)
    assert "damage" not in caplog.text


@pytest.mark.parametrize("kind", ["acl", "tls", "unix"])
def test_redis_behind_a_user_a_certificate_or_a_socket(kind, tmp_path):
    # Given a Redis that lets nobody in but by a user of the ACL, over TLS with a certificate, or by a Unix socket
    settings, section = SECURED[kind](tmp_path)
    with server_running(*settings) as server:
        section = {**server.section, **section(server)}
        with running(small(redis_config=section), tmp_path / "node") as nucleus:
            # When readings are sent, then they are counted
            nucleus.submit(readings(range(10)), time=now_ms()).result()
            assert until(lambda: nucleus.store.state.ledger.get("in") == 10), nucleus.status()["redis"]
        # And with a wrong password, or without the certificate, the reason is told
        if kind != "unix":
            wrong = {**section, "password": "wrong"} if kind == "acl" else {**server.section, "port": section["port"]}
            with Publisher(small(redis_config=wrong), name="x", folder=tmp_path / "x") as publisher:
                assert until(lambda: publisher.sender.problem)


def _acl(folder):
    users = folder / "users.acl"
    users.write_text("user default off\nuser corec on >s3cret ~* &* +@all -@dangerous +info +keys\n")
    return ("--aclfile", str(users)), lambda server: {"username": "corec", "password": "s3cret"}


def _tls(folder):
    ca, cert, key = (str(folder / name) for name in ("ca.pem", "cert.pem", "key.pem"))
    make_certificate(ca, cert, key)
    settings = ("--port", "0", "--tls-port", str(port := free_port()), "--tls-ca-cert-file", ca, "--tls-cert-file", cert,
                "--tls-key-file", key)  # fmt: skip
    return settings, lambda server: {"port": port, "ca": ca, "cert": cert, "key": key}


def _unix(folder):
    path = f"/tmp/corec-test-{folder.name[-20:]}.sock"
    return ("--unixsocket", path), lambda server: {"unix_socket": path, "port": 1}


SECURED = {"acl": _acl, "tls": _tls, "unix": _unix}


# --- two nodes on one Redis --------------------------------------------------------------------------


def test_second_node_of_another_name_is_refused_while_the_first_lives(redis_server, tmp_path):
    # Given a node that reads its streams
    with running(on(redis_server), tmp_path / "one") as first:
        # When one with another instance_id starts, Then it is refused, and names the node that is there
        other = CoreCNucleus(on(redis_server, instance_id="other"), data=tmp_path / "two", with_sources=False)
        with pytest.raises(FolderInUse, match=rf"node 'test1' \(process {os.getpid()} on ") as caught:
            other.start()
        assert "instance_id" in caught.value.hint
        # And the first goes on
        redis_server.client().xadd("{s00}:in", {"m": envelope(range(10))})
        assert until(lambda: first.engine.ledger["in"] == 10)
    # And once the first has stopped, it starts at once
    with running(on(redis_server, instance_id="other"), tmp_path / "two") as other:
        assert not other.is_over


def test_node_that_died_keeps_nobody_out_for_long(redis_server, tmp_path):
    # Given the claim of a node that is not renewed any more
    redis_server.client().set("{s00}:owner", b'{"instance": "dead", "host": "h", "pid": 1, "token": "t"}', px=2000)
    # Then another starts when it has expired
    with running(on(redis_server), tmp_path) as nucleus:
        assert not nucleus.is_over and b'"test1"' in redis_server.client().get("{s00}:owner")


def test_later_start_of_the_same_name_wins_and_the_earlier_stops(redis_server, tmp_path):
    # Given a node, and another of the same instance_id in a folder of its own
    earlier = CoreCNucleus(on(redis_server), data=tmp_path / "one", with_sources=False)
    earlier.start()
    with running(on(redis_server), tmp_path / "two") as later:
        # Then the earlier one ends, and says who took over
        assert until(lambda: earlier.is_over)
        with pytest.raises(FenceLost, match="another process of this instance_id took over: 'test1'"):
            earlier.stop()
        # And what comes now counts in the later one alone
        redis_server.client().xadd("{s00}:in", {"m": envelope(range(10))})
        assert until(lambda: later.engine.ledger["in"] == 10)
        assert earlier.engine.ledger["in"] == 0 and not later.is_over
    assert redis_server.client().get("{s00}:owner") is None


def test_claim_that_says_nothing_or_is_flushed_is_taken_anew(redis_server, tmp_path):
    redis_server.client().set("{s00}:owner", b"\xff junk")
    with running(on(redis_server), tmp_path) as nucleus:
        redis_server.client().delete("{s00}:owner")
        assert until(lambda: redis_server.client().get("{s00}:owner"))
        assert not nucleus.is_over
