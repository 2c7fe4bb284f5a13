"""The lowest priority that an unprivileged process can give itself."""
import ctypes
import os
import platform
import struct
from contextlib import suppress

NICE = 19
#: Requested time slice in ns, the largest allowed. A process with a shorter slice that wakes up gets the core at once
#: (Linux 6.12 and later; before, `SCHED_BATCH` and nice do that). Otherwise this one would run on to the next tick.
SLICE_NS = 100_000_000
#: The number of the call `sched_setattr`, which the C library does not have everywhere.
SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}


def give_way() -> None:
    """Let every other process run first. Where a container forbids it, the priority stays as it is."""
    os.nice(NICE)
    with suppress(OSError, AttributeError):  # not allowed in some containers, not there on some systems
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))  # it never interrupts another when it wakes up
        _ask_for_long_slices()


def _ask_for_long_slices() -> None:
    number = SCHED_SETATTR.get(platform.machine())
    if number is None:
        return
    # struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period
    attributes = struct.pack("=IIQiIQQQ", 48, os.SCHED_BATCH, 0, NICE, 0, SLICE_NS, 0, 0)
    ctypes.CDLL(None).syscall(number, 0, attributes, 0)
