"""The node's side of an isolated plugin: one thread starts its process, feeds it, checks it, kills it and starts it again."""
import json
import logging
import os
import re
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from corec.common.child_process import Process
from corec.common.units import MB
from corec.plugin_api.metering import Meter
from corec.plugins.isolated.calls import Answers, IsolatedHost, newest_rows
from corec.plugins.isolated.pipe import Closed, Pipe
from corec.plugins.running import START_LIMIT_S, Running

log = logging.getLogger("PluginManager")

#: Passes that may wait for a slow child; beyond that the oldest is dropped.
MOST_PASSES = 4
#: Unsent bytes from which on entries of subscriptions wait in their own queues.
MOST_UNSENT = 256 << 10
#: Seconds after its own limit on a pass at which a child is killed.
GRACE_S = 1.0
STOP_WAIT_S = 0.3
#: Seconds between two looks at a child's resident memory, and at the part of it that it does not share.
LOOK_EVERY_S, WEIGH_EVERY_S = 0.1, 5.0
#: A child that lived LONG_LIFE_S is started again after FIRST_REST_S; after shorter lives the pause doubles, up to LONGEST_REST_S.
LONG_LIFE_S, FIRST_REST_S, LONGEST_REST_S = 60.0, 1.0, 600.0
#: A child is read at READ_FOLD times the rate that it may send at, or that of LEAST_BYTES_S (bytes/s), in portions of PACE_S
#: seconds; the rest waits in its pipe.
READ_FOLD, LEAST_BYTES_S, PACE_S = 4, MB >> 3, 0.01
#: Bytes added to the size of each message in that rate, since small messages cost time too.
MESSAGE_BYTES = 512


def variables_in(config: dict[str, Any]) -> set[str]:
    """The environment variables that a plugin's configuration names, as `${NAME}`: its process gets these."""
    return set(re.findall(r"\$\{([A-Za-z_][A-Za-z0-9_]*)", json.dumps(config, default=str)))


class Registry(Protocol):
    """Records isolated plugins; the plugin manager is one."""

    def adopt(self, name: str, running: Running) -> bool:
        """Record *running* as *name*; False where another plugin has that name."""

    def not_loaded(self, folder: str, problem: str) -> None:
        """Record why the node goes on without the plugin of *folder*."""


class Isolated:
    """One plugin folder that runs in a child process; the process may be replaced many times."""

    def __init__(self, host: IsolatedHost, registry: Registry, main: Path, config: dict[str, Any], meter: Meter) -> None:
        self._host, self._nucleus, self._registry, self._main, self._config = host, host.nucleus, registry, main, config
        self.running = Running(main.parent.name, None, config, meter, main.parent.name)
        self.running.isolated = True
        self._stopping, self._woken = threading.Event(), os.eventfd(0, os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._supervise, name=f"plugin-{self.running.folder}", daemon=True)
        self._deaths = 0  # in a row, after short lives
        self._cpu_before = 0.0

    def start(self) -> None:
        """Start the first child; returns at once."""
        self._thread.start()

    def wake(self) -> None:
        """Have the thread send what waits; from any thread."""
        os.eventfd_write(self._woken, 1)

    def ask_to_stop(self) -> None:
        """Begin to stop the child and the thread; `join` waits for them."""
        self._stopping.set()
        self.wake()

    def join(self) -> None:
        self._thread.join(STOP_WAIT_S + 0.5)

    # --- its processes ---------------------------------------------------------------------------

    def _supervise(self) -> None:
        while not self._stopping.wait(self.running.wait_s) and self.running.state not in ("failed", "left behind"):
            began = time.monotonic()
            try:
                problem = self._life()
            except Exception as error:  # a bug in CoreC must not leave a child running unseen
                log.exception("[PluginManager] plugin %s", self.running.name)
                problem = f"{type(error).__name__}: {error}"
            if self._stopping.is_set():
                return
            if self.running.state != "failed":
                self._rest(problem, time.monotonic() - began)

    def _rest(self, problem: str, lived: float) -> None:
        self._deaths = 1 if lived > LONG_LIFE_S else self._deaths + 1
        self.running.restarts += 1
        self.running.rest(problem, min(FIRST_REST_S * 2 ** (self._deaths - 1), LONGEST_REST_S))

    def _life(self) -> str:
        """Start a child and serve it until it ends; returns the reason."""
        ours, theirs = socket.socketpair()
        process = Process(theirs, variables_in(self._config))
        theirs.close()
        pipe = Pipe(ours, blocking=False)
        self.running.pid, self._cpu_before = process.pid, self.running.meter.cpu_s
        answers = Answers(self._host, self.running, pipe, self.wake)
        try:
            return _Life(self, process, pipe, answers).run()
        except Closed:
            return process.exit_reason() if process.wait(STOP_WAIT_S) else "it closed its pipe"
        finally:
            process.kill()
            answers.close()
            pipe.close()
            self.running.pid = None

    # --- what a process asks --------------------------------------------------------------------

    def introduction(self) -> dict[str, Any]:
        """The first message to a child."""
        return {"folder": self.running.folder, "main": str(self._main.resolve()), "config": self._config, "max_ram": self.running.max_ram,
                "limit": self.running.limit, "max_mb_s": self.running.meter.most_bytes_s / MB,
                "instance_id": self._nucleus.config.instance_id, "data": str(self._nucleus.data.resolve()),
                "block_ids": list(self.block_ids)}  # fmt: skip

    def is_ready(self, names: list[str]) -> None:
        """Record the plugin by the first name that it registered; it gives up where the name is taken."""
        name = names[0] if names else self.running.name
        if not self._registry.adopt(name, self.running):
            self.running.gave_up(f"there is a plugin {name!r} already: the first one stays")
            return
        self.running.started()

    def has_failed(self, problem: str) -> None:
        """Record that the plugin cannot be loaded; no other child is started."""
        self.running.state = "failed"
        self._registry.not_loaded(self.running.folder, problem)

    def weigh(self, process: Process, *, whole: bool) -> str:
        """Measure the child's memory and CPU time; returns what is wrong, or "".  whole: measure its unshared memory too, which is slow."""
        meter, used = self.running.meter, process.resident_bytes
        meter.cpu_s = self._cpu_before + process.cpu_s
        if whole or meter.ram_bytes is None:
            meter.ram_bytes = process.own_bytes
        most = self.running.max_ram
        return f"its process holds {used / MB:.0f} MB, above its max_ram_mb of {most // MB}" if used > most else ""

    def next_pass(self) -> tuple[Any, ...]:
        """The message of one pass: load, time in ms, and the newest rows as bytes."""
        datos, self.running.since = self._nucleus.news(self.running.since)
        return (self._nucleus.load, datos["ahora"], *(newest_rows(datos[name]) for name in ("bloques", "alertas")))

    @property
    def block_ids(self) -> Sequence[str]:
        """The names of all blocks, by index."""
        return self._nucleus.engine.block_ids

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    @property
    def woken(self) -> int:
        """The file descriptor that `wake` makes readable."""
        return self._woken


class _Life:
    """One child process, from its start to its end."""

    def __init__(self, owner: Isolated, process: Process, pipe: Pipe, answers: Answers) -> None:
        self._owner, self._process, self._pipe, self._answers = owner, process, pipe, answers
        self._running = owner.running
        self._passes: deque[tuple[Any, ...]] = deque()
        self._began = self._due = time.monotonic()
        self._sent_at: float | None = None  # when the pass under way was sent
        self._look_at = self._weigh_at = 0.0
        self._ready = False
        self._blocks_sent = len(owner.block_ids)
        self._room_at, self._room = time.monotonic(), 0.0

    def run(self) -> str:
        """Serve it until it ends; returns the reason, "" where the node stops."""
        self._pipe.send("start", self._owner.introduction())
        with selectors.DefaultSelector() as selector:
            selector.register(self._owner.woken, selectors.EVENT_READ)
            selector.register(self._pipe, selectors.EVENT_READ)
            while not self._owner.stopping:
                problem = self._turn(selector)
                if problem or self._running.state == "failed":
                    return problem
        self._pipe.send("stop")
        self._process.wait(STOP_WAIT_S)
        return ""

    def _turn(self, selector: selectors.BaseSelector) -> str:
        may_read = self._may_read()
        selector.modify(self._pipe, (may_read or not self._pipe.unsent) | selectors.EVENT_WRITE * bool(self._pipe.unsent))
        ready = [key.fileobj for key, _ in selector.select(LOOK_EVERY_S)]
        if self._owner.woken in ready:
            os.eventfd_read(self._owner.woken)
        self._pipe.flush()
        if not may_read:
            time.sleep(PACE_S)
        elif self._pipe in ready:
            self._take_in()
        self._feed()
        return self._overdue() or self._too_heavy()

    def _may_read(self) -> bool:
        """Whether the rate at which the child may be read allows another read."""
        now, rate = time.monotonic(), READ_FOLD * max(self._running.meter.most_bytes_s, LEAST_BYTES_S)
        self._room = min(self._room + rate * (now - self._room_at), rate * PACE_S)
        self._room_at = now
        return self._room > 0

    def _take_in(self) -> None:
        self._room -= self._pipe.read()
        for kind, *rest in self._pipe.messages():
            self._room -= MESSAGE_BYTES
            if kind == "passed":
                self._passed(*rest)
            elif kind == "ready":
                self._ready, self._look_at, self._weigh_at = True, 0.0, 0.0
                self._owner.is_ready(*rest)
            elif kind == "failed":
                self._owner.has_failed(*rest)
            else:
                self._answers.take(kind, *rest)

    def _passed(self, problem: str) -> None:
        self._sent_at = None
        if problem:
            self._due = time.monotonic() + self._running.failed(problem)
            self._passes.clear()
        else:
            self._running.passed()

    def _feed(self) -> None:
        """Queue a pass when it is due, and send one where none is under way."""
        now = time.monotonic()
        if self._ready and now >= self._due:
            self._due = max(self._due + self._running.interval, now)
            if len(self._passes) >= MOST_PASSES:
                self._passes.popleft()
                self._running.dropped_passes += 1
            self._passes.append(self._owner.next_pass())
        if self._passes and self._sent_at is None:
            self._sent_at = now
            size = self._pipe.send("pass", *self._passes.popleft(), self._new_blocks())
            self._running.meter.took(size)
        while self._pipe.unsent < MOST_UNSENT and self._answers.forward():
            pass

    def _new_blocks(self) -> list[str] | None:
        names = self._owner.block_ids
        if len(names) == self._blocks_sent:
            return None
        self._blocks_sent = len(names)
        return list(names)

    def _overdue(self) -> str:
        now, limit = time.monotonic(), self._running.limit + GRACE_S
        if self._sent_at is not None and now - self._sent_at > limit:
            return f"procesar took more than {self._running.limit:g} s"
        if not self._ready and now - self._began > START_LIMIT_S:
            return f"inicializar took more than {START_LIMIT_S:g} s"
        return ""

    def _too_heavy(self) -> str:
        now = time.monotonic()
        if now < self._look_at:
            return ""
        self._look_at, whole = now + LOOK_EVERY_S, now >= self._weigh_at
        if whole:
            self._weigh_at = now + WEIGH_EVERY_S
        return self._owner.weigh(self._process, whole=whole)
