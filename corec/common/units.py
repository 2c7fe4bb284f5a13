"""Units that configuration keys and bounds are given in."""

MB = 1 << 20
DAY_S = 86_400
DAY_MS = 1000 * DAY_S
