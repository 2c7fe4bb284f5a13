"""Batches of other programs into an embedded node, over its control socket: answered once they are durable there."""

import base64
import logging
from pathlib import Path
from typing import Any

from corec._core.wire import envelope_head
from corec.errors import UsageError
from corec.node.control import ask
from corec.streams.journal.group_commit import GroupCommitter
from corec.streams.sending.carrier import Carrier
from corec.streams.sending.unsent import Tail, readings_in

log = logging.getLogger(__name__)

#: Bytes of batches in one request, below what the control socket takes as a line.
ASK_BYTES = 1 << 18
ANSWER_S = 30.0
IDLE_S = 0.5


def take_batches(committer: GroupCommitter, batches: list[str]) -> dict[str, Any]:
    """The node's side: put envelopes (base64) into its journal, in order, all or none.

    None: one refused in the middle would come again behind later numbers, and count as a repeat.
    """
    envelopes = [base64.b64decode(batch, validate=True) for batch in batches]
    heads = [envelope_head(envelope) for envelope in envelopes]
    readings = sum(head[1] for head in heads)
    committer.submit_all(envelopes, readings=readings).result(ANSWER_S)
    return {"accepted": readings}


class NodeSender(Carrier):
    """Carries a tail to the node that runs on *data*; what that has is durable, so it leaves the tail at once."""

    again_s = 0.2

    def __init__(self, data: Path, tail: Tail, *, instance: str = "corec1") -> None:
        super().__init__(tail, thread="node-sender", instance=instance, log=log)
        self._data = data

    def _pass(self) -> None:
        batches = self._tail.read(self._tail.done, ASK_BYTES)
        if not batches:
            self._rest(IDLE_S)
            return
        ask(self._data, {"op": "submit", "batches": [base64.b64encode(batch.envelope).decode() for batch in batches]}, ANSWER_S)
        self.problem = ""
        self.readings += sum(readings_in(batch.envelope) for batch in batches)
        self._drop(batches[-1].offset)


def refuse_submit() -> UsageError:
    """What a node on Redis answers."""
    return UsageError("this node reads from Redis", hint="publish with its configuration: the batches then go to its streams")
