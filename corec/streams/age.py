"""How long a batch was held before it reached a log: each hop adds its own part, by its own clock."""

from corec._core.wire import with_age
from corec.errors import DamagedBatch

#: An envelope tells its age from here on, ms.
AGE_FROM_MS = 1_000


def aged(envelope: bytes, held_ms: int) -> bytes:
    """The envelope after it was held for *held_ms*. It stays as it is where that is short, and where it is damaged."""
    if held_ms < AGE_FROM_MS:
        return envelope
    try:
        return with_age(envelope, held_ms)
    except DamagedBatch:
        return envelope
