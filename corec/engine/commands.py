"""Control commands: what changes an engine's state besides readings, by name, in turn records."""
from collections.abc import Mapping, Sequence
from typing import Any

from corec._core.arena import SPARE
from corec.config import BlockEntry, Config, parse
from corec.config.reload import reshaped
from corec.engine import detached_blocks as detached
from corec.engine.fusion import check_fusion, check_undo, fuse, undo
from corec.engine.mutes import acknowledge, check_ack, check_mute, mute
from corec.engine.open_turn import OpenTurn
from corec.engine.outcome import Event, Refusal
from corec.engine.repair import note_inheritance, repair
from corec.engine.state import EngineState
from corec.engine.topology import segments_of
from corec.errors import CapacityError, UsageError


class Reload(dict):
    """The command to take over a configuration, for who has it already: it is not parsed again."""

    def __init__(self, config: Config) -> None:
        super().__init__(op="reload", config=config.to_mapping())
        self.parsed = config


class Attach(dict):
    """The command to attach a block, for who has resolved its entry already."""

    def __init__(self, mapping: dict[str, Any], entry: BlockEntry) -> None:
        super().__init__(op="attach", entry=mapping)
        self.resolved = entry


def _repair(state: EngineState, command: Mapping[str, Any]) -> list[Event]:
    return repair(state, state.block_named(command["block"]), why=command.get("why", ""))


def _reload(turn: OpenTurn, command: Mapping[str, Any]) -> None:
    turn.state.reload(_wanted(command))


def _wanted(command: Mapping[str, Any]) -> Config:
    return command.parsed if isinstance(command, Reload) else parse(command["config"], source="a reload")


def _attach(turn: OpenTurn, command: Mapping[str, Any]) -> None:
    if detached.is_known(turn.state, command["entry"]["id"]):
        detached.attach_again(turn.state, command["entry"]["id"])
    else:
        turn.attach(_joining(turn.state, command))


def _joining(state: EngineState, command: Mapping[str, Any]) -> BlockEntry:
    return command.resolved if isinstance(command, Attach) else state.running.resolve(command["entry"])


def _require_room(state: EngineState, entry: BlockEntry) -> None:
    if max(segments_of(entry), entry.blocks) > state.arena.spare:
        raise CapacityError(f"expected at most {SPARE:,} blocks that are registered between two starts, got {entry.id!r} beyond them",
                            hint="restart the node: its blocks stay, and there is room for as many again")  # fmt: skip


def _detach(turn: OpenTurn, command: Mapping[str, Any]) -> None:
    detached.detach(turn.state, command)


def _advance(turn: OpenTurn, command: Mapping[str, Any]) -> None:
    turn.advance(command["to"])


def _set_clock(turn: OpenTurn, command: Mapping[str, Any]) -> None:
    turn.set_clock(command["to"], command["offset"], command.get("anchor", 0), command.get("was"))


def _finish(turn: OpenTurn, command: Mapping[str, Any]) -> None:
    turn.close_all()


def _shed(turn: OpenTurn, command: Mapping[str, Any]) -> None:
    turn.state.count_shed(command["readings"], command.get("by", {}))


def _read(turn: OpenTurn, command: Mapping[str, Any]) -> None:
    turn.state.cursor = {**turn.state.cursor, **command["cursor"]}
    turn.note_reach(command.get("clock", 0), command.get("marks", ()))   # records of an earlier CoreC have neither


#: Commands that are rows of a block's history: (state, command) -> events.
HISTORY = {"fuse": fuse, "undo": undo, "repair": _repair, "inherit": note_inheritance, "mute": mute, "ack": acknowledge}
#: All others: (turn, command) -> None.
CHANGES = {"reload": _reload, "attach": _attach, "detach": _detach, "advance": _advance, "finish": _finish, "shed": _shed,
           "read": _read, "clock": _set_clock}  # fmt: skip
CHECKS = {"fuse": check_fusion, "undo": check_undo, "mute": check_mute, "ack": check_ack, "detach": detached.check_detach}


def apply_command(turn: OpenTurn, command: Mapping[str, Any]) -> None:
    """Carry out one command that `check_command` accepted; UsageError when it is no longer possible."""
    if command["op"] in HISTORY:
        turn.note(HISTORY[command["op"]](turn.state, command))
    else:
        CHANGES[command["op"]](turn, command)


def apply_commands(turn: OpenTurn, commands: Sequence[Mapping[str, Any]]) -> None:
    """Carry out *commands* in order; one that is no longer possible is refused and changes nothing."""
    for number, command in enumerate(commands):
        try:
            apply_command(turn, command)
        except UsageError as error:
            turn.refuse(Refusal(number, error.text, error.hint))


def check_command(state: EngineState, command: Mapping[str, Any]) -> None:
    """UsageError when *command* could not be carried out as things stand."""
    op = command.get("op")
    if op not in HISTORY and op not in CHANGES:
        raise UsageError(f"expected a command of {', '.join([*HISTORY, *CHANGES])}, got {op!r}")
    if op == "attach" and not detached.may_come_again(state, command["entry"]):
        _require_room(state, _joining(state, command))
    if op in ("repair", "inherit"):
        state.block_named(command.get("block"))
    if op in CHECKS:
        CHECKS[op](state, command)
    if op == "reload":
        check_reload(state.config, _wanted(command))


def check_reload(running: Config, wanted: Config) -> None:
    """UsageError when *wanted* has other blocks than *running*: those change at a start only."""
    changed = reshaped(running, wanted)
    if changed:
        raise UsageError(f"a reload cannot change which blocks and entities there are, got another {', '.join(changed)}",
                         hint="restart the node: it carries over the blocks that stay as they were")
