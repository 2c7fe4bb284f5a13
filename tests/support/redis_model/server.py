"""One server of the model: its keys, its clock, and what it refuses."""
import copy
import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

from corec.simulation import SimulatedClock
from tests.support.redis_model import commands
from tests.support.redis_model.keys import WAIT, Content, Keys, Refused

_RUNS = itertools.count(1)
#: Commands that change nothing, so that a server which refuses to write still answers them.
READS = frozenset(b"PING GET MGET HGETALL HGET SMEMBERS LLEN LRANGE XREAD XRANGE XREVRANGE XLEN XINFO MEMORY INFO CLUSTER PTTL EXISTS TYPE "
                  b"CLIENT WATCH UNWATCH MULTI EXEC DISCARD SELECT".split())  # fmt: skip


class Session:
    """What a server keeps of one connection."""

    def __init__(self) -> None:
        self.watched: dict[bytes, tuple[int, bool]] = {}  # key -> its version, and whether it had expired
        self.queue: list[list[bytes]] | None = None
        self.is_spoilt = False


class ModelServer:
    """Answers are as RESP 2 has them: bytes, int, None, lists; an error is a `Refused`.

    refuses: (words, end) while it refuses to write: the server's words, and until when (seconds of the world).
    slots: (first, last) of a cluster's master; None where it is alone.
    """

    def __init__(self, clock: SimulatedClock, slots: tuple[int, int] | None = None) -> None:
        self.clock, self.slots = clock, slots
        self.keys = Keys(clock.wall_ms)
        self.run = f"{next(_RUNS):040x}"
        self.refuses: tuple[str, float] = ("", 0.0)
        self.down_until = 0.0  # seconds of the world; nobody gets a connection before
        self.life = 0  # connections of an earlier one are broken
        self.calls: Counter[bytes] = Counter()
        self.cluster: Callable[[], list[Any]] | None = None  # answers CLUSTER SLOTS
        self.traffic = 0

    # --- faults ----------------------------------------------------------------------------------

    @property
    def is_down(self) -> bool:
        return self.clock.world.now < self.down_until

    def go_down(self, seconds: float) -> None:
        """Break all connections, and take none for *seconds*."""
        self.down_until, self.life = self.clock.world.now + seconds, self.life + 1

    def refuse(self, words: str, seconds: float) -> None:
        self.refuses = words, self.clock.world.now + seconds

    def flush(self) -> None:
        self.keys.flush()

    def copied(self) -> Content:
        """The keys as a file or a replica has them now."""
        return copy.deepcopy(self.keys.content)

    def restart(self, content: Content, seconds: float) -> None:
        """Another run, with the keys that `copied` gave, after *seconds* away."""
        self.go_down(seconds)
        self.keys.content = content
        self.run = f"{next(_RUNS):040x}"

    # --- work ------------------------------------------------------------------------------------

    def call(self, session: Session, arguments: list[bytes]) -> Any:
        """The answer to one command.  WAIT where a blocking one finds nothing yet."""
        name = arguments[0].upper()
        self.calls[name] += 1
        self.traffic += sum(map(len, arguments))
        try:
            return self._answer(session, name, arguments)
        except Refused as error:
            if session.queue is not None and name != b"EXEC":
                session.is_spoilt = True
            return error

    def _answer(self, session: Session, name: bytes, arguments: list[bytes]) -> Any:
        words, until = self.refuses
        if self.clock.world.now < until and name not in READS:
            raise Refused(words)
        if name == b"MULTI":
            session.queue, session.is_spoilt = [], False
            return b"OK"
        if name == b"EXEC":
            return self._execute(session)
        if name in (b"DISCARD", b"UNWATCH"):
            if name == b"DISCARD":
                session.queue = None
            session.watched.clear()
            return b"OK"
        if session.queue is not None:
            commands.known(name)
            session.queue.append(arguments)
            return b"QUEUED"
        if name == b"WATCH":
            for key in arguments[1:]:
                session.watched.setdefault(key, (self.keys.version(key), self.keys.has_expired(key)))
            return b"OK"
        return self._run(name, arguments)

    def _execute(self, session: Session) -> Any:
        queue, watched, session.queue, session.watched = session.queue, session.watched, None, {}
        if queue is None:
            raise Refused("ERR EXEC without MULTI")
        if session.is_spoilt:
            raise Refused("EXECABORT Transaction discarded because of previous errors.")
        if any(self.keys.version(key) != version or self.keys.has_expired(key) > before for key, (version, before) in watched.items()):
            return None
        answers = []
        for arguments in queue:
            try:
                answer = self._run(arguments[0].upper(), arguments)
                answers.append(None if answer is WAIT else answer)
            except Refused as error:
                answers.append(error)
        return answers

    def _run(self, name: bytes, arguments: list[bytes]) -> Any:
        if name == b"INFO":
            return self._info()
        if name == b"CLUSTER":
            if self.cluster is None:
                raise Refused("ERR This instance has cluster support disabled")
            return self.cluster()
        return commands.known(name)(self.keys, arguments[1:])

    def _info(self) -> bytes:
        known = {"redis_version": "7.0.15", "run_id": self.run, "server_time_usec": self.clock.wall_us(),
                 "used_memory": self.keys.memory, "total_net_input_bytes": self.traffic, "total_net_output_bytes": 0,
                 "cluster_enabled": int(self.cluster is not None)}  # fmt: skip
        return "".join(f"{name}:{value}\r\n" for name, value in known.items()).encode()
