"""Batches of other programs into an embedded node, over its control socket: answered once they are durable there."""

import base64
import logging
import threading
from pathlib import Path
from typing import Any

from corec._core.wire import envelope_head
from corec.errors import CoreCError, UsageError
from corec.node.control import ask
from corec.streams.group_commit import GroupCommitter
from corec.streams.tail import SenderStats, Tail, readings_in

log = logging.getLogger(__name__)

#: Bytes of batches in one request, below what the control socket takes as a line.
ASK_BYTES = 1 << 18
ANSWER_S = 30.0
AGAIN_S = 0.2
IDLE_S = 0.5


def take_batches(committer: GroupCommitter, batches: list[str]) -> dict[str, Any]:
    """The node's side: put envelopes (base64) into its journal, in order."""
    envelopes = [base64.b64decode(batch, validate=True) for batch in batches]
    heads = [envelope_head(envelope) for envelope in envelopes]
    tickets = [committer.submit(envelope, readings=head[1]) for envelope, head in zip(envelopes, heads, strict=True)]
    for ticket in tickets:
        ticket.result(ANSWER_S)
    return {"accepted": sum(head[1] for head in heads)}


class NodeSender:
    """Carries a tail to the node that runs on *data*; what that has is durable, so it leaves the tail at once."""

    def __init__(self, data: Path, tail: Tail, *, instance: str = "corec1") -> None:
        self._data, self._tail, self._instance = data, tail, instance
        self._wake, self._stop = threading.Event(), threading.Event()
        self._progress = threading.Condition()
        self.readings = 0
        self.problem = ""
        self._thread = threading.Thread(target=self._run, name="node-sender", daemon=True)

    def start(self) -> None:
        """Begin with what the tail holds from earlier."""
        self._thread.start()

    def more(self, _: int = 0) -> None:
        """The tail has more."""
        self._wake.set()

    def stop(self) -> None:
        """Stop; what is not sent stays in the tail."""
        self._stop.set()
        self._wake.set()
        self._thread.join()

    def wait_sent(self, upto: int, timeout: float | None) -> bool:
        """Until the node has everything up to offset *upto*."""
        with self._progress:
            return self._progress.wait_for(lambda: self._tail.done >= upto, timeout)

    def wait_moved(self, timeout: float) -> None:
        """Until something was sent, or *timeout*."""
        with self._progress:
            self._progress.wait(timeout)

    def stats(self) -> SenderStats:
        """Where it stands."""
        return SenderStats(self.readings, self._tail.last - self._tail.done, 0, self.problem)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._pass()
            except CoreCError as error:
                if not self.problem:
                    log.error("[Sender-%s] %s; batches wait in the tail", self._instance, error)
                self.problem = error.text
                self._stop.wait(AGAIN_S)

    def _pass(self) -> None:
        batches = self._tail.read(self._tail.done, ASK_BYTES)
        if not batches:
            self._wake.wait(IDLE_S)
            self._wake.clear()
            return
        ask(self._data, {"op": "submit", "batches": [base64.b64encode(batch.envelope).decode() for batch in batches]}, ANSWER_S)
        self.problem = ""
        self.readings += sum(readings_in(batch.envelope) for batch in batches)
        with self._progress:
            self._tail.drop(batches[-1].offset)
            self._progress.notify_all()


def refuse_submit() -> UsageError:
    """What a node on Redis answers."""
    return UsageError("this node reads from Redis", hint="publish with its configuration: the batches then go to its streams")
