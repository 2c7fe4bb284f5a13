"""The life of a node that reads Redis, in a simulated world: a publisher, bare frames, servers that refuse, forget and restart.

    life = RedisLife(7, folder, rounds=60)
    life.run()
    life.check()        # AssertionError where a reading that counts as durable is not accounted for

Publisher, server and node stand on machines of their own, whose clocks differ.  The check knows nothing of the engine.
"""
import shutil
from collections import Counter
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from redis.exceptions import RedisError

from corec._core.wire import encode_frames
from corec.config import parse
from corec.errors import BackPressure, DiskFull, StorageError
from corec.publish import Publisher
from corec.simulation import Killed, Process, SimulatedClock, SimulatedNode, World
from corec.simulation.world import SETTLE_S
from tests.support.lives.expected import by_answer
from tests.support.redis_model import ModelServer, Network

START = 1_790_000_000_000
HOUR = 3_600_000
WINDOW = 60_000
LIMIT = 100.0
#: Readings of a sensor between two above the limit: an alert tells of the first of those in a row.
APART = 5
ADDRESS = "redis:6379"
#: Sensors by block, and the canal of the block; canal 2 is critical and has a stream of its own.
BLOCKS = {"a": (range(4), 1), "b": (range(4, 6), 2), "c": (range(6, 8), 1)}
#: Sensors of the publisher, of the node itself, and of those who send bare frames.
PUBLISHED, OWN, BARE = range(5), range(5, 7), range(7, 8)
CONFIG = {
    "instance_id": "sim", "modules": ["registro"], "retraso_max": 2, "max_skew": 86_400, "max_adelanto": 30, "max_disk_mb": 64,
    "retencion_dias": 30, "redis_config": {"host": "redis", "port": 6379},
    "bloques": [{"id": name, "canal": canal, "entidades": len(ids), "ventana": WINDOW / 1000, "limites": {"alto": LIMIT}}
                for name, (ids, canal) in BLOCKS.items()],
}  # fmt: skip
REFUSALS = ("OOM command not allowed when used memory > 'maxmemory'.", "READONLY You can't write against a read only replica.",
            "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
            "NOREPLICAS Not enough good replicas to write.")  # fmt: skip
#: After so many seconds somebody whose batches wait has to say why.
SAYS_S = 12
#: Points of a process that is not killed.
NEVER = 1 << 60
#: After so many seconds a node has seen that its server forgot something, and left a snapshot.
SEEN_S = 6.0


class Sent(NamedTuple):
    """A reading that somebody was told is durable, or (is_sure False) that may be."""

    sensor: int
    time: int
    value: float
    is_sure: bool = True


def canal_of(sensor: int) -> int:
    return next(canal for ids, canal in BLOCKS.values() if sensor in ids)


class RedisLife:
    """One run."""

    #: Rests between two rounds, and how long a fault lasts, in s.
    rests, spans = (0.3, 2, 7, 20, 45), (1, 5, 20, 90, 600)

    def __init__(self, number: int, folder: Path, rounds: int, *, chance: float = 0.3) -> None:
        """chance: of something happening in a round."""
        self.world = World(number)
        self._random, self._rounds, self._chance, self._folder = self.world.random, rounds, chance, folder
        self.gateway, self.device, self.redis = (SimulatedClock(self.world, wall_ms=START + self._random.randrange(-3_000, 3_000))
                                                 for _ in range(3))  # fmt: skip
        self.server = ModelServer(self.redis)
        self.network = Network(self.world, {ADDRESS: self.server})
        self.sent: list[Sent] = []
        self._tickets = []  # (ticket, readings) not settled
        self._bare: list[tuple[bytes, Sent]] = []  # bare frames that are not seen to be committed
        self._copies, self._spikes = 0, 0
        self._since_spike: Counter[int] = Counter()
        self.happened, self.log = Counter(), []
        self._places = {"node": folder / "node-0", "publisher": folder / "publisher-0"}
        self._waiting_since: float | None = None
        self.node_process = self.publisher_process = None
        self._store_back_at = 0.0
        self._ran_s = 0.0  # without the time that was skipped
        self._answers_again = 0.0  # s of the world
        self._sound_s = 0.0  # how long the server has answered since it forgot something
        self.events = [self._restart_node, self._kill_node, self._kill_node, self._restart_publisher, self._kill_publisher,
                       self._kill_publisher, self._refuse, self._refuse, self._server_away, self._lose_answers, self._hang, self._flush,
                       self._server_restarts, self._server_restarts, self._suspend, self._step_clock, self._store_away,
                       self._tail_full, self._outage, self._step_server, self._step_server, self._fail_over]  # fmt: skip
        self._server_off, self._server_right_at = 0, 0.0  # ms by which its clock is wrong, and until when (s of the world)

    def run(self) -> None:
        self._start_publisher()
        self._start_node()
        for number in range(self._rounds):
            if self._random.random() < self._chance:
                self._something_happens(number)
            self._round()
            self._rest(self._random.choice(self.rests))
        self._heal()

    def _round(self) -> None:
        self._publish_and_submit()
        if self._server_off and self.world.now >= self._server_right_at:
            self._set_right()
        if self.world.now >= self._answers_again:
            self.network.lost_share = 0.0
        if self._random.random() < 0.5 and self._has_true_ids:
            self._send_bare()

    def _rest(self, seconds: float) -> None:
        was_up = self._answers
        self._pass(seconds)
        self._sound_s += min(seconds, SETTLE_S) if was_up and self._answers else 0.0
        self._ran_s += min(seconds, SETTLE_S)
        self._bury()
        self._settle()
        self._look()

    def _pass(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @property
    def _answers(self) -> bool:
        return not self.server.is_down and self.world.now >= self.network.hangs_until

    # --- what is sent ----------------------------------------------------------------------------

    @property
    def true_ms(self) -> int:
        return START + round(1000 * self.world.now)

    def _readings(self, sensors: range) -> list[Sent]:
        return [Sent(sensor, self.true_ms - self._random.randrange(900), self._value(sensor)) for sensor in sensors]

    def _value(self, sensor: int) -> float:
        self._since_spike[sensor] += 1
        if self._since_spike[sensor] > APART and self._random.random() < 0.03:
            self._spikes, self._since_spike[sensor] = self._spikes + 1, 0
            return LIMIT + self._spikes
        return round(self._random.uniform(10, 20), 1)

    def _publish(self) -> None:
        readings = self._readings(PUBLISHED)
        self._hand_in(readings, self.publisher.submit)

    def _submit(self) -> None:
        if self.node.life.state != "running":
            return
        readings = self._readings(OWN)
        self._hand_in(readings, lambda frames, time, offsets: self.node.submit(frames, time=time, offsets=offsets))

    def _hand_in(self, readings: list[Sent], submit) -> None:
        ids = np.array([each.sensor for each in readings], np.uint32)
        canales = np.array([canal_of(each.sensor) for each in readings], np.uint8)
        frames = encode_frames(ids, canales, np.array([each.value for each in readings], np.float32), True)
        newest = readings[-1].time
        with suppress(DiskFull, StorageError, BackPressure):
            self._tickets.append((submit(frames, newest, np.array([each.time - newest for each in readings], np.int64)), readings))

    @property
    def _has_true_ids(self) -> bool:
        """Whether the server gives its ids by a right clock, and not behind an id of the future."""
        bare = self.server.keys.content.values.get(b"corec:in")
        return not self._server_off and (bare is None or bare.last[0] <= self.redis.wall_ms())

    def _send_bare(self) -> None:
        """A frame without a tail, by a device that tells its own time to nobody."""
        (sensor,) = BARE
        value = self._value(sensor)
        frame = encode_frames(np.array([sensor], np.uint32), canal_of(sensor), np.array([value], np.float32), True)
        before = self.redis.wall_ms()
        try:
            id = self.network.connect()(host="redis", port=6379).xadd("corec:in", {"m": bytes(frame)})
        except RedisError:
            self.sent += [Sent(sensor, time, value, False) for time in {before, self.redis.wall_ms()}]
            return
        self._bare.append((id, Sent(sensor, int(id.partition(b"-")[0]), value)))

    def _settle(self) -> None:
        """Sort what was handed in by what was answered."""
        self._tickets, accepted = by_answer(self._tickets)
        self.sent += chain.from_iterable(accepted)
        if self._is_drained:
            self.sent, self._bare = self.sent + [reading for _, reading in self._bare], []

    @property
    def shards(self) -> range:
        return range(1)

    @property
    def _is_drained(self) -> bool:
        """Whether the server has nothing that is not routed and committed."""
        values = self.server.keys.content.values
        bare = values.get(b"corec:in")
        for shard in self.shards:
            tag = b"{s%02d}:" % shard
            if bare and values.get(tag + b"routed", b"0-0") != b"%d-%d" % bare.last:
                return False
            marks = values.get(tag + b"committed", {})
            if any(marks.get(name) != b"%d-%d" % values[name].last for name in (tag + b"in", tag + b"fast") if name in values):
                return False
        return True

    def _forgets(self) -> None:
        """The server forgets something: frames that nobody keeps may be gone, or be routed once more.

        A node that is killed before it has seen that and left a snapshot loses open windows (docs/guarantees.md): this one is not.
        """
        self.sent += [reading._replace(is_sure=False) for _, reading in self._bare]
        self._bare = []
        self.node_process.kill_within(NEVER)
        self._sound_s = 0.0

    # --- who must say what -----------------------------------------------------------------------

    def _look(self) -> None:
        """A sender whose batches wait says why."""
        stats = self.publisher.sender.stats()
        if not stats.waiting or stats.problem:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = self._ran_s
        else:
            assert self._ran_s - self._waiting_since < SAYS_S, (stats, self.log[-5:])

    # --- what happens ----------------------------------------------------------------------------

    def _something_happens(self, number: int) -> None:
        event = self._random.choice(self.events)
        self.happened[event.__name__] += 1
        self.log.append((number, round(self.world.now, 1), event.__name__))
        event()

    def _span(self) -> float:
        return self._random.choice(self.spans)

    def _restart_node(self) -> None:
        with suppress(Killed):
            is_clean = False
            with suppress(StorageError):  # the store is away: it is committed later, from Redis
                self.node.stop()
                is_clean = True
            self._settle()
            self._go_on_without_node(forgets=is_clean)
            self._outage()
            self._start_node()

    def _go_on_without_node(self, *, forgets: bool) -> None:
        """The publisher goes on, and the server may forget what no node has read; not where the node could not leave a snapshot."""
        for _ in range(self._random.randrange(4)):
            with suppress(Killed):
                self._publish()
            self.world.run_until(lambda: False, 1)
            self._bury_publisher()
            self._settle()
        if forgets and self._random.random() < 0.4 and self.world.now > self._store_back_at:
            self._random.choice((self._flush, self._server_restarts))()

    def _restart_publisher(self) -> None:
        with suppress(Killed):
            self.publisher.close()
            self._settle()
            self._outage()
            self._start_publisher()

    def _kill_node(self) -> None:
        if self._sound_s >= SEEN_S:
            self.node_process.kill_within(self._random.choice((3, 30, 200)))

    def _kill_publisher(self) -> None:
        self.publisher_process.kill_within(self._random.choice((3, 30, 200)))

    def _refuse(self) -> None:
        self.server.refuse(self._random.choice(REFUSALS), self._span())

    def _server_away(self) -> None:
        self.server.go_down(self._span())

    def _lose_answers(self) -> None:
        self.network.lost_share, self._answers_again = 0.3, self.world.now + self._span()

    def _hang(self) -> None:
        self.network.hangs_until = self.world.now + self._random.choice((2, 20))

    def _flush(self) -> None:
        self._forgets()
        self._send_for_a_moment()
        self.server.flush()

    def _server_restarts(self) -> None:
        """Without what came in its last second, as a file that is synced each second, or a replica that takes over."""
        self.node_process.kill_within(NEVER)
        saved = self.server.copied()
        self._send_for_a_moment()
        self.server.restart(saved, self._random.choice((0, 1, 20)))
        self._forgets()

    def _publish_and_submit(self) -> None:
        for hand_in in (self._publish, self._submit):
            with suppress(Killed):
                hand_in()

    def _send_for_a_moment(self) -> None:
        """So that the server gets batches that nobody has read, or that are read and not committed, before it forgets them."""
        self._publish_and_submit()
        self.world.run_until(lambda: False, self._random.random() * self._random.choice((0.05, 0.3, 1)))

    def _step_server(self) -> None:
        """Its clock is set, and set right after a while.  Frames without a time of their own would have a wrong one, and are not sent."""
        if self._is_drained:
            self._set_server(self._random.choice((-1, 1)) * self._random.choice((1_500, 20_000, 60_000, HOUR)))

    def _fail_over(self) -> None:
        """To a server with another clock, which lacks what came last."""
        if self._is_drained:
            self._server_restarts()
            self._set_server(self._random.choice((-1, 1)) * self._random.choice((1_500, 20_000, 60_000)))

    def _set_server(self, ms: int) -> None:
        self.redis.step_wall(ms)
        self._server_off, self._server_right_at = self._server_off + ms, self.world.now + self._span()

    def _set_right(self) -> None:
        self.redis.step_wall(-self._server_off)
        self._server_off = 0

    def _suspend(self) -> None:
        self._random.choice((self.gateway, self.device)).suspend(self._random.choice((60, 3_600)))

    def _step_clock(self) -> None:
        machine = self._random.choice((self.gateway, self.device))
        machine.step_wall(self._random.choice((-1, 1)) * self._random.choice((900, 2_500, 60_000, HOUR)))

    def _store_away(self) -> None:
        store, commit = self.node.life.opened.store, self.node.life.opened.store.commit
        over = self._store_back_at = self.world.now + self._span()

        def away(*given, **parts):
            if self.world.now < over:
                raise StorageError("the store is away")
            return commit(*given, **parts)

        store.commit = away

    def _tail_full(self) -> None:
        journal, append, over = self.publisher.unsent.journal, self.publisher.unsent.journal.append, self.world.now + self._span()

        def full(*given):
            if self.world.now < over:
                raise DiskFull("no room")
            return append(*given)

        journal.append = full

    def _outage(self) -> None:
        self.world.now += self._random.choice((2, 60, 1_800))

    # --- processes -------------------------------------------------------------------------------

    def _start_node(self) -> None:
        """A killed process is started again until it is up."""
        self.node_process = Process(self.gateway)
        self.node = SimulatedNode(parse(CONFIG), self._places["node"], self.node_process, self.network.connect(self.node_process.point))
        self.node.start()

    def _start_publisher(self) -> None:
        self.publisher_process = Process(self.device)
        self.publisher = Publisher(parse(CONFIG), name="gate", folder=self._places["publisher"], clock=self.publisher_process,
                                   connect=self.network.connect(self.publisher_process.point))  # fmt: skip

    def _bury(self) -> None:
        """Start killed processes anew on what is in their files."""
        if self.node_process.is_gone:
            life = self.node.life
            self._move_on("node", [life.opened.store.close, life.opened.journal.close, life.folder.close])
            self._start_node()
        self._bury_publisher()

    def _bury_publisher(self) -> None:
        if self.publisher_process.is_gone:
            self._move_on("publisher", [self.publisher.unsent.journal.close])
            self._start_publisher()

    def _move_on(self, who: str, closes: list) -> None:
        """SIGKILL: what waits for an answer may be durable.  The new process gets a copy, as this one still holds its locks."""
        self._settle()
        self.sent += [reading._replace(is_sure=False) for _, readings in self._tickets for reading in readings]
        self._tickets = []
        before, self._copies = self._places[who], self._copies + 1
        self._places[who] = self._folder / f"{who}-{self._copies}"
        shutil.copytree(before, self._places[who])
        for close in closes:
            with suppress(Exception):
                close()
        shutil.rmtree(before)

    def _heal(self) -> None:
        """All causes are gone; who was stuck goes on."""
        self.network.lost_share = self.network.hangs_until = self.server.down_until = 0.0
        self.server.refuses = "", 0.0
        self._set_right()
        for process in self._killed_at_times:
            process.kill_within(NEVER)
        self._pass(self.spans[-1])
        for _ in range(2):
            self._rest(self.rests[-1])
        self._round()
        self.world.run_until(lambda: self._all_is_counted, 120)
        assert self._all_is_counted, ([each.sender.stats() for each in self._senders], self.log)
        for _ in range(2):
            self._let_windows_close()
        assert not self._tickets
        self.sent += [reading for _, reading in self._bare]

    def _let_windows_close(self) -> None:
        self._rest(90)

    @property
    def _senders(self) -> list:
        return [self.publisher, self.node.life.redis.publisher]

    @property
    def _killed_at_times(self) -> list[Process]:
        return [self.node_process, self.publisher_process]

    @property
    def _all_is_counted(self) -> bool:
        return self._is_drained and all(each.sender.stats()[1:3] == (0, 0) for each in self._senders)

    # --- what must hold --------------------------------------------------------------------------

    def check(self) -> None:
        rows, alerts, ledger = self.node.life.opened.store.history(), self.node.life.opened.store.alerts(), self.node.life.engine.ledger
        receipt = self.publisher.wait(5, result=True)
        self._check_rows(rows)
        self._check_alerts(alerts)
        self._check_ledger(ledger)
        assert receipt.sent == receipt.taken, receipt
        self.publisher.close()
        self.node.stop()

    def _check_ledger(self, ledger: dict) -> None:
        assert ledger["in"] == sum(ledger[part] for part in ("stored", "filtered", "late", "shed", "rejected")), ledger
        assert ledger["late"] == 0 and ledger["rejected"] == ledger["rejected_repeated"], ledger

    def _check_rows(self, rows: np.ndarray) -> None:
        """Each reading is in exactly one row, that of its own window and block."""
        names = list(BLOCKS)
        sure, maybe, sums = Counter(), Counter(), Counter()
        for reading in self.sent:
            key = next(name for name, (ids, _) in BLOCKS.items() if reading.sensor in ids), reading.time // WINDOW * WINDOW
            (sure if reading.is_sure else maybe)[key] += 1
            sums[key] += reading.value
        found, found_sums = Counter(), Counter()
        for row in rows:
            key = names[int(row["block"])], int(row["window"]) // WINDOW * WINDOW
            found[key] += int(row["count"])
            found_sums[key] += float(row["count"]) * float(row["mean"]) if row["count"] else 0.0
        off = {key: (sure[key], maybe[key], found[key]) for key in sure.keys() | maybe.keys() | found.keys()
               if not sure[key] <= found[key] <= sure[key] + maybe[key]}  # fmt: skip
        assert not off, (len(off), sorted(off.items())[:5], self.log)
        for key in sure.keys() - maybe.keys():
            assert abs(found_sums[key] - sums[key]) < 1e-3 * sums[key], (key, found_sums[key], sums[key])

    def _check_alerts(self, alerts: np.ndarray) -> None:
        """Every limit that was exceeded was told."""
        values = set(alerts["valor"].tolist())
        missing = [reading for reading in self.sent if reading.is_sure and reading.value > LIMIT and reading.value not in values]
        assert not missing, (missing, self.log)
