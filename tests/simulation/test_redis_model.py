"""The model of Redis gives the answers of a real server, and its faults are what they are said to be."""
import random

import pytest
from redis import Connection
from redis.exceptions import ConnectionError as Broken
from redis.exceptions import ResponseError

from corec.config import parse
from corec.errors import ServerError
from corec.simulation import SimulatedClock, World
from corec.streams.redis.link import RedisLink
from corec.workers.leases import HOLD
from tests.support.redis_model import ModelServer, Network, connection

START = 1_790_000_000_000
FAR = 9_000_000_000_000
FAR_AHEAD = ("XADD", "far", f"{FAR}-1", "m", "x")
COMMANDS = 1_500
#: Of SET.
OPTIONS = ((), ("NX",), ("XX",), ("PX", 90_000), ("EX", 90), ("NX", "PX", 90_000), ("EX", 0), ("PX", "x"), ("NO",))
KEYS = ("one", "two", "three")


def written(generator):
    """A random command as redis-cli takes it, in words."""
    key, number = generator.choice(KEYS), generator.randrange
    id = generator.choice((f"{number(1, 60)}-{number(3)}", f"{number(1, 60)}", f"{number(1, 60)}-*", f"{FAR + number(3)}-{number(3)}",
                           "0-0", "x", f"({number(60)}", "-", "+", f"{2**64 - 1}-{2**64 - 1 - number(2)}"))  # fmt: skip
    other = generator.choice((f"{number(60)}", f"{number(60)}-1", "+", "-", f"({number(60)}-1"))
    trim = generator.choice((("MAXLEN", "=", number(8)), ("MAXLEN", number(8)), ("MINID", "=", f"{number(60)}-1"), ("MINID", number(60))))
    words = "a b c d".split()
    return generator.choice((
        lambda: ("XADD", key, id, "m", generator.choice(words)), lambda: ("XADD", "far", "*", "m", "x"),
        lambda: ("XADD", key, *generator.choice(((), ("NOMKSTREAM",), trim)), id, "m", "x", "n", "y"),
        lambda: ("XRANGE", key, id, other, *generator.choice(((), ("COUNT", number(1, 4))))),
        lambda: ("XREVRANGE", key, other, id, *generator.choice(((), ("COUNT", number(1, 4))))),
        lambda: ("XREAD", "COUNT", number(1, 4), "STREAMS", key, "far", f"{number(60)}-{number(3)}", generator.choice(("$", "0"))),
        lambda: ("XTRIM", key, *trim), lambda: ("XDEL", key, id, f"{number(1, 60)}-{number(3)}"), lambda: ("XLEN", key),
        lambda: ("XINFO", "STREAM", key), lambda: ("GET", key), lambda: ("MGET", *KEYS), lambda: ("EXISTS", *KEYS),
        lambda: ("SET", key, generator.choice(words), *generator.choice(OPTIONS)),
        lambda: ("PEXPIRE", key, generator.choice((80_000, 0))), lambda: ("EXPIRE", key, 80), lambda: ("PTTL", key),
        lambda: ("DEL", key, generator.choice(KEYS)), lambda: ("DEL", generator.choice(KEYS)),
        lambda: ("HSET", key, generator.choice(words), number(9), generator.choice(words), number(9)), lambda: ("HGET", key, "a"),
        lambda: ("HGETALL", key), lambda: ("SADD", key, *words[: number(1, 4)]), lambda: ("SREM", key, generator.choice(words), "b"),
        lambda: ("SMEMBERS", key), lambda: ("RPUSH", key, *words[: number(1, 4)]), lambda: ("LPUSH", key, *words[: number(1, 4)]),
        lambda: ("LPOP", key), lambda: ("LPOP", key, number(3)), lambda: ("LLEN", key), lambda: ("LREM", key, number(1, 3), "a"),
        lambda: ("EVAL", HOLD, 1, key, generator.choice(words), 90_000), lambda: ("PING",), lambda: ("BLPOP", key, "0.01"),
    ))()  # fmt: skip


def exchanged(generator):
    """The next commands, each with the connection that it goes over: one alone, or a transaction in which another may come between."""
    if not generator.randrange(300):
        return [(0, ("FLUSHALL",)), (0, FAR_AHEAD), (1, ("PING",))]
    if generator.random() < 0.8:
        return [(generator.randrange(2), written(generator))]
    between = [(1, written(generator))] if generator.random() < 0.5 else []
    watch = [(0, ("WATCH", generator.choice(KEYS)))] if generator.random() < 0.7 else []
    inside = [(0, written(generator)) for _ in range(generator.randrange(1, 4))]
    return [*watch, *between, (0, ("MULTI",)), *inside, (0, (generator.choice(("EXEC", "EXEC", "EXEC", "DISCARD")),))]


def answer_to(over, command):
    over.send_command(*command)
    try:
        return plain(command[0], over.read_response())
    except ResponseError as error:
        return plain(command[0], error)


def plain(name, answer):
    """An answer without what the two may differ in: the order of a set, the layout of a stream in memory, ms that passed."""
    if isinstance(answer, ResponseError):
        return "error", type(answer).__name__, str(answer).partition(" script: ")[0].partition("with args")[0]
    if name == "SMEMBERS" and isinstance(answer, list):
        return sorted(answer)
    if name == "XINFO" and isinstance(answer, list):
        return [pair for pair in zip(answer[::2], answer[1::2], strict=True) if not pair[0].startswith(b"radix")]
    if isinstance(answer, int) and answer > 1000:
        return round(answer, -4)
    if name == "EXEC" and isinstance(answer, list):
        return [plain("XINFO" if isinstance(each, list) and b"radix-tree-keys" in each else
                      "SMEMBERS" if isinstance(each, list) and all(isinstance(one, bytes) for one in each) else "", each)
                for each in answer]  # fmt: skip
    return answer


@pytest.mark.slow
@pytest.mark.redis
@pytest.mark.parametrize("number", range(4))
def test_random_commands_have_the_answers_of_a_real_server(redis_server, number):
    # Given a real server and a model, each with two connections, and a stream whose newest id is far ahead of the clock
    world, generator = World(number), random.Random(number)
    model = Network(world, {"redis:1": ModelServer(SimulatedClock(world, wall_ms=START))})
    pairs = [(Connection(host="127.0.0.1", port=redis_server.port, protocol=2), connection(model, "redis:1")) for _ in range(2)]
    answer_to(pairs[0][0], ("FLUSHALL",))
    for over in pairs[0]:
        answer_to(over, FAR_AHEAD)
    # When both get the same commands, then they answer alike
    for done in range(COMMANDS):
        for place, command in exchanged(generator):
            expected, got = (answer_to(over, command) for over in pairs[place])
            assert got == expected, (done, command)
    for over in (each for pair in pairs for each in pair):
        over.disconnect()


class Bench:
    """A model server, its clock, and a link to it."""

    def __init__(self):
        self.world = World(1)
        self.clock = SimulatedClock(self.world, wall_ms=START)
        self.server = ModelServer(self.clock)
        self.network = Network(self.world, {"redis:6379": self.server})
        config = parse({"instance_id": "m", "redis_config": {"host": "redis"}, "bloques": [{"id": "a", "canal": 1, "entidades": 1}]})
        self.link = RedisLink(config.redis_config, connect=self.network.connect())

    @property
    def client(self):
        return self.link.client("s")


@pytest.fixture
def bench():
    return Bench()


def test_ids_and_expiry_follow_the_clock_of_the_server(bench):
    # Given an entry, a key that expires in a minute, and a clock that goes back an hour
    first = bench.client.xadd("s", {"m": "1"})
    bench.client.set("k", "v", px=60_000)
    assert abs(int(first.partition(b"-")[0]) - START) < 100
    bench.clock.step_wall(-3_600_000)
    # Then ids go on behind the newest, and the key stays for so much longer
    assert bench.client.xadd("s", {"m": "2"}) == first[:-1] + b"1" and bench.client.pttl("k") > 3_600_000
    # And where it goes on, the key is gone
    bench.world.pass_time(3_700)
    assert bench.client.get("k") is None


def test_a_read_that_blocks_waits_in_the_world(bench):
    # Given a writer that adds an entry in 0.1 s
    writer = bench.network.connect()(host="redis", port=6379)
    bench.clock.drive(lambda: 0.1 if bench.world.now < 0.1 else writer.xadd("s", {"m": "1"}) and None, name="writer").start()
    # Then a read that blocks has it then, and one that finds nothing ends in time
    ((_, rows),) = bench.client.xread({"s": "0"}, block=250)
    assert len(rows) == 1 and bench.world.now < 0.15
    before = bench.world.now
    assert not bench.client.xread({"s": rows[0][0]}, block=250) and 0.25 <= bench.world.now - before < 0.3


def test_a_server_that_refuses_to_write_answers_reads(bench):
    bench.client.set("k", "v")
    bench.server.refuse("MISCONF Redis is configured to save RDB snapshots", 8)
    with pytest.raises(ResponseError, match="MISCONF"):
        bench.client.set("k", "w")
    with bench.client.pipeline(transaction=True) as pipe, pytest.raises(ResponseError, match="MISCONF"):
        pipe.set("k", "w").execute()
    assert bench.client.get("k") == b"v"
    bench.world.pass_time(8)
    assert bench.client.set("k", "w")


def test_a_server_that_restarts_has_another_run_and_what_it_had_saved(bench):
    # Given a key that is saved, and one that is not
    bench.client.set("k", "v")
    run, saved = bench.link.run_of("k"), bench.server.copied()
    bench.client.set("lost", "v")
    bench.server.restart(saved, 2)
    # Then it is away for a while, and comes back without the second
    with pytest.raises(ServerError), bench.link.errors("answer"):
        bench.client.get("k")
    bench.world.pass_time(2)
    assert (bench.client.get("k"), bench.client.get("lost")) == (b"v", None) and bench.link.run_of("k") != run


def test_an_answer_that_is_lost_leaves_the_command_done(bench):
    bench.client.set("k", 1)
    bench.network.lost_share = 1.0
    with pytest.raises(Broken, match="answer was lost"):
        bench.client.rpush("l", "x")
    bench.network.lost_share = 0.0
    assert bench.client.llen("l") == 1
