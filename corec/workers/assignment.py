"""Which worker has which shard: rendezvous hashing, so that a worker that comes or goes moves little else."""
from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b
from math import ceil

#: No worker has more than this many times its even part.
MOST_SHARE = 1.25


def assign(shards: int, workers: Iterable[str]) -> dict[int, str]:
    """Shard -> worker, the same wherever it is computed; empty without workers.

    Each shard goes to the worker that weighs most for it and has room; a worker has at most MOST_SHARE of an even part.
    """
    names = sorted(set(workers))
    if not names:
        return {}
    room = ceil(MOST_SHARE * shards / len(names))
    taken: Counter[str] = Counter()
    chosen = {}
    for shard in range(shards):
        free = [name for name in names if taken[name] < room]
        chosen[shard] = max(free, key=lambda name: _weight(shard, name))
        taken[chosen[shard]] += 1
    return chosen


def _weight(shard: int, name: str) -> bytes:
    return blake2b(f"{shard} {name}".encode(), digest_size=8).digest()
