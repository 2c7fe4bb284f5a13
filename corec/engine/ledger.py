"""Counts of readings by what became of them: as numbers by name, and put back from them."""
from collections.abc import Mapping

import numpy as np

PARTS = ("stored", "filtered", "late", "shed")
CAUSES = ("malformed", "channel", "id", "skew", "repeated")


def as_counts(row: np.void) -> dict[str, int]:
    """in == stored + filtered + late + shed + rejected; row: one element of dtypes.LEDGER."""
    causes = {f"rejected_{cause}": int(row[cause]) for cause in CAUSES}
    counts = {name: int(row[name]) for name in PARTS}
    return {"in": int(row["arrived"]), **counts, "rejected": sum(causes.values()), **causes}


def count(ledger: np.ndarray, part: str, readings: int) -> None:
    """Count readings that came and are not folded, under *part*: a field of dtypes.LEDGER."""
    ledger["arrived"] += np.uint64(readings)
    ledger[part] += np.uint64(readings)


def take_back(ledger: np.ndarray, part: str, readings: int) -> None:
    """Undo a `count`: the readings are counted anew as what became of them."""
    ledger["arrived"] -= np.uint64(readings)
    ledger[part] -= np.uint64(readings)


def put_back(ledger: np.ndarray, counts: Mapping[str, int]) -> None:
    """Write what `as_counts` gave into *ledger*, dtypes.LEDGER[1]."""
    ledger["arrived"] = counts.get("in", 0)
    for name in PARTS:
        ledger[name] = counts.get(name, 0)
    for cause in CAUSES:
        ledger[cause] = counts.get(f"rejected_{cause}", 0)


def added(one: Mapping[str, Mapping[str, int]], other: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """The sum of two counts by cause and channel."""
    return {cause: {canal: one.get(cause, {}).get(canal, 0) + other.get(cause, {}).get(canal, 0)
                    for canal in sorted({*one.get(cause, {}), *other.get(cause, {})}, key=int)}
            for cause in sorted({*one, *other})}  # fmt: skip
