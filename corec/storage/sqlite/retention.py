"""Keep the store within its bounds: drop old rows and merge windows into minutes, in slices between turns."""

from corec.common.clock import MACHINE, Clock
from corec.common.units import DAY_MS, MB
from corec.storage.outbox import count_drop
from corec.storage.sqlite.retention_clock import RetentionClock
from corec.storage.sqlite.roll_up import RollUp
from corec.storage.sqlite.store import SqliteStore

#: Windows are rolled up into minutes after this long, if there is room until then.
ROLL_UP_AFTER_MS = 3_600_000
#: The share of that time for which a minute waits for more, to be rolled up together.
PATIENCE_SHARE = 1 / 6
#: Least age of a minute that is rolled up: its last windows may still be open.
SETTLED_MS = 10_000
#: Rows of one slice: about 3 ms of reading, or 1 ms of deleting.
SLICE_ROWS = 1_000
#: Share of the bound above which rows are dropped. Freed pages are reused, so the file stops growing there.
FULL_SHARE = 0.85
#: Share of the bound that windows may take once it is full.
WINDOWS_SHARE = 0.5
#: Measured: what a row of `windows` takes on disk, tree included.
WINDOW_ROW_BYTES = 92
#: Turn records are deleted in slices of this many: fewer are not worth a sync.
TURNS_SLICE = 500
VACUUM_PAGES = 64


class SqliteRetention:
    """The `Retention` of an embedded store, in the thread that commits to it."""

    def __init__(
        self,
        store: SqliteStore,
        *,
        days: float = 30,
        max_bytes: int = 200 * MB,
        roll_up_after_ms: int = ROLL_UP_AFTER_MS,
        slice_rows: int = SLICE_ROWS,
        clock: Clock = MACHINE,
    ) -> None:
        self._store, self._machine = store, clock
        self._db = store.db
        self._keep_ms = int(days * DAY_MS)
        self._limit = int(max_bytes * FULL_SHARE)
        self._windows_limit = int(max_bytes * WINDOWS_SHARE)
        self._roll_up_after = roll_up_after_ms
        self._slice = slice_rows
        self._roll_up = RollUp(store, slice_rows)
        self._clock = RetentionClock(store.db, store.path)

    def step(self, now: int, log_first: int = 0) -> bool:
        """Do one slice of what is due; False when nothing is.

        now: the engine's clock (ms), so that replayed history does not count as old at once.
        log_first: oldest offset in the log; turn records that can be replayed from it are kept.
        """
        with self._store.guard():
            settled = self._settled()
            return (
                self._roll_up.step(now - settled, int(settled * PATIENCE_SHARE))
                or self._drop_expired(now - self._keep_ms)
                or self._drop_for_space()
                or self._prune_turns(log_first)
                or self._give_back()
            )

    def run(self, now: int, log_first: int = 0, budget_s: float = 0.005, *, boot_ms: int | None = None) -> bool:
        """Do slices for *budget_s* seconds; the last may exceed it.  False where nothing is left to do.

        boot_ms: since the machine started; with it, a time that jumped ahead is believed after a day.  The bound on the size holds always.
        """
        if boot_ms is not None:
            now = self._clock.now(now, boot_ms)
            if self._clock.due:
                with self._store.write() as db:
                    self._clock.keep(db)
        until = self._machine.steady_s() + budget_s
        while self.step(now, log_first):
            if self._machine.steady_s() >= until:
                return True
        return False

    def _settled(self) -> int:
        windows = self._store.totals.get("windows", 0) * WINDOW_ROW_BYTES
        return SETTLED_MS if windows > self._windows_limit and self._is_full() else self._roll_up_after

    def _is_full(self) -> bool:
        pages = self._pragma("page_count") - self._pragma("freelist_count")
        return pages * self._pragma("page_size") > self._limit

    def _pragma(self, name: str) -> int:
        return self._db.execute(f"PRAGMA {name}").fetchone()[0]

    def _drop_expired(self, before: int) -> bool:
        return (
            self._drop_keyed("minutes", "window", before)
            or self._drop_keyed("alerts", "time", before)
            or self._drop_keyed("historia", "time", before)
            or self._drop_numbered("late", "arrival", before)
            or self._drop_numbered("outbox", "time", before)
        )

    def _drop_for_space(self) -> bool:
        """Drop the oldest minutes, alerts or events while the store is full."""
        if not self._is_full():
            return False
        oldest = {name: self._oldest(name, column) for name, column in (("minutes", "window"), ("alerts", "time"), ("historia", "time"))}
        filled = {name: moment for name, moment in oldest.items() if moment is not None}
        if not filled:
            return False
        table = min(filled, key=filled.__getitem__)
        return self._drop_keyed(table, "window" if table == "minutes" else "time", 1 << 62)

    def _oldest(self, table: str, column: str) -> int | None:
        return self._db.execute(f'SELECT min("{column}") FROM {table}').fetchone()[0]

    def _drop_keyed(self, table: str, column: str, before: int) -> bool:
        """Drop a slice of the rows older than *before* (ms), whole moments, from a table that is ordered by time."""
        oldest = self._oldest(table, column)
        if oldest is None or oldest >= before:
            return False
        row = self._db.execute(
            f'SELECT "{column}" FROM {table} ORDER BY 1 LIMIT 1 OFFSET ?', (self._slice,)
        ).fetchone()
        end = min(before, max(row[0], oldest + 1) if row else before)
        newest_turn = "max(turn)" if table == "alerts" else "0"
        chosen = f'FROM {table} WHERE "{column}" < ?'
        totals = dict(self._store.totals)
        with self._store.write() as db:
            turn = db.execute(f"SELECT {newest_turn} {chosen}", (end,)).fetchone()[0]
            gone = db.execute(f"DELETE {chosen}", (end,)).rowcount
            totals[table] = totals.get(table, 0) - gone
            totals[f"{table}_pruned"] = max(totals.get(f"{table}_pruned", 0), turn)
            self._store.save_totals(totals)
        self._store.totals = totals
        return True

    def _drop_numbered(self, table: str, column: str, before: int) -> bool:
        """Drop a slice of the oldest blobs, as far as they are older than *before* (ms)."""
        sql = f"SELECT seq, turn, length(frames), {column} FROM {table} ORDER BY seq LIMIT ?"
        totals = dict(self._store.totals)
        last = 0
        for seq, turn, size, moment in self._db.execute(sql, (self._slice,)):
            if moment >= before:
                break
            last = seq
            count_drop(totals, table, turn, size)
        if not last:
            return False
        with self._store.write() as db:
            db.execute(f"DELETE FROM {table} WHERE seq <= ?", (last,))
            self._store.save_totals(totals)
        self._store.totals = totals
        return True

    def _prune_turns(self, log_first: int) -> bool:
        """Drop turn records that can be replayed neither from a snapshot nor from the journal."""
        snapshots = self._store.snapshots()
        if len(snapshots) < 2:
            return False
        end = (self._oldest("turns", "turn") or 0) + TURNS_SLICE
        row = self._db.execute("SELECT to_offset FROM turns WHERE turn = ?", (end,)).fetchone()
        if row is None or end > snapshots[-1][0] or row[0] >= log_first:
            return False
        with self._store.write() as db:
            db.execute("DELETE FROM turns WHERE turn < ?", (end,))
        return True

    def _give_back(self) -> bool:
        """Return a few free pages to the disk when the file is beyond its bound."""
        size, spare = self._pragma("page_size"), self._pragma("freelist_count")
        if spare < VACUUM_PAGES or self._pragma("page_count") * size <= self._limit:
            return False
        with self._store.write() as db:
            db.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
        return True
