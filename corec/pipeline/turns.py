"""Turns of one shard: batches from the log go into the engine, and what comes of them goes into the store.

A turn is folded as its batches come and committed when it holds an alert or a critical reading, when it
has grown, or half a second after it began.
"""
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from corec.common.clock import MACHINE, Clock
from corec.common.trouble import Trouble
from corec.common.units import MB
from corec.config import Config
from corec.config.registered import keeping_registered
from corec.engine import LOAD_STEPS
from corec.engine.commands import Reload
from corec.engine.outcome import Outcome
from corec.errors import CoreCError, DamagedFile, FenceLost, UsageError
from corec.pipeline.arrival import ArrivalClock
from corec.pipeline.checkpoints import Checkpoints
from corec.pipeline.flash import FlashBudget
from corec.pipeline.housekeeping import Housekeeping
from corec.pipeline.owed_turn import RETRY_S, OwedTurn
from corec.pipeline.plugin_entries import Outgoing, Sent
from corec.pipeline.recovery import Opened, name_blocks
from corec.pipeline.refusals import RefusalLog
from corec.pipeline.still_waiting import StillWaiting
from corec.pipeline.unfoldable import FoldableFilter, named
from corec.storage.base import TurnRecord
from corec.streams.base import Entry, unpacked_bytes

log = logging.getLogger("corec.node.pipeline")

#: Batches are folded this often while they come in.
FOLD_EVERY_S = 0.01
#: A turn without alerts is committed this long after it began, later where a budget of flash asks for it (pipeline/flash.py).
COMMIT_EVERY_S = 0.5
#: Below this load batches are folded at once.
EAGER_LOAD = 0.6
#: Bytes of batches, unpacked, that end a turn: a commit holds a bounded amount in memory, however well its batches compress.
TURN_BYTES = 8 * MB
#: Bytes of the log, unpacked, that are read in one go.
READ_BYTES = MB
#: After this long without readings, time goes on by a tick.
TICK_MS = 1000
#: Seconds between two checks of whether the clock has to be set.
LOOK_AT_CLOCK_S = 1.0
#: Most of a journal with a small bound that one turn may hold.
TURN_SHARE = 1 / 8
#: Entries of an output stream read at once.
MOST_READ = 100_000
#: Commands after which blocks have other entities.
CHANGE_BLOCKS = ("fuse", "undo")
#: Weight of the newest turn in the load.
LOAD_ALPHA = 0.2


class Counted(NamedTuple):
    """A ledger and what of it was shed, both of one moment."""

    ledger: dict[str, int]
    shed_by: dict[str, dict[str, int]]  # cause -> channel -> readings


class PipelineListener:
    """Callbacks of a pipeline, in the thread that drives it; override what you need."""

    def folded(self, entries: Sequence[Entry]) -> None:
        """Batches of the log were folded; their turn is not committed yet."""

    def waits(self, pipeline: "Pipeline", outcome: Outcome) -> None:
        """The store does not take a turn for now; it is tried again, and `committed` comes then."""

    def committed(self, pipeline: "Pipeline", outcome: Outcome, sent: list[Sent]) -> None:
        """A turn is in the store, with the stream entries that plugins *sent*."""

    def cursor_notes(self) -> dict[str, str]:
        """What the engine's cursor is to hold beside positions in streams."""
        return {}


class Pipeline:
    """Turns, one after the other, driven by one thread (node/pipeline_thread.py).  The public methods say which thread may call them."""

    def __init__(self, opened: Opened, config: Config, listener: PipelineListener | None = None, *,
                 woken: threading.Event | None = None, clock: Clock = MACHINE,
                 held_back: Callable[[], str] = lambda: "") -> None:  # fmt: skip
        """woken: set when there is something to do; pipelines that one thread drives share it.
        held_back: what holds readings back beside the intake, as text; "" where nothing does.
        """
        self._opened, self._config, self._clock = opened, config, clock
        self._listener = listener or PipelineListener()
        self.engine, self._intake, self._store = opened.engine, opened.intake, opened.store
        self.flash = FlashBudget(config.max_flash_mb_per_day, config.instance_id, now=lambda: clock.wall_ms() / 1000)
        self.checkpoints = Checkpoints(opened, config.instance_id, self.flash, clock)
        self.woken = woken or threading.Event()
        self._commands: deque[tuple[dict[str, Any], Future]] = deque()
        self.stopping = False   # a commit that fails is not tried again then
        self._urgent = False
        self._quiet_until = 0   # ms; time that passed without a turn record
        self._turn_bytes = 0
        self._most_bytes = min(TURN_BYTES, config.max_disk_mb * MB * TURN_SHARE)
        self.trouble = Trouble(log, f"Pipeline-{config.instance_id}", clock=clock)
        self._housekeeping = Housekeeping(opened, config.instance_id, clock)
        self._refusals = RefusalLog(config.instance_id, clock)
        self._snapshots: deque[Future] = deque()
        self._out = Outgoing(clock)
        self._asked: list[Future] = []
        self._applied: list[tuple[dict[str, Any], Future]] = []
        self._record: dict[str, Any] | None = None
        self._owed: OwedTurn | None = None
        self._foldable_filter = FoldableFilter()
        self._read_at = self._clock.steady_s()
        self.arrival = ArrivalClock(opened.intake, self.engine, config.instance_id, clock)
        self.waiting = StillWaiting(lambda: held_back() or opened.intake.holds_back, config.retraso_max, config.instance_id, clock)
        self._look_at_clock = 0.0
        self._correction: Future | None = None
        self.load = 0.0
        self.passes = 0     # progress counter: it also grows while a commit is tried again
        self.counted = self._count_now()    # between folds, when the ledger balances
        self.changed_accounts = self.engine.marks.commit()  # of producers, as `Marks.commit` gave them for the last turn
        self.commit_ms: deque[float] = deque(maxlen=512)
        self.totals = {"messages": 0, "alerts": 0, "rows": 0, "repairs": 0, "muted": 0}
        opened.intake.listen(self.accepted, self.ask_snapshot)
        if opened.reload:
            self.command(Reload(keeping_registered(config, self.engine.config)))

    # --- from other threads --------------------------------------------------------------------

    def accepted(self, urgent: bool = False) -> None:
        """Wake the driver: the log has more entries."""
        self._urgent = self._urgent or urgent
        self.woken.set()

    def command(self, command: dict[str, Any]) -> Future:
        """Have *command* applied in the next turn; the future resolves once that is committed."""
        self.engine.check_command(command)
        done: Future = Future()
        self._commands.append((command, done))
        self.accepted(urgent=True)
        return done

    def take_snapshot(self, timeout: float = 30.0) -> int:
        """Have a snapshot taken now, whatever the tail; returns how many there were, once it is durable."""
        return self._clock.settled(self.ask_snapshot(), timeout).result(0)

    def ask_snapshot(self) -> Future:
        """Have a snapshot taken now; the future resolves to how many there were, once it is durable."""
        self._snapshots.append(done := Future())
        self.accepted()
        return done

    @property
    def waiting_out(self) -> int:
        """Stream entries that wait for the next commit."""
        return len(self._out)

    def put_out(self, stream: str, entry: bytes, urgent: bool = False) -> None:
        """Have an entry of an output stream committed within half a second, at once where it is urgent."""
        first = self._out.put((stream, self._clock.wall_ms(), entry), urgent)
        if urgent or first:     # those behind it need no call
            self.accepted(urgent)

    def read_out(self, stream: str, after: int = 0) -> list[tuple[int, int, bytes]]:
        """(number, time, entry) of what is committed of an output stream behind a number."""
        with self._store.reader() as reader:
            return reader.outbox(stream, after, MOST_READ)

    @property
    def turn(self) -> int:
        """The last committed turn."""
        return self._store.state.turn

    @property
    def ledger(self) -> dict[str, int]:
        """Counts of readings by what became of them; "in" is the sum of the others."""
        return self.counted.ledger

    @property
    def pending(self) -> int:
        """Accepted batches that are not folded yet."""
        return self._intake.pending

    # --- from the thread that drives it --------------------------------------------------------

    @property
    def has_work(self) -> bool:
        """Whether there is anything to fold or to carry out, and the store has taken what came of the turns before."""
        return not self._owed and bool(self.pending or self._commands)

    def step(self) -> None:
        """Take in a bounded amount; end the turn when it is due; hand a piece of a snapshot on."""
        began = self._clock.steady_s()
        self.passes += 1
        self.flash.look()
        if began >= self._look_at_clock and not self._owed:
            self._correct_clock(began)
        if self._is_paid():
            self._take_in()
        if self._is_paid():
            self._tick_if_quiet(began)
        if self._is_paid() and self._turn_is_over(began):
            self.end_turn()
        if self._is_paid():
            self._update_snapshots()

    def rest_s(self, busy: float) -> float:
        """How long the driver may wait before the next step, after one that took *busy* seconds."""
        if self._owed:
            return RETRY_S
        if self.pending:
            return 0.0
        if self.checkpoints.busy:
            return 0.001
        if self._record is None:
            return 0.0 if self._out else TICK_MS / 1000
        if self.load > EAGER_LOAD:
            return max(0.0, FOLD_EVERY_S - busy)    # what comes meanwhile is folded together
        return min(max(FOLD_EVERY_S, self._due() - self._clock.steady_s()), TICK_MS / 1000)

    def finish(self, by: float) -> None:
        """Commit what is open; leave a snapshot behind if it is durable *by* this moment of the monotonic clock."""
        self.end_turn()
        while self._out:
            self._open_turn([])
            self.end_turn()
        self.checkpoints.end(by)

    def give_up(self) -> None:
        """Cancel the futures of commands, snapshots and stream entries that are not done."""
        for waiting in (*(future for _, future in (*self._applied, *self._commands)), *self._snapshots, *self._asked):
            waiting.cancel()

    def measure_load(self, busy: float, whole: float) -> None:
        """The share of its time that the pipeline works, smoothed; 1 while it lags behind."""
        share = 1.0 if self.pending > 64 else busy / max(whole, 1e-6)
        self.load += LOAD_ALPHA * (min(share, 1.0) - self.load)

    # --- inside --------------------------------------------------------------------------------

    def _update_snapshots(self) -> None:
        if self._snapshots and not self.checkpoints.busy and not self._asked:
            self.end_turn()
            if self._owed:
                return
            self._asked = [self._snapshots.popleft() for _ in range(len(self._snapshots))]
            self.checkpoints.begin()
        self.checkpoints.work()
        if self._record is None:
            self.checkpoints.make_room()
        if self._asked and not self.checkpoints.busy:
            for waiting in self._asked:
                waiting.set_result(self.checkpoints.count)
            self._asked = []

    def _take_in(self) -> None:
        """Carry out the commands that wait, in a turn of their own; fold what the log has, up to a bounded amount."""
        if self._commands:
            self.end_turn()     # before anything is read: what a turn read is what it commits
            if self._owed:
                return
            self._open_turn([self._commands.popleft() for _ in range(len(self._commands))])
        entries = self._intake.read(READ_BYTES)
        if (entries or self._out) and self._record is None:
            self._open_turn([])
        if entries:
            self._foldable_filter.fold(self.engine.fold_batches, ((entry.payload, entry.arrival) for entry in entries))
            self._read_at = self._clock.steady_s()
            self.waiting.over()
            self._turn_bytes += sum(unpacked_bytes(entry.payload) for entry in entries)
            self.counted = self._count_now()
            self._listener.folded(entries)

    def _count_now(self) -> Counted:
        return Counted(self.engine.ledger, self.engine.shed_by)

    def _open_turn(self, applied: list[tuple[dict[str, Any], Future]]) -> None:
        self._applied = applied
        commands = [command for command, _ in applied]
        if self._quiet_until:
            commands.insert(0, {"op": "advance", "to": self._quiet_until})
        load_q = round(self.load * LOAD_STEPS)
        self._record = {"load_q": load_q, "commands": commands, "began": self._clock.steady_s(), "config_hash": self.engine.config.digest,
                        "readings": self.engine.arrived, "first": len(commands) - len(self._applied)}  # fmt: skip
        self._turn_bytes, self._foldable_filter = 0, FoldableFilter()
        self.engine.begin_turn(load_q, commands)

    def _turn_is_over(self, now: float) -> bool:
        if self._record is None:
            return False
        first = not self.commit_ms      # the first turn of a start: its result shows that the node works
        at_once = first or self._urgent or bool(self._applied) or self.engine.has_alerts or self._out.due
        return at_once or now >= self._due() or self._turn_bytes >= self._most_bytes

    def _correct_clock(self, now: float) -> None:
        if self._intake.anchor is not None:
            self._look_at_clock = now + LOOK_AT_CLOCK_S
        if not self.stopping and (self._correction is None or self._correction.done()) and (command := self.arrival.correction()):
            self._correction = self.command(command)

    def _due(self) -> float:
        """When the open turn is committed, whatever is in it."""
        return self._record["began"] + COMMIT_EVERY_S * self.flash.interval_factor

    def _tick_if_quiet(self, now: float) -> None:
        """Let time go on after a second without readings, so that windows close and silence shows."""
        if self.pending or now - self._read_at < TICK_MS / 1000:
            return
        tick = self.arrival.now()
        if self.waiting.holds(now) or tick - self.engine.clock < TICK_MS:
            return
        if self._record is not None:
            if now >= self._due():
                self.end_turn(tick)
            return
        before = self.engine.arrived
        self.engine.begin_turn()
        outcome = self.engine.end_turn(tick)
        self._quiet_until = tick
        if not outcome.empty or self.engine.arrived != before:     # else the next turn record says it as a command
            self._record = {"load_q": 0, "commands": [], "config_hash": self.engine.config.digest, "readings": before}
            self._commit(outcome, tick)

    def end_turn(self, tick: int = 0) -> None:
        """Commit the open turn, if one is open, after time has gone on to *tick* ms."""
        if self._is_paid() and self._record is not None:
            urgent, self._urgent = self._urgent, False
            self._note_what_was_read(self._record["commands"])
            outcome = self.engine.end_turn(tick)
            for each in self._foldable_filter.left_out:
                log.error("[Pipeline-%s] %s is put aside, with the cause %s", self._config.instance_id, named(each.frames, each.arrival),
                          each.cause)  # fmt: skip
            outcome.aside.extend(self._foldable_filter.left_out)
            self._commit(outcome, tick, urgent or bool(self._applied))

    def _note_what_was_read(self, commands: list[dict[str, Any]]) -> None:
        if left_out := self._foldable_filter.command():
            commands.append(left_out)
        note = self._intake.note()
        if note:
            note |= self.engine.reached()
            note["cursor"] |= self._listener.cursor_notes()
            self.engine.apply_command(note)
            commands.append(note)

    def _commit(self, outcome: Outcome, tick: int, waited_for: bool = False) -> None:
        record, state = self._record, self._store.state
        turn = TurnRecord(state.turn + 1, state.offset, self._intake.offset, record["load_q"], tick, record["commands"],
                          record["config_hash"], self._clock.wall_ms())  # fmt: skip
        sent = self._out.take(waited_for or len(outcome.alerts) > 0)
        self._owed, self._record = OwedTurn(turn, outcome, sent, record, self._clock), None
        self._is_paid()

    def _is_paid(self) -> bool:
        """Whether the store has taken every turn that is over; it is asked again where it has not."""
        if not (owed := self._owed):
            return True
        if owed.is_committed(self._store, self.engine, self.trouble, last=self.stopping):
            self._owed = None
            self._committed(owed)
            return True
        if not owed.waits:
            owed.waits = True
            self._listener.waits(self, owed.outcome)
        return False

    def _committed(self, owed: OwedTurn) -> None:
        outcome, record = owed.outcome, owed.record
        self.commit_ms.append(1000 * (self._clock.steady_s() - owed.began))
        self._quiet_until = 0
        self.counted = self._count_now()
        self.changed_accounts = self.engine.marks.commit()
        self._housekeeping.run()
        self._count(outcome)
        self._refusals.note(self.engine, outcome)
        self._name_blocks(record["commands"])
        self._answer(owed.turn.turn, outcome, record.get("first", 0))
        self.checkpoints.committed(self.engine.arrived - record["readings"])
        self._listener.committed(self, outcome, owed.sent)

    def _name_blocks(self, commands: list[dict[str, Any]]) -> None:
        if not any(command["op"] in CHANGE_BLOCKS for command in commands):
            return
        try:
            name_blocks(self._store, self.engine)
        except (DamagedFile, FenceLost):
            raise
        except CoreCError as error:
            log.error("[Pipeline-%s] the store gets the changed blocks at the next start: %s", self._config.instance_id, error)

    def _answer(self, turn: int, outcome: Outcome, first: int) -> None:
        """Resolve the futures of the turn's commands.  first: index of the first of these among all commands of the turn."""
        refused = {refusal.command: refusal for refusal in outcome.refused}
        for place, (_, waiting) in enumerate(self._applied, first):
            if place in refused:
                waiting.set_exception(UsageError(refused[place].text, hint=refused[place].hint))
            else:
                waiting.set_result(turn)
        self._applied = []

    def _count(self, outcome: Outcome) -> None:
        self.totals["messages"] += len(outcome.messages)
        self.totals["alerts"] += len(outcome.alerts)
        self.totals["muted"] += len(outcome.muted)
        self.totals["rows"] += len(outcome.aggregates)
        self.totals["repairs"] += sum(repair.entities for repair in outcome.repairs)
