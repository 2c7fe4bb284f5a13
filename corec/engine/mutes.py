"""Maintenance: alerts of blocks and entities that are muted for a time, and alerts that somebody acknowledged."""
from collections.abc import Mapping
from typing import Any

import numpy as np

from corec._core.dtypes import ALERT_ANOMALY
from corec.engine.columns import LATEST_TIME
from corec.engine.outcome import Event
from corec.engine.state import EngineState, Mute
from corec.errors import FrameError, UsageError

#: Alerts that one command may acknowledge.
MOST_ALERTS = 1000


def mute(state: EngineState, command: Mapping[str, Any]) -> list[Event]:
    """Begin or change a mute, or end it where `until` has passed."""
    block, subject = check_mute(state, command)
    until, why = command["until"], str(command.get("why") or "by command")
    state.mutes = [each for each in state.mutes if each.subject != subject]
    if until > state.clock:
        state.mutes.append(Mute(subject, until, why))
    what = "mute" if until > state.clock else "unmute"
    entities = 1 if isinstance(subject, int) else int(state.arena.blocks["entities"][block])
    return [Event(state.clock, block, what, entities=entities, reason=why,
                  subject=f"#{subject}" if isinstance(subject, int) else subject)]  # fmt: skip


def check_mute(state: EngineState, command: Mapping[str, Any]) -> tuple[int, str | int]:
    """(index of its block, block id or wire id) of what is to be muted; UsageError where there is none."""
    until, id = command.get("until"), command.get("entity")
    if isinstance(until, bool) or not isinstance(until, int) or not 0 <= until < LATEST_TIME:
        raise UsageError(f"expected `until` in ms since 1970, got {until!r}", hint="`corec mute BLOCK --for 2h` works it out")
    if id is None:
        return state.block_named(command.get("block")), command["block"]
    try:
        return state.configured_block_of(state.locate(id)[0]), id
    except (KeyError, FrameError):
        raise UsageError(f"there is no entity {id!r}", hint="`corec check` prints the wire ids") from None


def acknowledge(state: EngineState, command: Mapping[str, Any]) -> list[Event]:
    """One event for each alert that somebody dealt with."""
    why = str(command.get("why") or "by command")
    return [Event(state.clock, block, "ack", reason=why, subject=alert) for alert, block in check_ack(state, command)]


def check_ack(state: EngineState, command: Mapping[str, Any]) -> list[tuple[str, int]]:
    """(alert as "turn.row", index of its block) of each; UsageError where the command does not name alerts and blocks so."""
    alerts = command.get("alerts")
    if not isinstance(alerts, Mapping) or not 0 < len(alerts) <= MOST_ALERTS:
        raise UsageError(f"expected 1 to {MOST_ALERTS:,} alerts with their blocks", hint="`corec query --alerts` shows their numbers")
    for alert in alerts:
        turn, _, row = str(alert).partition(".")
        if not (turn.isdecimal() and row.isdecimal()):
            raise UsageError(f"expected an alert as TURN.ROW, got {alert!r}", hint="`corec query --alerts` shows their numbers")
    return [(alert, state.block_named(name)) for alert, name in alerts.items()]


def split_muted(state: EngineState, alerts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(alerts to report, muted ones); mutes that are over are dropped from the state.

    An alert is muted with its entity, with the block that it counts in, and with its configured block.
    """
    if not state.mutes:
        return alerts, alerts[:0]
    quiet = np.zeros(len(alerts), bool)
    for mute in state.mutes:
        quiet |= _concerns(state, alerts, mute.subject) & (alerts["time"] < mute.until)
    state.mutes = [mute for mute in state.mutes if mute.until > state.clock]
    return alerts[~quiet], alerts[quiet]


def _concerns(state: EngineState, alerts: np.ndarray, subject: str | int) -> np.ndarray:
    """bool[alerts]: the alert is of *subject*, a wire id or a block id."""
    if isinstance(subject, int):
        return (alerts["id"] == subject) & (alerts["kind"] != ALERT_ANOMALY)
    index = state.block_ids.index(subject)
    configured = np.array([state.configured_block_of(state.locate(id)[0]) for id in alerts["id"].tolist()], np.int64)
    return (alerts["block"] == index) | (configured == index)
