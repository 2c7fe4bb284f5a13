"""Alerts of a turn that the store does not take for now: they are told in the log, and need not wait for that."""
import logging
from collections.abc import Callable

import numpy as np

from corec.engine import Engine
from corec.engine.outcome import kind_name

#: Lines of one turn.
MOST_LINES = 10


def log_provisional(log: logging.Logger, who: str, alerts: np.ndarray, name_of: Callable[[int], tuple[str, str]]) -> None:
    """A line for each alert, up to a bound.  name_of: (name, unit) of an entity by its wire id."""
    for alert in alerts[:MOST_LINES]:
        name, unit = name_of(int(alert["id"]))
        log.warning("[%s] %s: %s at %g%s, limit %g; provisional: its turn is not committed yet", who,
                    kind_name(int(alert["kind"])), name, alert["valor"], f" {unit}" if unit else "", alert["limit"])  # fmt: skip
    if len(alerts) > MOST_LINES:
        log.warning("[%s] and %d more alerts of that turn", who, len(alerts) - MOST_LINES)


def place_name(engine: Engine, id: int) -> str:
    """An entity that nobody has named: its block and its place in it."""
    segment, slot = engine.locate(id)
    return f"{engine.block_ids[engine.configured_block_of(segment)]}:{slot}"
