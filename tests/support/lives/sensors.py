"""The sensors of a gateway: what they measure, and by which clocks."""
from collections.abc import Iterator

import numpy as np

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
SENSORS = 8
LIMIT = 100.0
#: Readings of a sensor between two above the limit: an alert tells of the first of those in a row.
APART = 5
#: Sensor -> ms by which its clock is off; the last two are refused for that.
CLOCKS = {5: 3_000, 4: -40_000, 6: HOUR, 7: -3 * DAY}
WRONG = (6, 7)
#: These measure while the gateway is away, and hand that in afterwards; the gateway asks the others itself.
BUFFERED = (3, 4, 5, 6)
#: So many values above the limit are told apart.  All are near it: an alert's burst ends below the limit less the mean step.
SPIKES, STEPS = 8_192, 1_024
ROUNDS = 1_440


class Sensors:
    """Every value and time is decided by the number and by which round it is, whatever happened before."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._rounds = self._drawn()
        self._since_spike = [0] * SENSORS
        self.spikes = 0

    def read(self, which: range | tuple[int, ...], true_ms: int) -> Iterator[tuple[int, int, float]]:
        """(sensor, its time in ms, value) of a round."""
        delays, values, dice = next(self._rounds)
        for sensor in which:
            self._since_spike[sensor] += 1
            value = values[sensor]
            if dice[sensor] < 0.01 and self._since_spike[sensor] > APART:
                self.spikes, self._since_spike[sensor] = self.spikes + 1, 0
                value = LIMIT + 1 + self.spikes % SPIKES / STEPS
            yield sensor, true_ms + CLOCKS.get(sensor, 0) - delays[sensor], value

    def _drawn(self) -> Iterator[tuple[list[int], list[float], list[float]]]:
        block = 0
        while True:
            dice = np.random.default_rng([self._number, block])
            yield from zip(dice.integers(0, 1_500, (ROUNDS, SENSORS)).tolist(), dice.uniform(10, 20, (ROUNDS, SENSORS)).round(1).tolist(),
                           dice.random((ROUNDS, SENSORS)).tolist(), strict=True)  # fmt: skip
            block += 1
