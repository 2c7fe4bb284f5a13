"""A machine whose clocks are wrong."""
from corec.common.clock import Clock


class MachineClock(Clock):
    """*behind*: ms by which its wall clock is behind (ahead where that is negative); its steady clock is right."""

    def __init__(self, behind):
        self.behind = behind

    def wall_ms(self):
        return super().wall_ms() - self.behind
