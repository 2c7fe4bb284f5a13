"""CoreC's model a second time: slow, plain, and without a line of the engine's.

    oracle = Oracle({"bloques": [{"id": "a", "canal": 1, "entidades": 1000}]})
    result = oracle.feed(frames, at=1_700_000_000_000)
    result.rows, result.messages, result.alerts     # lists of tuples, in the order of the engine's dtypes

Every entity is a place in some NumPy columns, one column a quantity, so that a batch is folded in stretches of
distinct entities; every block and window is a small object.  Entities count in float32 and windows in Python floats,
each operation in the order docs/model.md gives it, so results agree with the engine's bit for bit.
Time is never kept modulo anything, nothing is packed, nothing hibernates: what those do to results must be nothing.
"""
from dataclasses import dataclass, field

import numpy as np

from tests.support.oracle.audit import ANOMALY, Auditor
from tests.support.oracle.blocks import Entry, Layout, Rules
from tests.support.oracle.entities import (
    ALERT_FAILURE,
    ALERT_HIGH,
    ALERT_SILENCE,
    DECLARED,
    FAILING,
    LARGEST,
    NEVER,
    NOT_FINITE,
    QUALITIES,
    SILENT,
    Entities,
    F,
    dice,
    native_values,
)
from tests.support.oracle.wire import Opened, read_envelope

REFUSED = "refused"
ALERT_LATE = 6
#: For how long an entity that is silent is taken to have been so, 10 ms.
LONG_AGO = 2**30
#: `retencion_dias`, if nothing else is said.
KEEP_DAYS = 30
#: Readings kept that were refused for their time.
MOST_KEPT = 32_768
CAUSES = ("malformed", "channel", "id", "skew", "repeated")
FRAME = np.dtype([("id", ">u4"), ("canal", "i1"), ("valor", ">f4"), ("estado", "u1")])


@dataclass
class Result:
    """The outcome of a turn; tuples have the order of AGGREGATE, MESSAGE, ALERT, PutAside and Repair."""

    rows: list = field(default_factory=list)
    messages: list = field(default_factory=list)
    alerts: list = field(default_factory=list)
    rejected: dict = field(default_factory=dict)
    late: int = 0
    aside: list = field(default_factory=list)
    repairs: list = field(default_factory=list)
    fusions: list = field(default_factory=list)  # (time, what, block, host, failing, entities, inherited)
    refused: list = field(default_factory=list)  # places of commands
    muted: list = field(default_factory=list)  # alerts
    recovered: int = 0
    clock_jump: int = 0


class Oracle:
    """All state of a node, from a configuration as a mapping; CSV paths are relative to *folder*."""

    def __init__(self, config, folder="."):
        self._folder = folder
        self.clock = self.watermark = self.folds = self.passes = self.skipped = self.offset = 0
        self._pool = []  # (block, window) of all windows beside the two of each block, in the order in which they came
        self._newest = {}  # entity -> ms of its newest reading, where its segment keeps them
        self._alerted = {}  # entity -> start of the window for which a late alert was raised last
        self._ordered = set()  # segments that keep event times
        self._expected, self.gaps = {}, 0
        self.accounts = {}  # (producer, epoch) -> what became of its readings: taken, late, then by CAUSES
        self._timed_out = []  # (producer and epoch, tick, age, [(time, frame)]) of batches refused for their time
        self._stepped_at = {}
        self.counts = dict.fromkeys(("in", "stored", "filtered", "late", "shed", *CAUSES), 0)
        self._configure(config)
        self.at = Layout(self.entries)
        self._fused = {}  # block -> the segments that it gave
        self._mutes = {}  # block's name or wire id -> until
        self.blocks = self.at.blocks
        self.low, self.high = self.at.limits(self.entries)
        self.state = Entities(len(self.at.place))
        self._begin(0.0)

    def _configure(self, config):
        self._config = config
        audits = "auditoria" in config.get("modules", ["auditoria"]) and config.get("rol") != "sensor"
        self._auditor = (getattr(self, "_auditor", None) or Auditor()) if audits else None
        self.entries = [Entry(spec, self._folder) for spec in config["bloques"]]
        self.rules = Rules(self.entries)
        self.lateness = round(config.get("retraso_max", 2.0) * 1000)
        self.max_skew, self.max_lead = config.get("max_skew", 86_400) * 1000, config.get("max_adelanto", 10) * 1000
        self.keep = config.get("retencion_dias", KEEP_DAYS) * 86_400_000
        self._lengths = {1000} | {entry.window for entry in self.entries}
        self.rules.tell_time(self.clock - self.skipped)

    # --- what comes in -------------------------------------------------------------------------

    def feed(self, frames, *, at, load=0.0):
        self._begin(load)
        self._note_jump(at)
        self._advance(at)
        self._fold_frames(frames, at, None)
        return self._end()

    def feed_arrays(self, ids, values, *, at, channel, load=0.0, states=None):
        self._begin(load)
        ids = np.asarray(ids, np.int64)
        oks = np.ones(len(ids), int) if states is None else np.asarray(states).astype(int)
        with np.errstate(over="ignore"):
            values = np.asarray(values).astype(F)
        if np.size(at):
            self._note_jump(int(np.max(at)))
        self._fold_recording(ids, np.full(len(ids), channel), values, oks, at if np.ndim(at) == 0 else np.asarray(at, np.int64))
        return self._end()

    def _note_jump(self, at):
        if self.clock and not -self.max_skew <= at - self.clock <= self.max_skew:
            self._result.clock_jump = at - self.clock

    def tick(self, at, *, load=0.0):
        self._begin(load)
        self._advance(at)
        return self._end()

    def step(self, at, *, load=0.0):
        self._begin(load)
        self._advance(at, step=False)
        self._step(range(len(self.entries)))
        return self._end()

    def finish(self):
        self._begin(self._load)
        self._close_windows(np.inf)
        return self._end()

    def turn(self, batches, *, load_q=0, commands=(), tick=0):
        """*batches*: (envelope bytes or `Opened`, arrival ms) each; *commands*: mappings with "op", as in a turn record."""
        self._begin(load_q / 255)
        for number, command in enumerate(commands):
            if getattr(self, f"_do_{command['op']}")(command) == REFUSED:
                self._result.refused.append(number)
        for batch, arrival in batches:
            self._fold_batch(batch, arrival)
        if tick:
            self._advance(tick)
        return self._end()

    # --- what may be asked ---------------------------------------------------------------------

    @property
    def ledger(self):
        rejected = {f"rejected_{cause}": self.counts[cause] for cause in CAUSES}
        plain = {name: self.counts[name] for name in ("in", "stored", "filtered", "late", "shed")}
        return plain | {"rejected": sum(rejected.values())} | rejected

    def entity(self, id):
        """What is known of one entity, by its wire id."""
        e, s = self.at.find(np.array([id]))[0], self.state
        return {
            "valor": float(s.value[e]), "activo": bool(s.active[e]), "emitted": float(s.emitted[e]), "mean": float(s.slow[e]),
            "std": float(np.sqrt(s.var[e])), "fast_mean": float(s.fast[e]), "mean_step": float(s.change[e]),
            "peak_score": float(s.peak[e]), "quality": QUALITIES[s.quality[e]], "failures": int(s.fails[e]),
            "error_level": int(s.level[e]), "warm_up": int(s.warm[e]),
        }

    # --- a turn --------------------------------------------------------------------------------

    def _begin(self, load):
        self._result, self._before, self._looked = Result(), dict(self.counts), 0
        self._load = round(min(max(load, 0.0), 1.0) * 255) / 255
        self.rules.set_load(self.entries, self._load)

    def _end(self):
        self._repair_sick()
        result = self._result
        self._audit(result)
        result.muted = [alert for alert in result.alerts if self._is_muted(alert)]
        result.alerts = [alert for alert in result.alerts if not self._is_muted(alert)]
        self._mutes = {subject: until for subject, until in self._mutes.items() if until > self.clock}
        new = {name: self.counts[name] - self._before[name] for name in self.counts}
        new["skew"] += result.recovered
        result.rejected, result.late = {cause: new[cause] for cause in CAUSES if new[cause]}, new["late"]
        return result

    def _audit(self, result):
        if self._auditor:
            settings = {"ventanas": 1500, "umbral": 3.0} | self._config.get("auditoria", {})
            first_id = lambda index: int(self.at.wire[self.at.home(self.blocks[index])[0]])  # noqa: E731
            result.rows, anomalies = self._auditor.judge(result.rows, (settings["ventanas"], settings["umbral"]), first_id)
            result.alerts += anomalies

    def _named(self, command, key="block"):
        return next(block for block in self.blocks if block.name == command[key])

    def _do_repair(self, command):
        self._repair(self._named(command))

    def _do_fuse(self, command):
        weak, host = self._named(command), self._named(command, "host")
        strong_enough = weak.last_fitness < weak.entry.min_fitness and host.last_fitness > 0.5
        if (weak is host or weak.host or host.host or weak.entry.canal != host.entry.canal
                or weak.entities + host.entities > 2 * host.entry.per_block or not (strong_enough or command.get("force"))):  # fmt: skip
            return REFUSED
        failing, entities, moved = weak.failing, weak.entities, self.at.owned(weak)
        self._hand_over(moved, host)
        weak.host, self._fused[weak] = host, moved
        inherited = self._regenerate(host, moved)
        self._result.fusions.append((self.clock, "fuse", weak.index, host.index, failing, entities, inherited))

    def _do_undo(self, command):
        weak = self._named(command)
        if not weak.host or weak.host.host:
            return REFUSED
        host, weak.host = weak.host, None
        self._hand_over(self._fused.pop(weak), weak)
        self._result.fusions.append((self.clock, "undo", weak.index, host.index, weak.failing, weak.entities, 0))

    def _do_mute(self, command):
        subject = command.get("entity", command.get("block"))
        self._mutes.pop(subject, None)
        if command["until"] > self.clock:
            self._mutes[subject] = command["until"]

    def _do_inherit(self, command):
        pass

    def _do_ack(self, command):
        pass

    def _is_muted(self, alert):
        time, id, counts_in = alert[:3]
        home = next(block for block in self.blocks if self.at.find(np.array([id]))[0] in self.at.home(block))
        subjects = (None if alert[4] == ANOMALY else id, home.name, self.blocks[counts_in].name)
        return any(time < self._mutes.get(subject, 0) for subject in subjects)

    def _hand_over(self, segments, block):
        """What a block counts is always what there is in the segments that it owns."""
        owners = {segment.owner for segment in segments} | {block}
        for segment in segments:
            segment.owner = block
        self.at.tell_owners()
        for owner in owners:
            mine = np.flatnonzero(self.at.block_of == owner.index)
            owner.entities = len(mine)
            owner.heard = int((self.state.quality[mine] != NEVER).sum())
            owner.failing = int((self.state.level[mine] >= FAILING).sum())

    def _do_reload(self, command):
        before = self.entries
        self._take_over(command["config"])
        units = np.array([[old.shift, new.shift] for old, new in zip(before, self.entries, strict=True)])[self.at.entry_of]
        self.state.seen = self.state.seen << units[:, 0] >> units[:, 1]

    def _do_detach(self, command):
        s, mine = self.state, self._of_entry(command["block"])
        heard = mine[s.quality[mine] != NEVER]
        s.quality[heard], s.active[heard] = SILENT, False
        self.at.gone.add(command["block"])

    def _of_entry(self, id):
        return np.flatnonzero(np.array([entry.id == id for entry in self.entries])[self.at.entry_of])

    def _do_attach(self, command):
        if command["entry"]["id"] in self.at.gone:
            self.at.gone.remove(command["entry"]["id"])
            return
        self._take_over(self._config | {"bloques": [*self._config["bloques"], command["entry"]]})

    def _take_over(self, config):
        """Another configuration of the same entries, and perhaps one more."""
        before = self.entries
        self._configure(config)
        for each in (*self.blocks, *self.at.segments):
            each.entry = self.entries[before.index(each.entry)]
        for count in range(len(before) + 1, len(self.entries) + 1):
            self.at.attach(self.entries[:count])
        self.state.grow(len(self.at.place))
        self.low, self.high = self.at.limits(self.entries)
        self.rules.set_load(self.entries, self._load)

    def _do_shed(self, command):
        self._count("in", command["readings"])
        self._count("shed", command["readings"])

    def _do_read(self, command):
        """Where a log was read to is nothing that a result depends on."""

    def _do_clock(self, command):
        if command["to"] < self.clock:
            self._close_windows(np.inf)
            for block in self.blocks:
                block.closed_until = 0
        delta = command["to"] - self.clock
        self._stepped_at = {entry: at + delta for entry, at in self._stepped_at.items()}
        self.skipped, self.offset = self.skipped + delta, command["offset"]
        self.clock, self.watermark = command["to"], command["to"] - self.lateness
        self._close_windows(self.watermark)
        self._fold_refused()

    def set_clock(self, at):
        self._begin(self._load)
        self._do_clock({"to": at, "offset": 0})
        return self._end()

    def _do_advance(self, command):
        self._advance(command["to"])

    def _do_finish(self, command):
        self._close_windows(np.inf)

    def _count(self, name, n=1):
        self.counts[name] += int(n)

    def _refuse(self, cause, n):
        self._count("in", n)
        self._count(cause, n)

    # --- time ----------------------------------------------------------------------------------

    def _advance(self, now, step=True):
        if now <= self.clock:
            return
        second, watermark = self.second, self.watermark
        self.clock, self.watermark = now, now - self.lateness
        self.rules.tell_time(now - self.skipped)
        if self.second != second:
            self._mark_silent(second)
        due = any(window.amends and window.closes <= now for _, window in self._pool)
        if due or any(self.watermark // length != watermark // length for length in self._lengths):
            self._close_windows(self.watermark)
        if step:
            due = [k for k, entry in enumerate(self.entries) if now - self._stepped_at.get(k, 0) >= entry.interval]
            self._step(due)

    @property
    def second(self):
        """Seconds that the clock went on."""
        return (self.clock - self.skipped) // 1000

    def _mark_silent(self, since):
        s, entry, tick = self.state, self.at.entry_of, self.rules.tick
        moved = tick != np.int64(since) >> self.rules.shift
        heard = (s.quality != NEVER) & (s.quality != SILENT) & moved[entry]
        silent = np.flatnonzero(heard & (tick[entry] - s.seen > self.rules.silence[entry]))
        s.quality[silent], s.active[silent] = SILENT, False
        for e in silent:
            if self.entries[self.at.entry_of[e]].silence_alerts:
                self._alert(e, self.clock, ALERT_SILENCE, s.value[e], 0.0)

    def _close_windows(self, until):
        for block in self.blocks:
            for window in block.pool:
                if (window.closes - (self.clock - self.watermark) if window.amends else window.end) <= until:
                    self._result.rows.append(block.close_pooled(window, self._pool))
            for name in ("older", "newest"):
                window = getattr(block, name)
                if window and window.end <= until:
                    self._result.rows.append(block.close(name))
        self._repair_sick()

    def _open_window(self, block, time):
        """A new window for *time*; None when that is too long ago."""
        if time < self.clock - self.keep:
            return None
        window, rows = block.open_window(time, self.clock, self.watermark, self.clock - self.watermark, self._pool)
        self._result.rows += rows
        return window

    # --- repair --------------------------------------------------------------------------------

    def _repair_sick(self):
        """Blocks with a row since the last look, in order."""
        rows = self._result.rows
        closed = sorted({row[0] for row in rows[self._looked :] if row[10] == row[10]})     # rows that amend have no fitness
        self._looked = len(rows)
        for block in [self.blocks[index] for index in closed]:
            if block.failing > float(block.entry.max_errors) * block.entities:
                self._repair(block, ordered=False)

    def _repair(self, block, ordered=True):
        repaired = self._regenerate(block, self.at.owned(block), ordered)
        if repaired:
            self._result.repairs.append((self.clock, block.index, repaired))

    def _regenerate(self, block, segments, ordered=True):
        """How many failing entities of *segments*, which are the block's, started afresh."""
        s, repaired, second = self.state, 0, self.second
        for segment in segments:
            for e in segment.entities:
                if s.level[e] >= FAILING and (ordered or s.is_due(e, second)):
                    s.repair(e, self._donor(e, segment), second)
                    repaired += 1
        block.failing -= repaired
        return repaired

    def _donor(self, e, segment):
        """The fittest healthy entity of the segment, then the nearest, then the one before; else of its owner's others."""
        fit = self._healthy(segment)
        if len(fit):
            return min(fit, key=lambda other: (self.state.level[other], abs(other - e), other))
        def alike(other):
            return other.entry is segment.entry or not (other.entry.function or segment.entry.function)

        afar = [other for each in self.at.owned(segment.owner) if alike(each) for other in self._healthy(each)]
        return min(afar, key=lambda other: (self.state.level[other], other), default=None)

    def _healthy(self, segment):
        mine = segment.entities
        return mine[self.state.active[mine] & (self.state.level[mine] < FAILING)].tolist()

    # --- readings ------------------------------------------------------------------------------

    def _repeated(self, producer, epoch, sequence, count):
        expected = self._expected.get((producer, epoch), sequence)
        self.gaps = min(self.gaps + max(0, sequence - expected), 2**63)
        self._expected[producer, epoch] = max(expected, sequence + count)
        return min(max(0, expected - sequence), count)

    def _fold_batch(self, data, arrival):
        batch = data if isinstance(data, Opened) else read_envelope(data)
        if batch is None:
            self._refuse("malformed", 1)
            return
        producer, epoch, sequence, _, frames, _, _ = batch
        count = len(frames) // 10
        if sequence + count >= 2**64:
            self._refuse("malformed", count)
            return
        if not (producer or epoch):
            self._fold_sound(batch, arrival, 0)
            return
        before = self._became()
        by_time = self._fold_sound(batch, arrival, self._repeated(producer, epoch, sequence, count))
        mine = self.accounts.setdefault((producer, epoch), [0] * len(before))
        for k, now in enumerate(self._became()):
            mine[k] += now - before[k] - by_time[k]

    def _became(self):
        return [self.counts["stored"] + self.counts["filtered"], self.counts["late"], *(self.counts[cause] for cause in CAUSES)]

    def _fold_sound(self, batch, arrival, again):
        """Fold a batch whose first *again* readings came before; returns what functions gave, because time went on, as `_became`."""
        _, _, _, time, frames, offsets, age = batch
        count = len(frames) // 10
        self._refuse("repeated", again)
        frames, offsets = frames[again * 10 :], None if offsets is None else offsets[again:]
        if again == count:
            return [0] * (2 + len(CAUSES))
        arrival += self.offset
        times = [time] * (count - again) if offsets is None else [time + int(offset) for offset in offsets]
        before = self._became()
        self._advance(arrival)
        by_time = [now - then for now, then in zip(self._became(), before, strict=True)]
        possible = [arrival - age - self.max_skew <= each <= arrival + self.max_lead for each in times]
        wrong = [k for k, fits in enumerate(possible) if not fits]
        if wrong:
            self._refuse("skew", len(wrong))
            self._result.aside.append((times[wrong[0]], arrival, b"".join(bytes(frames[k * 10 : k * 10 + 10]) for k in wrong), "skew"))
            self._keep_refused((batch.producer, batch.epoch), self._second(), age,
                               [(times[k], bytes(frames[k * 10 : k * 10 + 10])) for k in wrong])  # fmt: skip
        chosen = sorted((k for k, fits in enumerate(possible) if fits), key=lambda k: times[k])
        whole = b"".join(bytes(frames[k * 10 : k * 10 + 10]) for k in chosen)
        self._fold_frames(whole, 0, np.array([times[k] for k in chosen], np.int64))
        return by_time

    def _second(self):
        return (self.clock - self.skipped) // 1000

    def _keep_refused(self, key, tick, age, readings):
        if 0 < len(readings) <= MOST_KEPT:
            self._timed_out.append((key, tick, age, readings))
        while sum(len(each) for *_, each in self._timed_out) > MOST_KEPT:
            self._timed_out.pop(0)

    def _fold_refused(self):
        kept, self._timed_out = self._timed_out, []
        for key, tick, age, readings in kept:
            before, waited = self._became(), age + 1000 * (self._second() - tick)
            first, last = self.clock - self.max_skew - waited, self.clock + self.max_lead
            fit = sorted((each for each in readings if first <= each[0] <= last), key=lambda each: each[0])
            self._keep_refused(key, tick, age, [each for each in readings if not first <= each[0] <= last])
            self._refuse("skew", -len(fit))
            self._fold_frames(b"".join(frame for _, frame in fit), 0, np.array([time for time, _ in fit], np.int64))
            self._result.recovered += len(fit)
            for k, now in enumerate(self._became() if key in self.accounts else ()):
                self.accounts[key][k] += now - before[k]

    def _fold_frames(self, frames, time, offsets):
        parts = np.frombuffer(frames, FRAME)
        at = np.full(len(parts), time) if offsets is None else time + offsets.astype(np.int64)
        values = parts["valor"].astype(F)
        self._fold(parts["id"].astype(np.int64), parts["canal"].astype(int), values, parts["estado"].astype(int), at)

    def _fold_recording(self, ids, canales, values, oks, at):
        """Readings of one time, or of many: time then goes on from second to second, in their order."""
        if np.ndim(at) == 0:
            self._advance(int(at))
            self._fold(ids, canales, values, oks, np.full(len(ids), at))
            return
        order = np.argsort(at, kind="stable")
        ids, canales, values, oks, at = (column[order] for column in (ids, canales, values, oks, at))
        cuts = [0, *(np.flatnonzero(np.diff(at // 1000)) + 1), len(at)]
        for run in (slice(a, b) for a, b in zip(cuts, cuts[1:], strict=False) if b > a):
            self._advance(int(at[run].max()))
            self._fold(ids[run], canales[run], values[run], oks[run], at[run])

    def _fold(self, ids, canales, values, oks, times):
        entities = self.at.find(ids)
        malformed, unknown = oks > 1, entities < 0
        foreign = canales != self.at.canal_of[entities]
        self._count("in", len(ids))
        self._count("malformed", malformed.sum())
        self._count("id", (unknown & ~malformed).sum())
        self._count("channel", (foreign & ~unknown & ~malformed).sum())
        usable = np.flatnonzero(~(malformed | unknown | foreign))
        columns = [column[usable].tolist() for column in (entities, values, times)]
        good = (oks[usable] == 1) & (np.abs(values[usable]) <= LARGEST)
        stretch, busy = [], set()
        for e, x, time, is_good in zip(*columns, good.tolist(), strict=True):
            block = self.blocks[self.at.block_of[e]]
            window = block.window(time)
            if e in busy or window is None:
                self._fold_stretch(stretch)
                stretch, busy = [], set()
            window = window or self._open_window(block, time)
            if window is None:
                self._count("late")
                continue
            if self._makes_order(e, time):  # of what was folded before
                self._fold_stretch(stretch)
                stretch, busy = [], set()
                self._keep_order(e)
            if self._is_older(e, time):
                self._fold_stretch(stretch)
                stretch, busy = [], set()
                self._fold_older(e, x, time, is_good, block, window)
                continue
            stretch.append((e, x, time, is_good, block, window))
            busy.add(e)
        self._fold_stretch(stretch)

    def _makes_order(self, e, time):
        return int(self.at.place[e]) // 1024 not in self._ordered and abs(time - self.clock) > self.clock - self.watermark

    def _keep_order(self, e):
        """From now on a segment keeps event times (10 ms); those so far follow from the seconds in which it was heard."""
        index = int(self.at.place[e]) // 1024
        self._ordered.add(index)
        second = self.clock - (self.clock - self.skipped) % 1000
        for each in self.at.segments[index].entities:
            entry = self.entries[self.at.entry_of[each]]
            age = (self.second >> entry.shift) - int(self.state.seen[each])
            silent = self.state.quality[each] == SILENT
            self._newest[each] = second // 10 - LONG_AGO if silent else (second - 1000 * (age << entry.shift)) // 10

    def _is_older(self, e, time):
        """Whether a reading is older than the newest of its entity, as far as its segment keeps event times."""
        if int(self.at.place[e]) // 1024 not in self._ordered:
            return False
        if self.state.quality[e] != NEVER and time // 10 < self._newest[e]:
            return True
        self._newest[e] = time // 10
        return False

    def _fold_older(self, e, x, time, good, block, window):
        """It counts in its window, is held against the limits and is sent on; what the entity has learnt stays."""
        s, entry = self.state, self.entries[self.at.entry_of[e]]
        if s.quality[e] != SILENT:
            s.seen[e] = self.rules.tick[self.at.entry_of[e]]
        value = x if good else float(s.value[e])
        if good:
            window.add(x, 0.0)
            if entry.limited and (x > self.high[e] or x < self.low[e]) and self._alerted.get(e) != window.start // 10:
                self._alerted[e] = window.start // 10
                self._alert(e, time, ALERT_LATE, x, self.high[e] if x > self.high[e] else self.low[e])
        else:
            window.errors += 1
        window.messages += 1
        self._count("stored")
        self._result.messages.append((int(self.at.wire[e]), block.entry.canal, value, bool(good), time))

    def _fold_stretch(self, stretch):
        """Readings of distinct entities whose windows are open."""
        if not stretch:
            return
        counts = self.folds + np.arange(len(stretch))
        self.folds += len(stretch)
        e, x = np.array([reading[0] for reading in stretch], int), np.array([reading[1] for reading in stretch], F)
        good = np.array([reading[3] for reading in stretch], bool)
        r = dice(self.at.place[e], counts.astype(np.uint32))
        told = iter(list(zip(*(column.tolist() for column in self._fold_good(e[good], x[good], r[good])), strict=True)))
        for reading in stretch:
            if reading[3]:
                self._settle_good(*reading, *next(told))
            else:
                self._settle_failure(*reading)

    def _fold_good(self, e, x, r):
        rule = self.rules.of(self.at.entry_of[e])
        phase = (rule.tick + self.at.place[e] // 8) % rule.heartbeat
        with np.errstate(all="ignore"):
            return self.state.fold(e, x, r, rule, phase, self.low[e], self.high[e])

    def _settle_good(self, e, x, time, _good, block, window, leaves, z, alarm, first, healed):
        window.add(x, z)
        block.heard += first
        block.failing -= healed
        self._count("stored" if leaves else "filtered")
        if leaves:
            window.messages += 1
            self._result.messages.append((int(self.at.wire[e]), block.entry.canal, x, True, time))
        if alarm:
            self._alert(e, time, alarm, x, (self.high if alarm == ALERT_HIGH else self.low)[e])

    def _settle_failure(self, e, x, time, _good, block, window):
        cause = DECLARED if abs(x) <= LARGEST else NOT_FINITE
        leaves, restart, first, sick = self.state.fail(e, cause, self.rules.tick[self.at.entry_of[e]])
        window.errors += 1
        window.messages += int(leaves)
        block.heard += int(first)
        block.failing += int(sick)
        self._count("stored" if leaves else "filtered")
        value = float(self.state.value[e])
        if leaves:
            self._result.messages.append((int(self.at.wire[e]), block.entry.canal, value, False, time))
        if restart:
            self._alert(e, time, ALERT_FAILURE, value, 0.0)

    def _alert(self, e, time, kind, value, limit):
        block = self.blocks[self.at.block_of[e]]
        alert = (time, int(self.at.wire[e]), block.index, block.entry.canal, kind, float(value), float(limit))
        self._result.alerts.append(alert)

    # --- native functions ----------------------------------------------------------------------

    def _step(self, wanted):
        """One pass over the entities of these entries, as far as they have native functions."""
        wanted = [k for k in wanted if self.entries[k].function]
        if not wanted:
            return
        self._stepped_at |= dict.fromkeys(wanted, self.clock)
        for segment in self.at.segments:
            if any(segment.entry is self.entries[k] for k in wanted):
                x = native_values(segment.entry.function, self.at.place[segment.entities], self.passes, self.clock)
                self._step_segment(segment.owner, segment.entities, x)
        self.passes += 1
        self.folds += 1

    def _step_segment(self, block, e, x):
        window = block.window(self.clock) or self._open_window(block, self.clock)
        self._count("in", len(e))
        self._newest |= {each: self.clock // 10 for each in e.tolist()}
        counts = np.full(len(e), self.folds).astype(np.uint32)
        leaves, z, alarm, first, healed = self._fold_good(e, x, dice(self.at.place[e], counts))
        window.origin = window.origin if window.count else float(x[0])
        self._add_lanes(window, x)
        window.spread(float(x.min()), float(x.max()), float(z.max()))
        window.count += len(e)
        window.messages += int(leaves.sum())
        block.heard += int(first.sum())
        block.failing -= int(healed.sum())
        self._count("stored", leaves.sum())
        self._count("filtered", (~leaves).sum())
        wire, canal = self.at.wire[e], block.entry.canal
        self._result.messages += [(int(wire[k]), canal, float(x[k]), True, self.clock) for k in np.flatnonzero(leaves)]
        for k in np.flatnonzero(alarm):
            self._alert(e[k], self.clock, int(alarm[k]), x[k], (self.high if alarm[k] == ALERT_HIGH else self.low)[e[k]])

    @staticmethod
    def _add_lanes(window, x):
        """A pass adds up every eighth entity first, then these eight sums."""
        sums, squares = [0.0] * 8, [0.0] * 8
        for k, value in enumerate(x.tolist()):
            d = value - window.origin
            sums[k % 8] += d
            squares[k % 8] += d * d
        for lane in range(8):
            window.sum += sums[lane]
            window.squares += squares[lane]
