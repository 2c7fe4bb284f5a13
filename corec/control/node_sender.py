"""Sends batches of other programs to an embedded node over its control socket, which answers once they are durable."""

import base64
import logging
from collections.abc import Sequence
from pathlib import Path

from corec.common.clock import MACHINE, Clock
from corec.control.client import ask
from corec.engine.producer_marks import Account
from corec.streams.sending.carrier import Carrier
from corec.streams.sending.receipt import ProducerPart
from corec.streams.sending.unsent import Unsent, readings_in

log = logging.getLogger("corec.node.submit")

#: Bytes of batches in one request; base64 and JSON stay below the longest line of the control socket.
ASK_BYTES = 1 << 18
#: Seconds that the node may take to make a request durable.
ANSWER_S = 30.0
IDLE_S = 0.5


class NodeSender(Carrier):
    """Sends unsent batches to the node that runs on *data*.  An answered batch is durable there, so it is dropped here."""

    again_s = 0.2

    def __init__(self, data: Path, unsent: Unsent, *, instance: str = "corec1", clock: Clock = MACHINE) -> None:
        super().__init__(unsent, thread="node-sender", instance=instance, log=log, clock=clock)
        self._data = data

    def accounts(self, parts: Sequence[ProducerPart]) -> list[Account | None]:
        """What became of the readings of each part; NodeNotRunning, RequestRefused."""
        found = ask(self._data, {"op": "account", "producers": [[part.producer, part.epoch] for part in parts]})["accounts"]
        return [account and Account(*account) for account in found]

    def _pass(self) -> float | None:
        batches = self._unsent.read(self._unsent.done, ASK_BYTES)
        if not batches:
            return IDLE_S
        ask(self._data, {"op": "submit", "batches": [base64.b64encode(batch.envelope).decode() for batch in batches]}, ANSWER_S)
        self._recovered()
        self.readings += sum(readings_in(batch.envelope) for batch in batches)
        self._drop(batches[-1].offset)
        return None
