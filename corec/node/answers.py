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


def _stop(nucleus: "CoreCNucleus", _: dict[str, Any]) -> dict[str, Any]:
    nucleus.ask_to_stop()
    return {"stopping": True}


OPERATIONS = {
    "status": lambda nucleus, _: nucleus.status(),
    "reload": lambda nucleus, _: reload(nucleus),
    "snapshot": lambda nucleus, _: {"snapshots": nucleus.pipeline.take_snapshot()},
    "stop": _stop,
    "ack": lambda nucleus, request: nucleus.acknowledge(request.get("alerts"), str(request.get("why") or "")),
    "submit": _submit,
}
