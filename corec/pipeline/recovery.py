"""Rebuilds an engine from a data folder, as it was after the last commit.

The newest sound snapshot is loaded.  Then the committed turns behind it are folded again from the journal, exactly as they were.
What the journal holds beyond them is folded by the node later, as new turns.
"""
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from corec._core.arena import SPARE
from corec.common.clock import MACHINE, Clock
from corec.common.units import MB
from corec.config import Config
from corec.config.registered import keeping_registered
from corec.config.reload import taken_over
from corec.engine import Engine
from corec.engine.outcome import Outcome
from corec.errors import CoreCError, DamagedFile, ServerAway, StorageError, UnfoldableEntry
from corec.pipeline.identity import identify
from corec.pipeline.restructure import carry_over, same_shape
from corec.pipeline.unfoldable import refold_without
from corec.storage.away import AwayStore
from corec.storage.base import LateBatch, Retention, Store, StoreBase, StoredBlock, TurnRecord
from corec.storage.folder import DataFolder
from corec.storage.moments import one_row_a_window
from corec.storage.numbered import numbered
from corec.storage.open_store import open_store
from corec.storage.snapshots import Snapshot, Snapshots
from corec.storage.sqlite.store import SqliteStore
from corec.streams.intake import Intake, JournalIntake, read_note
from corec.streams.journal import Journal
from corec.streams.journal.clock import JournalClock

log = logging.getLogger("corec.node.recovery")

#: Turns among which one that took readings is looked for.
NEWEST_TURNS = 100


@dataclass
class Opened:
    """Everything a pipeline works on."""

    engine: Engine
    journal: Journal | None  # where this node makes durable what its own sources bring
    intake: Intake  # what the pipeline reads
    store: SqliteStore
    retention: Retention
    snapshots: Snapshots
    replayed: int = 0  # turns folded again
    replayed_readings: int = 0  # in these turns; no snapshot holds them yet
    reload: bool = False  # the configuration differs from the engine's: the first turn takes it over


def open_node(folder: DataFolder, config: Config, *, journal: Journal | None = None, intake: Intake | None = None,
              adopt: bool = False, clock: Clock = MACHINE) -> Opened:  # fmt: skip
    """Recover the node of *folder* under *config*; a new folder gives an empty node.

    journal: one that is open already and goes on taking readings meanwhile.  intake: what to read; else that journal.
    adopt: take over a folder that was used under another `instance_id`.
    """
    name = config.instance_id
    node = identify(folder, name, adopt=adopt)

    def logs(store: Store) -> tuple[Journal, Intake]:
        own = journal or open_journal(folder, config, node, floor=store.state.offset, elsewhere=lambda: _read_redis(store))
        return own, intake or journal_intake(folder, own, clock)

    def store_at(base: StoreBase) -> tuple[SqliteStore, Retention]:
        if not config.db_config and not folder.store.exists() and numbered(folder.snapshots, ".snap"):
            log.error("[Recovery-%s] the store is missing - at %s: a new one begins at turn %d, offset %d, without the rows of before",
                      name, folder.store, base.turn, base.offset)  # fmt: skip
        return open_store(config, folder.store, base=base, node=node, clock=clock)

    snapshots = Snapshots(folder.snapshots, instance=name, node=node)
    own = config.fragmentos if config.celery_config else 0     # beside the shards that workers have
    return recover(config, snapshots, store_at, logs, shard=own)


def recover(config: Config, snapshots: Snapshots, store_at: Callable[[StoreBase], tuple[SqliteStore, Retention]],
            logs: Callable[[Store], tuple[Journal | None, Intake]], shard: int = 0) -> Opened:
    """The engine of *shard* as snapshots, store and log have it.

    store_at: opens the store; a new one begins at the base given.  logs: the journal, if any, and the intake for a store.
    """
    name = config.instance_id
    saved, engine = _newest(snapshots, config, shard)
    store, retention = store_at(_base(saved, engine))
    if saved and saved.turn > store.state.turn:     # the store lost its newest commits: an older snapshot fits
        saved, engine = _newest(snapshots, config, shard, upto_turn=store.state.turn)
    opened = Opened(engine, *logs(store), store, retention, snapshots)
    _tell_gap(opened, name)
    if saved:
        _replay_all(opened, saved, config, shard)
    elif store.state.turn and opened.intake.first > 1:
        _without_snapshot(opened, name)
    elif store.state.turn:      # no snapshot, but the journal reaches back to the first reading
        _replay_all(opened, None, config, shard)
        _take_snapshot(opened)
    else:       # replay must know the configuration that the first turns were folded under
        _take_snapshot(opened)
    if opened.engine.arena.spare < SPARE // 2:
        _make_room(opened, config, shard)
    _take_config(opened, config)
    opened.intake.seek(store.state.offset, opened.engine.cursor)
    return opened


def _tell_gap(opened: Opened, name: str) -> None:
    """Log the batches behind the store that the log has no more.  They were trimmed because an earlier store had them."""
    begin, first = opened.store.state.offset + 1, opened.intake.first
    if first > begin:
        log.error("[Recovery-%s] the store ends at offset %d and the log begins at %d: batches %d to %d cannot be folded again",
                  name, begin - 1, first, begin, first - 1)  # fmt: skip


def open_without_store(folder: DataFolder, config: Config, problem: ServerAway, *, journal: Journal | None = None,
                       adopt: bool = False, clock: Clock = MACHINE) -> Opened:  # fmt: skip
    """Open what accepts readings while the server of the store is away.  Nothing is folded before `open_node`."""
    node = identify(folder, config.instance_id, adopt=adopt)
    journal = journal or open_journal(folder, config, node, floor=0)
    store = AwayStore(problem)
    snapshots = Snapshots(folder.snapshots, instance=config.instance_id, node=node)
    return Opened(Engine(config), journal, journal_intake(folder, journal, clock), store, store, snapshots)


def require_reach(config: Config, opened: Opened, last: int) -> None:
    """StorageError when readings were accepted under offsets that the store has folded already: the journal had lost its end."""
    offset = opened.store.state.offset
    if not config.redis_config and last < offset and opened.journal.last > last:
        raise StorageError(
            f"expected a journal that reaches to offset {offset}, got one that ended at {last} when this node started without its store",
            hint="start it again under another instance_id, with --adopt: what it accepted is in its journal, and is stored then",
        )


def open_journal(folder: DataFolder, config: Config, node: int, floor: int, elsewhere: Callable[[], bool] = lambda: False) -> Journal:
    """The journal of a data folder; its next offset is above *floor*.  elsewhere: as `Journal` has it."""
    return Journal(folder.journal, floor=floor, max_bytes=config.max_disk_mb * MB, keep_bytes=config.conservar_diario_mb * MB,
                   instance=config.instance_id, node=node, elsewhere=elsewhere)  # fmt: skip


def journal_intake(folder: DataFolder, journal: Journal, clock: Clock) -> JournalIntake:
    """A journal as its pipeline reads it, stamped by the clock of the data folder."""
    stamps = JournalClock(folder.clock, clock)
    return JournalIntake(journal, stamps.now, stamps.anchor)


def _read_redis(store: Store) -> bool:
    """Whether the newest offsets of the store are Redis': it was its log until now."""
    took = [record for record in store.turns(max(0, store.state.turn - NEWEST_TURNS)) if record.to_offset > record.from_offset]
    return bool(took) and read_note(took[-1]) is not None


def _assembled(saved: Snapshot | None, config: Config, shard: int) -> Engine:
    return Engine.assemble(saved.meta, saved.segments) if saved else Engine(config, shard=shard)


def _newest(snapshots: Snapshots, config: Config, shard: int, upto_turn: int | None = None) -> tuple[Snapshot | None, Engine]:
    """The newest snapshot whose content fits, and its engine; (None, a new engine) where there is none."""
    while saved := snapshots.load(upto_turn):
        try:
            return saved, _assembled(saved, config, shard)
        except DamagedFile as error:
            snapshots.reject(saved.generation, error.text)
    return None, _assembled(None, config, shard)


def _base(saved: Snapshot | None, engine: Engine) -> StoreBase:
    return StoreBase(saved.turn, saved.offset, engine.ledger) if saved else StoreBase()


def _replay_all(opened: Opened, saved: Snapshot | None, config: Config, shard: int) -> None:
    """Fold again what was committed behind *saved*; from there once more without an entry that cannot be folded."""
    while True:
        try:
            _replay(opened, saved.turn if saved else 0, config.instance_id)
            return
        except UnfoldableEntry as error:
            log.error("[Recovery-%s] %s", config.instance_id, error)
            opened.engine, opened.replayed = _assembled(saved, config, shard), 0


def _replay(opened: Opened, after: int, name: str) -> None:
    engine, intake, store = opened.engine, opened.intake, opened.store
    before = engine.arrived
    for record in store.turns(after):
        _refold_stored(engine, intake, record)
        opened.replayed += 1
    for record in [record for record in store.salvaged if record.turn > store.state.turn]:
        commit(store, record, refold(engine, intake, record), engine)
        opened.replayed += 1
    opened.replayed_readings = engine.arrived - before
    _keep_committed_ledger(opened, name)
    if engine.take_over():
        _take_snapshot(opened)


def _refold_stored(engine: Engine, intake: Intake, record: TurnRecord) -> None:
    """Fold a turn of the store again; DamagedFile where its commands are none: a database's writer may have put anything there."""
    try:
        refold(engine, intake, record)
    except CoreCError:
        raise
    except (TypeError, KeyError, ValueError, OverflowError, AttributeError) as error:
        raise DamagedFile(f"turn {record.turn} of the store cannot be folded again: {type(error).__name__}: {error}",
                          detail=f"its commands: {ascii(record.commands)[:200]}",
                          hint="see who may write to the store (docs/trust.md), and put back a sound copy of it") from error  # fmt: skip


def _keep_committed_ledger(opened: Opened, name: str) -> None:
    """Keep the ledger of the store where the replay counts otherwise, because the log has lost committed batches."""
    committed, replayed = dict(opened.store.state.ledger), opened.engine.ledger
    off = {key: replayed[key] - committed.get(key, 0) for key in replayed if replayed[key] != committed.get(key, 0)}
    if not opened.store.state.turn or not off:
        return
    log.error("[Recovery-%s] readings that were committed are gone from the log: its replay is off by %s; the committed ledger is kept",
              name, ", ".join(f"{count:+,} {key}" for key, count in off.items()))  # fmt: skip
    opened.engine.take_ledger(committed)
    _keep_closed(opened)
    _take_snapshot(opened)      # or every start would find the same


def _keep_closed(opened: Opened) -> None:
    """Close the windows that have committed rows, also where the clock has not passed them."""
    with opened.store.reader() as reader:
        rows = reader.history(since=opened.engine.may_open_from)
    opened.engine.keep_closed(rows["block"], rows["window"])


def _without_snapshot(opened: Opened, name: str) -> None:
    """Go on with fresh entities where no snapshot is sound, and log it."""
    log.error("[Recovery-%s] no sound snapshot: entities start afresh at turn %d, offset %d; committed rows are kept",
              name, opened.store.state.turn, opened.store.state.offset)  # fmt: skip
    opened.engine.take_ledger(opened.store.state.ledger)
    _take_snapshot(opened)


def _take_snapshot(opened: Opened) -> None:
    engine, state, opened.replayed_readings = opened.engine, opened.store.state, 0
    opened.snapshots.write(engine.snapshot_begin(), engine.snapshot_segments(), state.turn, state.offset)


def _make_room(opened: Opened, config: Config, shard: int) -> None:
    """Build the arena anew after many blocks were attached: then as many again have room."""
    _take_snapshot(opened)
    opened.engine = _assembled(opened.snapshots.load(), config, shard)


def refold(engine: Engine, intake: Intake, record: TurnRecord) -> Outcome:
    """Fold a committed turn again."""
    return refold_without(engine, intake.again(record), record.commands, load_q=record.load_q, tick=record.tick)


def commit(store: SqliteStore, record: TurnRecord, outcome: Outcome, engine: Engine, sent: Sequence[tuple[str, int, bytes]] = ()) -> None:
    """Write a turn and all it gave, in one transaction."""
    late = [LateBatch(*batch) for batch in outcome.aside]
    store.commit(record, aggregates=one_row_a_window(outcome.aggregates), alerts=outcome.all_alerts, late=late, messages=outcome.messages,
                 ledger=engine.ledger, sent=sent, events=outcome.events, blocks=_blocks(engine, store.named))  # fmt: skip


def _take_config(opened: Opened, config: Config) -> None:
    engine = opened.engine
    config = keeping_registered(config, engine.config)
    if engine.config.digest != config.digest or taken_over(engine.config, config):
        if same_shape(engine.config, config):
            opened.reload = True
        else:
            opened.engine = _restructured(opened, config)
    name_blocks(opened.store, opened.engine)


def name_blocks(store: Store, engine: Engine) -> None:
    """Write the blocks, and how many entities count in each, to the store."""
    store.set_blocks(_blocks(engine, 0))


def _blocks(engine: Engine, first: int) -> list[StoredBlock]:
    """The blocks from index *first* on, as a store has them."""
    rows = engine.blocks[first:]
    return [StoredBlock(index, name, canal, entities) for index, name, canal, entities in
            zip(count(first), engine.block_ids[first:], rows["canal"].tolist(), rows["entities"].tolist())]  # fmt: skip


def _restructured(opened: Opened, config: Config) -> Engine:
    """The blocks changed: undo fusions, close what is open under the old ones, carry over what both have, snapshot at once.

    The snapshot makes the change durable; a crash before it starts here again.
    """
    old, store = opened.engine, opened.store
    state = store.state
    record = TurnRecord(state.turn + 1, state.offset, state.offset, 0, 0, _last_commands(old), old.config.digest, old.clock)
    commit(store, record, old.turn([], commands=record.commands), old)
    engine = carry_over(old, config)
    meta = engine.snapshot_begin(whole=True)
    opened.snapshots.write(meta, engine.snapshot_segments(), turn=record.turn, offset=state.offset, live=engine.heard_segments)
    return engine


def _last_commands(engine: Engine) -> list[dict[str, Any]]:
    """What an engine does before its blocks change."""
    undone = [{"op": "undo", "block": engine.block_ids[fusion.block], "why": "the configuration has other blocks"}
              for fusion in reversed(engine.fusions)]  # fmt: skip
    return [*undone, {"op": "finish"}]
