"""Control commands: what changes an engine's state besides readings, by name, in turn records."""
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from corec.config import Config, parse
from corec.config.registered import with_entries
from corec.config.reload import reshaped
from corec.engine import detached_blocks as detached
from corec.engine.fusion import block_named, check_fusion, check_undo, fuse, undo
from corec.engine.mutes import acknowledge, check_ack, check_mute, mute
from corec.engine.repair import note_inheritance, repair
from corec.errors import UsageError

if TYPE_CHECKING:
    from corec.engine import Engine


def _repair(engine: "Engine", command: Mapping[str, Any]) -> None:
    repair(engine, block_named(engine, command["block"]), why=command.get("why", ""))


def _reload(engine: "Engine", command: Mapping[str, Any]) -> None:
    engine.reload(parse(command["config"], source="a reload"))


def _shed(engine: "Engine", command: Mapping[str, Any]) -> None:
    engine.count_shed(command["readings"], command.get("by", {}))


def _finish(engine: "Engine", command: Mapping[str, Any]) -> None:
    engine.close_all()


def _attach(engine: "Engine", command: Mapping[str, Any]) -> None:
    if detached.is_known(engine, command["entry"]["id"]):
        detached.attach_again(engine, command["entry"]["id"])
    else:
        engine.attach(with_entries(engine.config, [command["entry"]]))


def _advance(engine: "Engine", command: Mapping[str, Any]) -> None:
    engine.advance(command["to"])


def _read(engine: "Engine", command: Mapping[str, Any]) -> None:
    engine.cursor = {**engine.cursor, **command["cursor"]}
    engine.reaches(command.get("clock", 0), command.get("marks", ()))   # records of an earlier CoreC have neither


CHECKS = {"fuse": check_fusion, "undo": check_undo, "mute": check_mute, "ack": check_ack, "detach": detached.check_detach}
COMMANDS = {
    "fuse": fuse, "undo": undo, "repair": _repair, "inherit": note_inheritance, "mute": mute, "ack": acknowledge, "reload": _reload,
    "attach": _attach, "detach": detached.detach, "advance": _advance, "finish": _finish, "shed": _shed, "read": _read,
}  # fmt: skip


def apply_command(engine: "Engine", command: Mapping[str, Any]) -> None:
    """Carry out one command that `check_command` let pass; UsageError when it is no longer possible."""
    COMMANDS[command["op"]](engine, command)


def check_command(engine: "Engine", command: Mapping[str, Any]) -> None:
    """UsageError when *command* could not be carried out as things stand."""
    if command.get("op") not in COMMANDS:
        raise UsageError(f"expected a command of {', '.join(COMMANDS)}, got {command.get('op')!r}")
    if command["op"] == "attach" and not detached.may_come_again(engine, command["entry"]):
        with_entries(engine.config, [command["entry"]])
    if command["op"] in ("repair", "inherit"):
        block_named(engine, command.get("block"))
    if command["op"] in CHECKS:
        CHECKS[command["op"]](engine, command)
    if command["op"] == "reload":
        check_reload(engine.config, parse(command["config"], source="a reload"))


def check_reload(running: Config, wanted: Config) -> None:
    """UsageError when *wanted* has other blocks than *running*: those change at a start only."""
    changed = reshaped(running, wanted)
    if changed:
        raise UsageError(f"a reload cannot change which blocks and entities there are, got another {', '.join(changed)}",
                         hint="restart the node: it carries over the blocks that stay as they were")
