"""All requests to a running node, in one table.  The command line and every other interface use it."""
import base64
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from corec._core.wire import envelope_head
from corec.config import Config
from corec.config.ram_price import admit
from corec.config.registered import keeping_registered
from corec.config.reload import at_once, read_again, taken_over, waiting
from corec.engine import Engine
from corec.engine.commands import Reload, check_reload
from corec.errors import UsageError
from corec.pipeline.turns import Pipeline
from corec.storage.base import Store
from corec.streams.journal.group_commit import GroupCommitter

#: Seconds that batches may take to become durable.
DURABLE_WITHIN_S = 30.0

Request = Mapping[str, Any]
Answer = dict[str, Any]


class ControlledNode(Protocol):
    """The part of a node that the operations use."""

    config: Config
    engine: Engine
    pipeline: Pipeline
    store: Store
    store_turn: int
    committer: GroupCommitter
    redis: Any  # None where readings come by the journal only
    modulos: Mapping[str, Any]

    def status(self) -> Answer: ...

    def command(self, command: dict[str, Any]) -> Answer: ...

    def ask_to_stop(self) -> None: ...


def answer(node: ControlledNode, request: Request) -> Answer:
    """Carry out a request, by its "op"; CoreCError where it is refused."""
    operation = request["op"]
    if operation not in OPERATIONS:
        raise UsageError(f"expected one of {', '.join(OPERATIONS)}, got {operation!r}")
    return OPERATIONS[operation].carry_out(node, request)


class Operation(NamedTuple):
    """One kind of request: a line about it, and the function that carries it out."""

    about: str
    carry_out: Callable[[ControlledNode, Request], Answer]


def _command(about: str, *takes: str) -> Operation:
    """A command that the engine carries out in the next turn; *takes*: the fields of the request that go with it."""
    return Operation(about, lambda node, request: node.command({key: request[key] for key in ("op", *takes) if key in request}))


def _submit(node: ControlledNode, request: Request) -> Answer:
    if node.redis:
        raise UsageError("this node reads from Redis", hint="publish with its configuration: the batches then go to its streams")
    return take_batches(node.committer, request["batches"])


def take_batches(committer: GroupCommitter, batches: list[str]) -> Answer:
    """Put envelopes (base64) into a node's journal, in order, all or none; returns once they are durable.

    Not some of them: one refused in the middle would be sent again behind later numbers, and count as a repeat.
    """
    envelopes = [base64.b64decode(batch, validate=True) for batch in batches]
    heads = [envelope_head(envelope) for envelope in envelopes]
    readings = sum(head[1] for head in heads)
    committer.submit_all(envelopes, readings=readings).result(DURABLE_WITHIN_S)
    return {"accepted": readings}


def _account(node: ControlledNode, request: Request) -> Answer:
    """The account of each [producer, epoch], as of the last commit; null where the node knows none."""
    marks = node.engine.marks
    return {"accounts": [marks.committed_account(producer, epoch) for producer, epoch in request["producers"]]}


def _acknowledge(node: ControlledNode, request: Request) -> Answer:
    """Alerts are named TURN.ROW; UsageError where the store has no such alert."""
    alerts = request.get("alerts")
    wanted = [str(alert) for alert in alerts] if isinstance(alerts, list) else []
    with node.store.reader() as reader:
        found = reader.blocks_of_alerts(wanted)
    unknown = [alert for alert in wanted if alert not in found]
    if unknown:
        raise UsageError(f"there is no alert {', '.join(unknown)}", hint="`corec query --alerts` shows their numbers")
    names = {alert: node.engine.block_ids[block] for alert, block in found.items()}
    return node.command({"op": "ack", "alerts": names, "why": str(request.get("why") or "")})


def _reload(node: ControlledNode, _: Request) -> Answer:
    """Everything is checked before anything changes."""
    running, started = node.engine.config, node.config
    wanted = read_again(started)
    grown = keeping_registered(at_once(started, wanted), running)
    check_reload(running, grown)
    admit(keeping_registered(wanted, running))
    changed = taken_over(running, grown)
    done = node.command(Reload(grown)) if changed else {"turn": node.store_turn}
    if changed and "ejecucion" in node.modulos:
        node.modulos["ejecucion"].take_config(grown)
    return {"turn": done["turn"], "source": wanted.source, "changed": changed, "waiting": waiting(started, wanted)}


def _stop(node: ControlledNode, _: Request) -> Answer:
    node.ask_to_stop()
    return {"stopping": True}


OPERATIONS = {
    "status": Operation("all figures of the node", lambda node, _: node.status()),
    "reload": Operation("read the configuration again; what changed, and what waits for a restart", _reload),
    "snapshot": Operation("take a snapshot now", lambda node, _: {"snapshots": node.pipeline.take_snapshot()}),
    "stop": Operation("stop cleanly", _stop),
    "ack": Operation("note that somebody has seen to alerts", _acknowledge),
    "submit": Operation("take batches of readings; answered once they are durable", _submit),
    "account": Operation("what became of the readings of producers", _account),
    "repair": _command("regenerate the failing entities of a block", "block", "why"),
    "fuse": _command("have a block join another", "block", "host", "force", "why"),
    "undo": _command("undo a fusion", "block", "why"),
    "mute": _command("tell nobody of the alerts of a block or an entity for a time", "block", "entity", "until", "why"),
}  # fmt: skip
