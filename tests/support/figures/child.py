"""The processes that are measured: each does what a line on its standard input says, and answers with a line of JSON.

python -m tests.support.figures.child node CONFIG DATA      hear N | history SECONDS | alerts N | snapshot | status
python -m tests.support.figures.child engine ENTITIES       hear | sleep
"""
import json
import sys
import time
from pathlib import Path

import numpy as np

from corec._core.wire import encode_frames
from corec.config import load
from corec.engine import Engine
from corec.nucleus import CoreCNucleus

#: Readings of a batch.
BATCH = 10_000
#: Critical ones are committed at once, as an alert is.
SECURITY = 2


def now_ms():
    return time.time_ns() // 1_000_000


class Node:
    """A node on a configuration folder, without sources of its own."""

    def __init__(self, config, data):
        self.nucleus = CoreCNucleus(load(Path(config)), data=Path(data), with_sources=False)
        self.nucleus.start()
        columns = [(np.arange(entry.first_id, entry.first_id + entry.entidades), entry.canal) for entry in self.nucleus.config.bloques]
        self._ids = np.concatenate([ids for ids, _ in columns]).astype(np.uint32)
        self._channels = np.concatenate([np.full(len(ids), canal, np.int8) for ids, canal in columns])
        self._secure = iter(np.flatnonzero(self._channels == SECURITY).tolist())

    def hear(self, entities):
        """One reading of each of the first *entities*, committed."""
        for first in range(0, entities, BATCH):
            piece = slice(first, min(first + BATCH, entities))
            ticket = self._submit(piece, now_ms())
        ticket.result()
        self._until_committed()
        return {}

    def history(self, seconds):
        """A reading of every block, a second apart, for so long; the last ones are of now."""
        firsts = np.flatnonzero(np.diff(self._owners(), prepend=-1))
        start = now_ms() - seconds * 1000
        for second in range(seconds):
            ticket = self._submit(firsts, start + second * 1000)
        ticket.result()
        self._until_committed()
        return {}

    def alerts(self, count):
        """Readings beyond their limit, each of another entity: ms from handing one in until its alert is committed."""
        return {"ms": [self._alert(next(self._secure)) for _ in range(count)]}

    def _alert(self, place):
        before, began = self._alerts(), time.perf_counter()
        self._submit(slice(place, place + 1), now_ms(), 1000.0).result()
        while self._alerts() == before:
            assert time.perf_counter() - began < 5, "the alert did not come"
            time.sleep(0.0002)
        taken = 1000 * (time.perf_counter() - began)
        time.sleep(0.02)
        return taken

    def snapshot(self):
        """Have one taken, to its end."""
        self.nucleus.pipeline.take_snapshot()
        return {}

    def status(self):
        """Readings that came in, rows that were committed."""
        return {"in": self.nucleus.pipeline.ledger["in"], "rows": self.nucleus.pipeline.totals["rows"]}

    def end(self):
        self.nucleus.stop()

    def _alerts(self):
        return self.nucleus.pipeline.totals["alerts"]

    def _owners(self):
        return np.concatenate([np.full(end - start, index) for index, start, end in self._blocks()])

    def _blocks(self):
        index = start = 0
        for entry in self.nucleus.config.bloques:
            for first in range(0, entry.entidades, entry.entidades_por_bloque):
                count = min(entry.entidades_por_bloque, entry.entidades - first)
                yield index, start, start + count
                index, start = index + 1, start + count

    def _submit(self, places, time_ms, value=20.0):
        ids = self._ids[places]
        return self.nucleus.submit(encode_frames(ids, self._channels[places], np.full(len(ids), value, np.float32), True), time=time_ms)

    def _until_committed(self):
        while self.nucleus.store.state.offset < self.nucleus.journal.last:
            time.sleep(0.005)


class Sleeper:
    """An engine whose entities are heard once, and then hibernate."""

    def __init__(self, entities):
        self._start = now_ms()
        self._engine = Engine({"max_ram_mb": 4096, "bloques": [{"id": "s", "canal": 1, "entidades": int(entities)}]})

    def hear(self):
        """Feed one reading of each entity."""
        dice, entities = np.random.default_rng(1), self._engine.config.bloques[0].entidades
        for first in range(0, entities, BATCH):
            ids = np.arange(first, min(first + BATCH, entities), dtype=np.uint32)
            self._engine.feed_arrays(ids, dice.normal(20, 1, len(ids)).astype(np.float32), channel=1, at=self._start)
        return {}

    def sleep(self):
        """Nobody says anything for half an hour."""
        for second in range(0, 1800, 30):
            self._engine.tick(self._start + second * 1000)
        return {"asleep": len(self._engine.arena.frozen)}

    def end(self):
        pass


def main(kind, *arguments):
    process = {"node": Node, "engine": Sleeper}[kind](*arguments)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        order, *numbers = line.split()
        print(json.dumps(getattr(process, order)(*map(int, numbers))), flush=True)
    process.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
