"""The stamps of a journal: when its batches came, by a clock that nobody steps."""
import json
import threading
from pathlib import Path

from corec.common.clock import MACHINE, Clock
from corec.storage import disk

#: ms; no clock gets there, and what is kept of a stamp has room for it.
LATEST_STAMP = 2**53


class JournalClock:
    """Milliseconds that go on as real time does: the wall clock is asked once in each life of the machine.

    A file keeps the anchor, so that a node that starts again goes on with the stamps of before.  Any thread may ask.
    anchor: ms that are added to the boot clock.
    """

    def __init__(self, file: Path, clock: Clock = MACHINE) -> None:
        self._file, self._clock, self._boot = file, clock, clock.boot_id()
        self._lock = threading.Lock()
        self.anchor = self._known_anchor()  # what is to be added to the steady clock
        if self.anchor is None:
            self.anchor = clock.wall_ms() - clock.boot_ms()
            disk.replace_text(file, json.dumps({"boot": self._boot, "anchor": self.anchor}))
        self._newest = 0

    def now(self) -> int:
        """The stamp of this moment, ms since 1970 by the wall clock as it was when the machine started."""
        with self._lock:
            self._newest = max(self._newest, self.anchor + self._clock.boot_ms())
            return self._newest

    def _known_anchor(self) -> int | None:
        try:
            kept = json.loads(self._file.read_text())
            anchor = kept["anchor"]
            is_sound = type(anchor) is int and 0 <= anchor + self._clock.boot_ms() < LATEST_STAMP
            return anchor if is_sound and kept["boot"] == self._boot and self._boot else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
