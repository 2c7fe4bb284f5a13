"""Python twins of layout.h: structs as NumPy dtypes, and constants; tests/core/test_layout.py compares each with the header.

Units and ranges stand beside each field in layout.pxd, and what a constant means in layout.h.  A constant has the header's name
without CC_; SEG is SEGMENT here, FN is FUNCTION, and qualities begin with QUALITY.
"""
import numpy as np

LANES, SLOTS, TILES, SLAB_TILES = 8, 1000, 125, 128
NOWHERE = 0xFFFFFFFF

#: The state word of an entity.
ACTIVE = 1
FAILS_SHIFT, FAILS_MASK = 1, 3
QUALITY_SHIFT, QUALITY_MASK = 3, 15
ERRORS_SHIFT, ERRORS_MASK = 7, 63
WARM_SHIFT, WARM_MASK = 13, 63
SEEN_SHIFT, SEEN_MASK = 19, 8191
ERROR_STEP, FAILING, RESTART, GUARD = 8, 16, 2, 16

QUALITY_NEVER, QUALITY_GOOD, QUALITY_WARMING, QUALITY_HIGH, QUALITY_LOW = range(5)
QUALITY_NOT_FINITE, QUALITY_DECLARED, QUALITY_SILENT, QUALITY_REPAIRED = range(5, 9)

#: The trend word of an entity that was repaired and has given no good reading since.
TRIED = 1 << 31
TRIES_SHIFT, TRIED_MASK, TRIES_MOST = 27, 0x7FFFFFF, 10
WAIT_S, WAIT_MOST_S = 10, 3600

#: The role word of an entity.
ROLE_FUNCTION_MASK, ROLE_SCALE_SHIFT, ROLE_SCALE_ONE = 0xFFFFF, 20, 256

ALERT_HIGH, ALERT_LOW, ALERT_SILENCE, ALERT_FAILURE, ALERT_ANOMALY, ALERT_LATE = range(1, 7)
#: Added to the kind of an alert that was muted.
ALERT_MUTED = 128

SEGMENT_HEARD, SEGMENT_DIRTY, SEGMENT_FROZEN, SEGMENT_PENDING, SEGMENT_MIXED = 1, 2, 4, 8, 16
SEGMENT_ATTENTION = SEGMENT_FROZEN | SEGMENT_PENDING

FUNCTION_NONE, FUNCTION_RANDOM, FUNCTION_CONSTANT, FUNCTION_SINE, FUNCTION_COUNTER = range(5)

TILE = np.dtype([("value", "<f4", 8), ("emitted", "<f4", 8), ("fast", "<f4", 8), ("slow", "<f4", 8), ("var", "<f4", 8),
                 ("trend", "<u4", 8), ("state", "<u4", 8), ("role", "<u4", 8)])

SEGMENT = np.dtype([("owner", "<u4"), ("policy", "<u4"), ("first_id", "<u4"), ("last_tick", "<u4"), ("function", "<u4"),
                    ("used", "<u2"), ("canal", "i1"), ("flags", "u1"), ("ids", "<u8"), ("low", "<u8"), ("high", "<u8"),
                    ("sweep_at", "<u4"), ("repaired_at", "<u4"), ("events", "<u8")])

WINDOW = np.dtype([("start", "<i8"), ("end", "<i8"), ("origin", "<f8"), ("sum", "<f8"), ("squares", "<f8"), ("min", "<f4"),
                   ("max", "<f4"), ("score", "<f4"), ("count", "<u4"), ("errors", "<u4"), ("messages", "<u4")])

BLOCK = np.dtype([("newest", WINDOW), ("older", WINDOW), ("closed_until", "<i8"), ("policy", "<u4"), ("entities", "<u4"),
                  ("heard", "<u4"), ("failing", "<u4"), ("repairs", "<u4"), ("fitness", "<f4"), ("canal", "i1"),
                  ("stepped", "u1"), ("shard", "<u2"), ("last_tick", "<u4")])

#: What is known of a block for its anomaly score, by its features: share of messages, mean, spread, share of failed readings.
FEATURES = 4
BLOCK_SCORE = np.dtype([("mean", "<f8", FEATURES), ("var", "<f8", FEATURES), ("quick", "<f8"), ("slow", "<f8"), ("level", "<f8"),
                        ("spread", "<f8"), ("peak", "<f8"), ("before", "<f8"), ("newest", "<f8"), ("windows", "<i8"),
                        ("levelled", "<i8"), ("silent_until", "<i8")])

#: Windows in the pool, of all blocks and of one.
POOL_WINDOWS, BLOCK_WINDOWS = 65_536, 62

#: An open window beside the two of its block; `next`, `before` and `after` are places in the pool.
POOL = np.dtype([("window", WINDOW), ("closes", "<i8"), ("block", "<u4"), ("next", "<u4"), ("before", "<u4"), ("after", "<u4"),
                 ("amends", "<u4"), ("spare", "<u4")])

POLICY = np.dtype([("slow_alpha", "<f4"), ("fast_alpha", "<f4"), ("floor2", "<f4"), ("deviation2", "<f4"), ("errors", "<f4"),
                   ("gain", "<f4"), ("low", "<f4"), ("high", "<f4"), ("warm_max", "<u4"), ("tick", "<u4"),
                   ("tick_shift", "<u4"), ("heartbeat", "<u4"), ("silence", "<u4"), ("alert_silence", "<u4"),
                   ("window_ms", "<i8"), ("max_errors", "<f4"), ("limited", "<u4"), ("steep", "<u4"), ("spare", "<u4")])

FUNCTION = np.dtype([("kind", "<u4"), ("a", "<f4"), ("b", "<f4"), ("phase", "<u4"), ("period_ms", "<f8")])

RANGE = np.dtype([("first", "<u4"), ("count", "<u4"), ("per_block", "<u4"), ("segments", "<u4"), ("segment", "<u4")])

LEDGER = np.dtype([(name, "<u8") for name in ("arrived", "stored", "filtered", "late", "shed",
                                              "malformed", "channel", "id", "skew", "repeated")])

#: One closed window of one block; `window` is its start in ms.
AGGREGATE = np.dtype([("block", "<u4"), ("canal", "i1"), ("window", "<i8"), ("count", "<u4"), ("mean", "<f8"),
                      ("min", "<f4"), ("max", "<f4"), ("std", "<f8"), ("errors", "<u4"), ("messages", "<u4"),
                      ("fitness", "<f4"), ("score", "<f4")])

MESSAGE = np.dtype([("id", "<u4"), ("canal", "i1"), ("valor", "<f4"), ("estado", "?"), ("time", "<i8")])

ALERT = np.dtype([("time", "<i8"), ("id", "<u4"), ("block", "<u4"), ("canal", "i1"), ("kind", "u1"), ("valor", "<f4"),
                  ("limit", "<f4")])
