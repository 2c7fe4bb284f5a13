"""What a node answers on its control socket."""
from typing import TYPE_CHECKING, Any

from corec.errors import UsageError
from corec.node.reload import reload
from corec.node.submit import refuse_submit, take_batches

if TYPE_CHECKING:
    from corec.nucleus import CoreCNucleus

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
        raise refuse_submit()
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
