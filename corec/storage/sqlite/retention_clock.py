"""The time by which stored rows are old.  A machine that starts with a wrong date must not drop what it keeps."""
import sqlite3
from pathlib import Path

from corec.common.units import DAY_MS
from corec.storage.sqlite import schema

#: By so much (ms) the engine's clock may jump ahead and is believed at once.
JUMP_MS = DAY_MS
#: A larger jump is believed after so much (ms) of work: a wrong date is put right before, once there is a network.
BELIEVED_AFTER_MS = DAY_MS
#: The store keeps what is believed this often (ms), so that a start in between does not begin anew.
KEEP_EVERY_MS = 3_600_000
KEY = "believed"


class RetentionClock:
    """The engine's clock, as far as the machine's boot clock bears it out."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        kept = schema.get_meta(db, KEY, path)
        self._believed, self._waited = map(int, kept.split()) if kept else (0, 0)
        self._kept = self._believed, self._waited
        self._at: int | None = None  # boot clock at the last call

    def now(self, engine_clock: int, boot_ms: int) -> int:
        """The time (ms) to go by where the engine's clock shows *engine_clock*; boot_ms: milliseconds since the machine started."""
        went_by = 0 if self._at is None else boot_ms - self._at
        self._at = boot_ms
        expected = self._believed + went_by
        if self._believed and engine_clock > expected + JUMP_MS and self._waited + went_by < BELIEVED_AFTER_MS:
            self._believed, self._waited = expected, self._waited + went_by
        else:
            self._believed, self._waited = engine_clock, 0
        return self._believed

    def keep(self, db: sqlite3.Connection) -> None:
        """Write what is believed, inside a transaction."""
        schema.put_meta(db, KEY, f"{self._believed} {self._waited}")
        self._kept = self._believed, self._waited

    @property
    def due(self) -> bool:
        """Whether `keep` should be called."""
        return any(abs(now - before) >= KEEP_EVERY_MS for now, before in zip((self._believed, self._waited), self._kept, strict=True))
