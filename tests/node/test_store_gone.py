"""A store that is damaged, empty, missing or another program's: put aside, told, and made anew from snapshot and journal."""
import os
import sqlite3
from contextlib import closing

import pytest

from corec.streams.journal import Journal
from corec.streams.sending.producer import Producer
from tests.support.nodes import now_ms, readings, running, small, until

pytestmark = pytest.mark.slow


def other_database(store):
    store.unlink()
    with closing(sqlite3.connect(store)) as db:
        db.execute("CREATE TABLE theirs (a)")


DAMAGE = {
    "empty": lambda store: store.write_bytes(b""),
    "a few bytes": lambda store: os.truncate(store, 50),
    "a page": lambda store: os.truncate(store, 4096),
    "half": lambda store: os.truncate(store, store.stat().st_size // 2),
    "garbage": lambda store: store.write_bytes(os.urandom(store.stat().st_size)),
    "zeros": lambda store: store.write_bytes(bytes(store.stat().st_size)),
    "text": lambda store: store.write_bytes(b"hello"),
    "another database": other_database,
    "missing": lambda store: store.unlink(),
}


@pytest.mark.parametrize("keeps_wal", [False, True])
@pytest.mark.parametrize("damage", DAMAGE)
def test_what_was_accepted_is_folded_again(tmp_path, damage, keeps_wal, caplog):
    # Given a node that stopped
    with running(small(), tmp_path) as nucleus:
        for _ in range(5):
            nucleus.submit(readings(range(100)), time=now_ms()).result()
        assert until(lambda: nucleus.store.state.ledger.get("in") == 500)
    # When something happens to its store
    for beside in [] if keeps_wal else tmp_path.glob("store.db-*"):
        beside.unlink()
    DAMAGE[damage](tmp_path / "store.db")
    # Then it starts, says so, keeps what was there, and has every reading
    with running(small(), tmp_path) as nucleus:
        nucleus.submit(readings(range(100)), time=now_ms()).result()
        assert until(lambda: nucleus.store.state.ledger.get("in") == 600), nucleus.store.state
        told = "the store is missing" if damage == "missing" else "the damaged store is kept as store.db.damaged-"
        assert told in caplog.text and "a new" in caplog.text
        assert "cannot be folded again" not in caplog.text
    assert bool(list(tmp_path.glob("store.db.damaged-*"))) == (damage != "missing")


def test_what_no_log_has_any_more_is_named(tmp_path, caplog):
    # Given a journal whose oldest batches were trimmed, and neither store nor snapshot
    with closing(Journal(tmp_path / "journal", floor=100)) as journal:
        journal.append([Producer("x").send(readings([1]), now_ms(), None, lambda envelope: envelope)], now_ms())
        journal.sync()
    # When a node starts there, then it folds what there is and names what is not
    with running(small(), tmp_path) as nucleus:
        assert until(lambda: nucleus.store.state.ledger.get("in") == 1)
    assert "the store ends at offset 0 and the log begins at 101: batches 1 to 100 cannot be folded again" in caplog.text
