"""All that may be asked of a node, in one table: the control socket and the web face carry out nothing else."""
import base64
from typing import TYPE_CHECKING, Any

from corec._core.wire import envelope_head
from corec.config.ram_price import admit
from corec.config.registered import keeping_registered
from corec.config.reload import at_once, read_again, taken_over, waiting
from corec.engine.commands import check_reload
from corec.errors import UsageError
from corec.streams.journal.group_commit import GroupCommitter

if TYPE_CHECKING:
    from corec.nucleus import CoreCNucleus

#: Seconds that batches may take to become durable.
ANSWER_S = 30.0
#: Commands that may be asked for -> what they take.
ASKED = {"repair": ("block", "why"), "fuse": ("block", "host", "force", "why"), "undo": ("block", "why"),
         "mute": ("block", "entity", "until", "why")}  # fmt: skip


def answer(nucleus: "CoreCNucleus", request: dict[str, Any]) -> dict[str, Any]:
    """Carry out *request*, one of `OPERATIONS` or a command of `ASKED`; CoreCError says why not."""
    operation = request["op"]
    if operation in ASKED:
        return nucleus.command({"op": operation} | {key: request[key] for key in ASKED[operation] if key in request})
    if operation not in OPERATIONS:
        raise UsageError(f"expected one of {', '.join((*OPERATIONS, *ASKED))}, got {operation!r}")
    return OPERATIONS[operation](nucleus, request)


def _submit(nucleus: "CoreCNucleus", request: dict[str, Any]) -> dict[str, Any]:
    if nucleus.redis:
        raise UsageError("this node reads from Redis", hint="publish with its configuration: the batches then go to its streams")
    return take_batches(nucleus.committer, request["batches"])


def _acknowledge(nucleus: "CoreCNucleus", request: dict[str, Any]) -> dict[str, Any]:
    """Note that somebody has seen to alerts, each TURN.ROW; UsageError where the store has no such alert."""
    alerts = request.get("alerts")
    wanted = [str(alert) for alert in alerts] if isinstance(alerts, list) else []
    with nucleus.store.reader() as reader:
        found = reader.blocks_of_alerts(wanted)
    unknown = [alert for alert in wanted if alert not in found]
    if unknown:
        raise UsageError(f"there is no alert {', '.join(unknown)}", hint="`corec query --alerts` shows their numbers")
    names = {alert: nucleus.engine.block_ids[block] for alert, block in found.items()}
    return nucleus.command({"op": "ack", "alerts": names, "why": str(request.get("why") or "")})


def take_batches(committer: GroupCommitter, batches: list[str]) -> dict[str, Any]:
    """The node's side: put envelopes (base64) into its journal, in order, all or none.

    None: one refused in the middle would come again behind later numbers, and count as a repeat.
    """
    envelopes = [base64.b64decode(batch, validate=True) for batch in batches]
    heads = [envelope_head(envelope) for envelope in envelopes]
    readings = sum(head[1] for head in heads)
    committer.submit_all(envelopes, readings=readings).result(ANSWER_S)
    return {"accepted": readings}


def reload(nucleus: "CoreCNucleus") -> dict[str, Any]:
    """Read the configuration again and take over what may change while running; what changed, and what waits for a restart."""
    running, started = nucleus.engine.config, nucleus.config
    wanted = read_again(started)
    grown = keeping_registered(at_once(started, wanted), running)
    check_reload(running, grown)
    admit(keeping_registered(wanted, running))
    changed = taken_over(running, grown)
    done = nucleus.command({"op": "reload", "config": grown.to_mapping()}) if changed else {"turn": nucleus.store_turn}
    if changed and "ejecucion" in nucleus.modulos:
        nucleus.modulos["ejecucion"].take_config(grown)
    return {"turn": done["turn"], "source": wanted.source, "changed": changed, "waiting": waiting(started, wanted)}


def _stop(nucleus: "CoreCNucleus", _: dict[str, Any]) -> dict[str, Any]:
    nucleus.ask_to_stop()
    return {"stopping": True}


OPERATIONS = {
    "status": lambda nucleus, _: nucleus.status(),
    "reload": lambda nucleus, _: reload(nucleus),
    "snapshot": lambda nucleus, _: {"snapshots": nucleus.pipeline.take_snapshot()},
    "stop": _stop,
    "ack": _acknowledge,
    "submit": _submit,
}
