"""The oracle's anomaly score: one block and one window at a time, in plain Python floats."""
import math

from tests.support.oracle.entities import F

ANOMALY = 5


class Auditor:
    """Scores the rows of a turn, in order; each block has a memory of its own."""

    def __init__(self):
        self.blocks = {}

    def judge(self, rows, settings, first_id):
        """(rows with scores, anomaly alerts)"""
        scored, alerts = [], []
        for row in rows:
            if math.isnan(row[10]):  # it adds to a window that was judged
                scored.append(row)
                continue
            score, limit = self.blocks.setdefault(row[0], Memory()).take(row, *settings)
            scored.append((*row[:-1], score))
            if limit is not None:
                alerts.append((row[2], first_id(row[0]), row[0], row[1], ANOMALY, score, float(F(limit))))
        return scored, alerts


class Memory:
    def __init__(self):
        self.features = [Reference(0.01), Reference(0.0), Reference(0.0), Reference(0.01)]
        self.level = Reference(0.0)
        self.levelled = self.quiet = 0
        self.quick = self.slow = self.peak = 0.0
        self.scores = []

    def take(self, row, half_life, least):
        """(score, the limit it broke or None)"""
        score = float(F(self._score(row)))
        half = max(min(float(half_life), self.windows / 2), 1.0)
        if self.windows % 16 == 0:  # the newest 16 windows, and those before them, are left out
            self.peak = max([self.peak, *self.scores[-32:-16]])
        limit, alerted = max(1.25 * self.peak, least), False
        if self.windows >= 100 and self.windows >= self.quiet and score > limit:
            alerted, self.quiet = True, self.windows + 61
        self.peak -= self.peak * (0.6931471805599453 / half)
        self.scores.append(score)
        return score, limit if alerted else None

    @property
    def windows(self):
        return len(self.scores)

    def _score(self, row):
        n, mean, deviation, errors, messages, largest = (row[k] for k in (3, 4, 7, 8, 9, 11))
        readings = float(max(n + errors, 1))
        step = max(falling(self.windows), 2e-5)
        zs = [feature.take(float(x), step, self.windows >= 50)
              for feature, x in zip(self.features, (messages / readings, mean, deviation, errors / readings), strict=True)]  # fmt: skip
        x = max(min(float(largest), 1000.0), min(max(zs), 10.0))
        self.quick += (x - self.quick) * 0.25
        self.slow += (x - self.slow) * 0.015625
        if self.windows < 64:
            return 0.0
        loudness, settled = logarithm(1.0 + (self.quick + self.slow)), self.levelled >= 64
        score = (loudness - self.level.mean) / (math.sqrt(self.level.var) + 0.2) if settled else 0.0
        self.level.learn(loudness, max(falling(self.levelled), 1e-4), settled)
        self.levelled += 1
        return score


class Reference:
    """A guarded mean and variance."""

    def __init__(self, floor):
        self.floor, self.mean, self.var = floor, 0.0, 0.0

    def take(self, x, step, warm):
        """|z| of x, 0 where that says nothing."""
        if math.isnan(x):
            return 0.0
        z = abs(x - self.mean) / (max(math.sqrt(self.var), self.floor) + 1e-6 * abs(self.mean) + 1e-9)
        self.learn(x, step, warm)
        return z if warm else 0.0

    def learn(self, x, step, guarded):
        d, most = x - self.mean, 3.0 * math.sqrt(self.var)
        e = min(max(d, -most), most) if guarded else d
        self.mean, self.var = self.mean + step * e, (1.0 - step) * (self.var + step * e * e)


def falling(n):
    """The step of a mean that had n values before."""
    return 1.0 / (n + 1.0) * math.sqrt(256.0 / n) if n > 256 else 1.0 / (n + 1.0)


def logarithm(x):
    """ln x, in an order of operations that is the same everywhere."""
    m, e = math.frexp(x)
    m, e = 2.0 * m, e - 1
    if m > 1.4142135623730951:
        m, e = m / 2.0, e + 1
    s = (m - 1.0) / (m + 1.0)
    q, series = s * s, 1.0 / 17
    for k in range(15, 0, -2):
        series = 1.0 / k + q * series
    return e * 0.6931471805599453 + 2.0 * s * series
