"""Make partitions in advance, drop old ones, and find rows that belong to none before they fail a transaction."""

import datetime
import logging

import numpy as np

from corec.common.clock import MACHINE, Clock
from corec.common.trouble import Trouble
from corec.errors import ServerAway, ServerError, StorageError
from corec.storage.postgres.copy import CopyForm
from corec.storage.postgres.session import Session

log = logging.getLogger("corec.storage.postgres_keep")

#: Seconds between two looks at the partitions.
EVERY_S = 600.0
RETRY_S = 10.0
#: How far a node's clock may be ahead of the server's. Rows beyond that go to the `_aside` table.
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

    def __init__(self, session: Session, key: tuple[str, int], canales: tuple[int, ...], days: float, every_s: float = EVERY_S, *,
                 clock: Clock = MACHINE) -> None:  # fmt: skip
        self._session, self._key, self._canales, self._clock = session, key, list(canales), clock
        self._days = datetime.timedelta(days=days)
        self._every_s, self._due = every_s, 0.0
        self._drop_due = self._clock.steady_s() + every_s
        self._make_trouble, self._drop_trouble = (Trouble(log, f"Store-{key[0]}", clock=clock) for _ in range(2))
        self._known: set[tuple[str, int]] = set()  # (table, months since 1970)
        self._first = self._last = 0  # first and last month that rows may have

    def make_ahead(self) -> None:
        """Make the partitions of this month and the next, and of today and the two days that follow."""
        today = self._today()
        self._first, self._last = _month_of(today - self._days), _month_of(today + AHEAD)
        for table in _BY_MONTH:
            for month in {_month_of(today), _month_of(today) + 1}:
                self._make(table, month)
        for day in range(3):
            self._session.query("SELECT corec_make_turns(%s)", (today + datetime.timedelta(days=day),))
        self._due = self._clock.steady_s() + self._every_s

    def look(self) -> None:
        """Make missing partitions if the next look is due. Called before each try to commit.

        A refusal of the server is only logged, because the partitions that the rows need may exist.
        """
        if self._clock.steady_s() < self._due:
            return
        try:
            self.make_ahead()
            self._make_trouble.recovered()
        except ServerAway:
            raise
        except (StorageError, ServerError) as error:
            self._make_trouble.failed("partitions", error)
            self._due = self._clock.steady_s() + RETRY_S

    def look_again(self) -> None:
        """Look at all partitions at the next commit. Called after a commit that failed: partitions may be gone, or a day has begun."""
        self._due = 0.0
        self._known.clear()

    def split(self, form: CopyForm, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(rows with a partition, rows whose time is outside what is kept). Missing partitions are made."""
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

    def run(self, now: int, log_first: int, *, boot_ms: int = 0) -> bool:
        """Drop old partitions if it is due, by the time of the server. An error is logged, and the next try comes RETRY_S later."""
        if self._clock.steady_s() < self._drop_due:
            return False
        self._drop_due = self._clock.steady_s() + self._every_s
        try:
            self._drop(log_first)
            self._drop_trouble.recovered()
        except (StorageError, ServerError) as error:
            self._drop_trouble.failed("partitions", error)
            self._drop_due = self._clock.steady_s() + RETRY_S
        return False

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
        if log_first <= 1:  # the log reaches back to the first reading: without a sound snapshot it is replayed from there
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
