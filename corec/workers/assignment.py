"""Assigns shards to workers by rendezvous hashing, so that few shards move when a worker comes or goes."""
from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b
from math import ceil, floor

#: No worker has more than this many times its even part, or than its even part rounded up.
MOST_SHARE = 1.25


def assign(shards: int, workers: Iterable[str]) -> dict[int, str]:
    """Shard -> worker, the same on every node for the same workers; empty without workers.

    Each shard goes to the worker with the highest weight for it that has room.
    """
    names = sorted(set(workers))
    if not names:
        return {}
    even = shards / len(names)
    room = max(ceil(even), floor(MOST_SHARE * even))
    taken: Counter[str] = Counter()
    chosen = {}
    for shard in range(shards):
        free = [name for name in names if taken[name] < room]
        chosen[shard] = max(free, key=lambda name: _weight(shard, name))
        taken[chosen[shard]] += 1
    return chosen


def _weight(shard: int, name: str) -> bytes:
    return blake2b(f"{shard} {name}".encode(), digest_size=8).digest()
