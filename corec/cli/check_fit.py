"""Checks that store, journal and snapshots of a data folder fit each other; says what a start would do."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from corec.common.text import counted
from corec.storage.base import StoreState
from corec.storage.snapshots.files import Head


class JournalSpan(NamedTuple):
    """The first and last batch of a journal; *last* below *first* means none."""

    first: int
    last: int


def misfits(store: StoreState | None, journal: JournalSpan | None, snapshots: Sequence[Head], *, on_server: bool = False) -> Iterator[str]:
    """Yields a sentence for each thing that one part lacks and another needs.

    store, journal: None where it is missing.  on_server: the log is on a server, so the journal is not checked.
    """
    if store is None:
        yield from _without_store(journal, snapshots)
        return
    usable = [head for head in snapshots if head.turn <= store.turn]
    yield from _ahead(store, snapshots, usable)
    base = max(usable, key=lambda head: head.turn, default=None)
    if not on_server:
        yield from _journal(store, journal, base)
    if store.turn and base is None:
        yield _no_snapshot(store, journal, on_server)


def _without_store(journal: JournalSpan | None, snapshots: Sequence[Head]) -> Iterator[str]:
    base = max(snapshots, key=lambda head: head.turn, default=None)
    if base and base.turn:
        yield (f"the store is missing, the newest snapshot is of turn {base.turn:,}: unless a server has it, a start begins"
               f" a new one there{_folding(journal, base.offset)}; the rows and the ledger's past are lost")  # fmt: skip
    elif journal and journal.last >= journal.first:
        lost = "nothing but old rows is lost" if journal.first == 1 else f"what batches up to {journal.first - 1:,} gave is lost"
        yield f"the store is missing: unless a server has it, a start makes a new one{_folding(journal, journal.first - 1)}; {lost}"


def _folding(journal: JournalSpan | None, after: int) -> str:
    if journal is None or journal.last <= after:
        return ", with nothing to fold again"
    return f" and folds batches {max(after + 1, journal.first):,} to {journal.last:,} of the journal again"


def _ahead(store: StoreState, snapshots: Sequence[Head], usable: Sequence[Head]) -> Iterator[str]:
    for head in snapshots:
        if head.turn > store.turn:
            instead = "takes the one before it" if usable else "begins without one"
            yield (f"the snapshot of turn {head.turn:,} is ahead of the store, which ends at turn {store.turn:,}:"
                   f" a start puts it aside and {instead}")  # fmt: skip


def _journal(store: StoreState, journal: JournalSpan | None, base: Head | None) -> Iterator[str]:
    """Batches that the store has folded, or a snapshot needs, and that the journal has lost."""
    have = journal or JournalSpan(store.offset + 1, 0)
    if have.last < store.offset:
        what = f"ends at batch {have.last:,}" if journal else "is missing"
        yield (f"the journal {what}, the store has folded up to batch {store.offset:,}: a start goes on behind that one; what was accepted"
               f" and not committed is lost, if there was any{_state_without(store, have, base)}")  # fmt: skip
    elif base and have.first > base.offset + 1:
        yield (f"the journal begins at batch {have.first:,}, the newest snapshot ends at batch {base.offset:,}: a start folds what"
               f" is there; entities lack {counted(have.first - 1 - base.offset, 'batch')}; rows and ledger stay")  # fmt: skip


def _state_without(store: StoreState, have: JournalSpan, base: Head | None) -> str:
    lacking = store.offset - max(have.last, base.offset) if base else 0
    return f"; entities lack the last {counted(lacking, 'batch')}; rows and ledger stay" if lacking else ""


def _no_snapshot(store: StoreState, journal: JournalSpan | None, on_server: bool) -> str:
    if not on_server and journal and journal.first == 1 and journal.last >= store.offset:
        return (f"there is no snapshot, the store stands at turn {store.turn:,}: a start folds batches 1 to {store.offset:,} again;"
                " nothing is lost")  # fmt: skip
    return (f"there is no snapshot and the journal does not reach back, the store stands at turn {store.turn:,}: a start begins with fresh"
            " entities there; rows and ledger stay")  # fmt: skip
