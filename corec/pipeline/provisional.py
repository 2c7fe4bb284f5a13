"""Logs the alerts of a turn that the store does not take for now."""
import logging
from collections.abc import Callable

import numpy as np

from corec.engine import Engine
from corec.engine.outcome import kind_name

#: Most lines for one turn.
MOST_LINES = 10


def log_provisional(log: logging.Logger, who: str, alerts: np.ndarray, name_of: Callable[[int], tuple[str, str]]) -> None:
    """Log a line for each of *alerts* (dtypes.ALERT), MOST_LINES at most.  name_of: wire id -> (name, unit) of the entity."""
    for alert in alerts[:MOST_LINES]:
        name, unit = name_of(int(alert["id"]))
        log.warning("[%s] %s: %s at %g%s, limit %g; provisional: its turn is not committed yet", who,
                    kind_name(int(alert["kind"])), name, alert["valor"], f" {unit}" if unit else "", alert["limit"])  # fmt: skip
    if len(alerts) > MOST_LINES:
        log.warning("[%s] and %d more alerts of that turn", who, len(alerts) - MOST_LINES)


def place_name(engine: Engine, id: int) -> str:
    """A name for an entity that has none: its configured block and its slot, as `block:slot`."""
    segment, slot = engine.locate(id)
    return f"{engine.block_ids[engine.configured_block_of(segment)]}:{slot}"
