"""What one input may cost: time and memory.  Going over is an error of its own, which no reader catches."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Seconds one input may take; sanitizers and a busy machine included.
MOST_SECONDS = 10
#: Bytes that one input may take, the address space that engines set aside apart.
MOST_MEMORY = 64 << 20


class StandsStill(BaseException):
    """An input ran for longer than MOST_SECONDS."""


def _ring(signum: int, frame: object) -> None:
    raise StandsStill(f"expected an end within {MOST_SECONDS} s")


def can_limit_memory() -> bool:
    """AddressSanitizer maps terabytes; there its own `max_allocation_size_mb` takes over."""
    return "libasan" not in Path("/proc/self/maps").read_text()


def address_space() -> int:
    """What the process has mapped, used or not."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


@contextmanager
def limited(memory: int) -> Iterator[None]:
    """Time is short inside, and address space grows by at most *memory* bytes (0: as it likes)."""
    signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (address_space() + memory, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if memory:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
