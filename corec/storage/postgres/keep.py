"""Partitions made ahead, old ones dropped, and rows whose time belongs to none put aside before they spoil a transaction."""

import datetime
import logging
import time

import numpy as np

from corec.common.trouble import Trouble
from corec.errors import ServerAway, ServerError, StorageError
from corec.storage.postgres.copy import CopyForm
from corec.storage.postgres.session import Session

log = logging.getLogger("corec.storage.postgres_keep")

#: Seconds between two looks at the partitions.
EVERY_S = 600.0
RETRY_S = 10.0
#: A node's clock may be ahead of the server's by so much: rows of a day that is further off are put aside.
AHEAD = datetime.timedelta(days=1)
_EPOCH = np.datetime64("1970-01-01", "M")
_BY_MONTH = ("bloques", "alerts", "historia")
#: The day from which on turn records are needed: the older snapshot of each shard starts there.
_NEEDED = """SELECT min(needed) FROM (SELECT (SELECT min(t.committed) FROM turns AS t
  WHERE t.instance_id = s.instance_id AND t.shard = s.shard AND t.turn >= coalesce(n.turn, 0)
  AND t.committed >= now() - make_interval(days => %s)) AS needed
 FROM shards AS s LEFT JOIN (SELECT instance_id, shard, min(turn) AS turn FROM snapshots GROUP BY 1, 2 HAVING count(*) > 1) AS n
 USING (instance_id, shard)) AS each"""


class PostgresRetention:
    """The partitions that one store writes to."""

    def __init__(self, session: Session, key: tuple[str, int], canales: tuple[int, ...], days: float, every_s: float = EVERY_S) -> None:
        self._session, self._key, self._canales = session, key, list(canales)
        self._days = datetime.timedelta(days=days)
        self._every_s, self._due = every_s, 0.0
        self._drop_due = time.monotonic() + every_s
        self._make_trouble, self._drop_trouble = Trouble(log, f"Store-{key[0]}"), Trouble(log, f"Store-{key[0]}")
        self._known: set[tuple[str, int]] = set()  # (table, months since 1970)
        self._first = self._last = 0  # months that rows may have

    def make_ahead(self) -> None:
        """This month and the next, today and the two days that follow."""
        today = self._today()
        self._first, self._last = _month_of(today - self._days), _month_of(today + AHEAD)
        for table in _BY_MONTH:
            for month in {_month_of(today), _month_of(today) + 1}:
                self._make(table, month)
        for day in range(3):
            self._session.query("SELECT corec_make_turns(%s)", (today + datetime.timedelta(days=day),))
        self._due = time.monotonic() + self._every_s

    def look(self) -> None:
        """Before each try to commit: make what is missing, if it is time to.

        What the server refuses here is told; the rows may have their partitions all the same.
        """
        if time.monotonic() < self._due:
            return
        try:
            self.make_ahead()
            self._make_trouble.recovered()
        except ServerAway:
            raise
        except (StorageError, ServerError) as error:
            self._make_trouble.failed("partitions", error)
            self._due = time.monotonic() + RETRY_S

    def look_again(self) -> None:
        """A commit failed, perhaps because partitions are gone that were there, or the day is another: ask for all of them."""
        self._due = 0.0
        self._known.clear()

    def split(self, form: CopyForm, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows that have a partition, made now if need be, and rows whose time is beyond what is kept."""
        months = (rows[form.moment].astype("datetime64[ms]").astype("datetime64[M]") - _EPOCH).astype(np.int64)
        if (months == self._last + 1).any():  # a new month has begun since the last look
            self.make_ahead()
        fit = (months >= self._first) & (months <= self._last)
        for month in np.unique(months[fit]).tolist():
            self._make(form.table, month)
        if fit.all():
            return rows, rows[:0]
        log.error("[Store-%s] %d rows of %s are of a time outside %s to %s: they go to %s_aside", self._key[0], int((~fit).sum()),
                  form.table, _first_day(self._first), _first_day(self._last + 1), form.table)  # fmt: skip
        return rows[fit], rows[~fit]

    def run(self, now: int, log_first: int) -> None:
        """Drop what is old, between two turns; an error is told and tried again later."""
        if time.monotonic() < self._drop_due:
            return
        self._drop_due = time.monotonic() + self._every_s
        try:
            self._drop(log_first)
            self._drop_trouble.recovered()
        except (StorageError, ServerError) as error:
            self._drop_trouble.failed("partitions", error)
            self._drop_due = time.monotonic() + RETRY_S

    def _make(self, table: str, month: int) -> None:
        if (table, month) in self._known:
            return
        canales = [] if table == "historia" else self._canales
        self._session.query("SELECT corec_make_month(%s, %s, %s::smallint[])", (table, _first_day(month), canales))
        self._session.after_commit(lambda: self._known.add((table, month)))

    def _drop(self, log_first: int) -> None:
        oldest = self._today() - self._days
        for table in _BY_MONTH:
            self._drop_before(table, oldest)
        if log_first <= 1:  # a log that reaches back to the first reading is played again from there where no snapshot is sound
            return
        needed = self._session.query(_NEEDED, (max(1, int(self._days.days)),))[0][0]
        if needed is not None:
            self._drop_before("turns", min(needed.date(), self._today()))

    def _drop_before(self, table: str, day: datetime.date) -> None:
        gone = self._session.query("SELECT corec_drop_before(%s, %s)", (table, day))[0][0]
        if gone:
            log.info("[Store-%s] %d partitions of %s dropped, all before %s", self._key[0], gone, table, day)

    def _today(self) -> datetime.date:
        return self._session.query("SELECT now()::date")[0][0]


def _month_of(day: datetime.date) -> int:
    return (day.year - 1970) * 12 + day.month - 1


def _first_day(month: int) -> datetime.date:
    return datetime.date(1970 + month // 12, month % 12 + 1, 1)
