"""Maintenance: alerts of blocks and entities that are muted for a time, and alerts that somebody acknowledged."""
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from corec.engine.columns import LATEST_TIME
from corec.engine.fusion import block_named
from corec.engine.outcome import ANOMALY, Event
from corec.errors import FrameError, UsageError

if TYPE_CHECKING:
    from corec.engine import Engine

#: Alerts that one command may acknowledge.
MOST_ALERTS = 1000


class Mute(NamedTuple):
    """Until when the alerts of a block (its id) or an entity (its wire id) are told to nobody, and why."""

    subject: str | int
    until: int  # ms
    why: str


def mute(engine: "Engine", command: Mapping[str, Any]) -> None:
    """Begin, change or, with a time that has passed, end a mute."""
    block, subject = check_mute(engine, command)
    until, why = command["until"], str(command.get("why") or "by command")
    engine.mutes = [each for each in engine.mutes if each.subject != subject]
    if until > engine.clock:
        engine.mutes.append(Mute(subject, until, why))
    what = "mute" if until > engine.clock else "unmute"
    engine._events.append(Event(engine.clock, block, what, entities=_entities(engine, block, subject), reason=why,
                                subject=f"#{subject}" if isinstance(subject, int) else subject))  # fmt: skip


def check_mute(engine: "Engine", command: Mapping[str, Any]) -> tuple[int, str | int]:
    """(index of its block, block id or wire id) of what is to be muted; UsageError where there is none."""
    until, id = command.get("until"), command.get("entity")
    if isinstance(until, bool) or not isinstance(until, int) or not 0 <= until < LATEST_TIME:
        raise UsageError(f"expected `until` in ms since 1970, got {until!r}", hint="`corec mute BLOCK --for 2h` works it out")
    if id is None:
        return block_named(engine, command.get("block")), command["block"]
    try:
        return engine.home_of(engine.locate(id)[0]), id
    except (KeyError, FrameError):
        raise UsageError(f"there is no entity {id!r}", hint="`corec check` prints the wire ids") from None


def acknowledge(engine: "Engine", command: Mapping[str, Any]) -> None:
    """Note that somebody has seen to alerts."""
    why = str(command.get("why") or "by command")
    for alert, block in check_ack(engine, command):
        engine._events.append(Event(engine.clock, block, "ack", reason=why, subject=alert))


def check_ack(engine: "Engine", command: Mapping[str, Any]) -> list[tuple[str, int]]:
    """(alert as turn.row, index of its block) of each; UsageError where that is not what they are."""
    alerts = command.get("alerts")
    if not isinstance(alerts, Mapping) or not 0 < len(alerts) <= MOST_ALERTS:
        raise UsageError(f"expected 1 to {MOST_ALERTS:,} alerts with their blocks", hint="`corec query --alerts` shows their numbers")
    for alert in alerts:
        turn, _, row = str(alert).partition(".")
        if not (turn.isdecimal() and row.isdecimal()):
            raise UsageError(f"expected an alert as TURN.ROW, got {alert!r}", hint="`corec query --alerts` shows their numbers")
    return [(alert, block_named(engine, name)) for alert, name in alerts.items()]


def _entities(engine: "Engine", block: int, subject: str | int) -> int:
    return 1 if isinstance(subject, int) else int(engine.arena.blocks["entities"][block])


def parted(engine: "Engine", alerts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(alerts to be told, muted ones); mutes that are over are forgotten.

    An alert is muted with its entity, with the block that it counts in, and with the block that it belongs to.
    """
    if not engine.mutes:
        return alerts, alerts[:0]
    quiet = np.zeros(len(alerts), bool)
    for mute in engine.mutes:
        quiet |= _of(engine, alerts, mute.subject) & (alerts["time"] < mute.until)
    engine.mutes = [mute for mute in engine.mutes if mute.until > engine.clock]
    return alerts[~quiet], alerts[quiet]


def _of(engine: "Engine", alerts: np.ndarray, subject: str | int) -> np.ndarray:
    if isinstance(subject, int):
        return (alerts["id"] == subject) & (alerts["kind"] != ANOMALY)
    index = engine.block_ids.index(subject)
    homes = np.array([engine.home_of(engine.locate(id)[0]) for id in alerts["id"].tolist()], np.int64)
    return (alerts["block"] == index) | (homes == index)
