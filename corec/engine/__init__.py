"""(state, turn) -> (state, outcome): deterministic, without I/O, without a clock of its own.

Everything but readings that changes state comes in a turn: load, commands, time.  The same turns over the
same readings give the same state and the same outcomes, bit for bit.
"""
from corec.engine.engine import Engine
from corec.engine.state import LOAD_STEPS

__all__ = ["LOAD_STEPS", "Engine"]
