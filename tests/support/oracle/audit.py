"""The oracle's anomaly score: one block and one window at a time, in plain Python floats."""
import math

from tests.support.oracle.entities import F

ANOMALY = 5


class Auditor:
    """Scores the rows of a turn, in order; each block has a memory of its own."""

    def __init__(self):
        self.blocks = {}

    def judge(self, rows, settings, first_id):
        """(rows with scores, anomaly alerts); of several windows of a block, the first of all blocks come first."""
        seen, scored, alerts = {}, [], []
        for place, row in enumerate(rows):
            if math.isnan(row[10]):  # it adds to a window that was judged
                scored.append(row)
                continue
            turn = seen[row[0]] = seen.get(row[0], -1) + 1
            score, limit = self.blocks.setdefault(row[0], Memory()).take(row, *settings)
            scored.append((*row[:-1], float(F(score))))
            if limit is not None:
                alerts.append(((turn, place), (row[2], first_id(row[0]), row[0], row[1], ANOMALY, float(F(score)), float(F(limit)))))
        return scored, [alert for _, alert in sorted(alerts)]


class Memory:
    def __init__(self):
        self.mean, self.var, self.score, self.scores, self.pause = [0.0] * 4, [0.0] * 4, 0.0, [], 0

    def take(self, row, windows, least):
        """(score, the limit it broke or None)"""
        n, mean, deviation, errors, messages, largest = (row[k] for k in (3, 4, 7, 8, 9, 11))
        readings = float(max(n + errors, 1))
        x = (messages / readings, mean, deviation, errors / readings)
        worst = max(self._z(k, float(x[k])) for k in range(4))
        self.score += (max(min(float(largest), 1000.0), worst) - self.score) * 0.125
        stretch = -(-windows // 16)
        # of the last 16 stretches of windows, without the one that is being filled, or about to be begun, and the one before
        begun = len(self.scores) // stretch
        limit = 1.25 * max(self.scores[max(0, begun - 15) * stretch : max(0, begun - 1) * stretch], default=0.0)
        told = len(self.scores) >= max(4 * stretch, self.pause) and self.score > least and self.score > limit
        if told:
            self.pause = len(self.scores) + 60 + 2 * stretch
        self.scores.append(self.score)
        return self.score, limit if told else None

    def _z(self, k, x):
        if math.isnan(x):
            return 0.0
        mean, var, n = self.mean[k], self.var[k], len(self.scores)
        d, sigma = x - mean, math.sqrt(var)
        z = abs(d) / (max(sigma, 0.01 if k in (0, 3) else 0.0) + 1e-6 * abs(mean) + 1e-9)
        alpha = max(1.0 / (n + 1.0), 0.0005)
        e = min(max(d, -3.0 * sigma), 3.0 * sigma) if n >= 50 else d
        self.mean[k], self.var[k] = mean + alpha * e, (1.0 - alpha) * (var + alpha * e * e)
        return min(z, 10.0) if n >= 50 else 0.0
