"""A node and a device on Redis whose disk fills up at the n-th write, for each n: its tail, their spool and store, all on one disk.

    python -m tests.support.faults.redis_disk FOLDER PORT STEP
"""
import ctypes
import json
import sys
from pathlib import Path

from corec.errors import StorageError
from corec.pipeline import turns as pipeline
from corec.publish import Publisher
from corec.streams.redis import reader as redis_reader
from tests.support.crash.redis_evidence import bare
from tests.support.nodes import now_ms, readings, running, small, until

DISK = ctypes.CDLL(None)
WRITE = ctypes.c_char(b"w")
#: Writes that fail in a row.
LENGTH = 4


class Rounds:
    """A node that goes on through all of them."""

    def __init__(self, nucleus, publisher) -> None:
        self.nucleus, self._publisher = nucleus, publisher
        self._client = nucleus.redis.outputs._link.client("corec")
        self._store_away = False
        self._commit, nucleus.store.commit = nucleus.store.commit, self._commit_or_refuse
        self.sent = 0

    def _commit_or_refuse(self, *given, **parts):
        if self._store_away:
            raise StorageError("the store is away")
        return self._commit(*given, **parts)

    def run(self, nth: int) -> bool:
        """One round, over a disk that is full from its *nth* write on for a while; whether it came so far."""
        DISK.iotrace_fail(WRITE, nth, LENGTH)
        self._store_away = True
        # An alert: its turn ends at once, and waits for the store.  Of another sensor in each round, as one that jumps often alerts less
        self._send([1000 + nth], 500.0)
        assert until(self._has_spooled, 60), nth
        self._store_away = False
        assert until(self._is_counted, 60), (nth, self._once(), self.sent, self.nucleus.status()["redis"], self.nucleus.status()["disk"])
        reached = DISK.iotrace_count(WRITE) >= nth
        DISK.iotrace_fail(WRITE, 0, 0)
        return reached

    def _has_spooled(self) -> bool:
        """Whether entries wait in the spool, after some more were sent: the turn that waits may have read all that came before."""
        for number in range(8):
            self._send(range(200), 20.0)
            self._client.xadd("corec:in", {"m": bare(number, 1, 20.0)})
        self.sent += 8
        return until(lambda: self.nucleus.redis.intake.reader.spool.waiting, 5)

    def _send(self, ids, value: float) -> None:
        self._publisher.publish(readings(ids, value), time=now_ms(), timeout=60)
        self.sent += len(ids)

    def _once(self) -> int:
        ledger = self.nucleus.store.state.ledger
        return ledger.get("in", 0) - ledger.get("rejected_repeated", 0)

    def _is_counted(self) -> bool:
        return self._once() == self.sent


def main(folder: str, port: str, step: str) -> None:
    """Until no write is left to fail; what came of it as JSON."""
    redis_reader.SPOOL_AFTER_S, redis_reader.AHEAD_BYTES, redis_reader.SPOOL_AGAIN_S, pipeline.RETRY_S = 0.05, 2_000, 0.1, 0.1
    root, config = Path(folder), small(redis_config={"host": "127.0.0.1", "port": int(port)}, retraso_max=60)
    DISK.iotrace_start(folder.encode(), b"/dev/null")
    with running(config, root / "node") as nucleus, Publisher(config, name="d", folder=root / "tail") as publisher:
        rounds, nth = Rounds(nucleus, publisher), 1
        while rounds.run(nth):
            nth += int(step)
        assert until(lambda: not nucleus.status()["disk"]["met"], 60), nucleus.status()["disk"]
    print(json.dumps({"writes": nth, "sent": rounds.sent, "alerts": len(nucleus_alerts(config, root))}))


def nucleus_alerts(config, root: Path) -> list:
    """The alerts that a second start finds: the files can be read, and nothing is folded twice."""
    with running(config, root / "node") as nucleus:
        return nucleus.store.alerts()


if __name__ == "__main__":
    main(*sys.argv[1:])
