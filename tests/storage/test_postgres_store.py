"""The store on PostgreSQL: the same turns give the same rows as in the embedded one, whole, once, by one owner."""

import datetime
import math
import threading
import time

import numpy as np
import pytest

from corec._core.dtypes import AGGREGATE, ALERT, ALERT_MUTED
from corec.config.servers import DbServer
from corec.errors import FenceLost, InternalError, ServerAway, ServerError, StorageError
from corec.storage.base import LateBatch, StoreBase, StoredBlock, StoreState
from corec.storage.postgres import schema as postgres_schema
from corec.storage.postgres.session import Session
from corec.storage.postgres.snapshots import PostgresSnapshots
from corec.storage.sqlite.store import SqliteStore
from tests.support.postgres_stores import assert_same, opened, server_of
from tests.support.servers.proxy import Proxy
from tests.support.stores import BLOCKS, START, fill, record, rows, second, some_alerts, some_messages

pytestmark = [pytest.mark.slow, pytest.mark.postgres]


@pytest.fixture
def server(database):
    found = server_of(database)
    postgres_schema.migrate(found)
    return found


@pytest.fixture
def store(server):
    with_tables = opened(server, keep_every_s=0)
    with_tables.set_blocks(BLOCKS)
    yield with_tables
    with_tables.close()


# -- twins


def test_both_stores_hold_the_same_after_the_same_turns(store, tmp_path):
    # Given the embedded store and this one
    twin = SqliteStore(tmp_path / "store.db", instance="corec1")
    twin.set_blocks(BLOCKS)
    # When both commit the same turns, odd floats among them
    odd = second(10)
    odd["min"][0], odd["max"][1], odd["count"][2], odd["std"][1] = math.nan, math.inf, 0xFFFFFFFF, math.inf
    for each in (twin, store):
        fill(each, 9)
        each.commit(record(10), aggregates=odd, sent=[("alertas", START, b"entry")], ledger={"in": 10, "stored": 4},
                    events=[(START + i, i, "repair", 2, 0.25, 0.5, 3, 4, 5, "why", "") for i in range(3)])  # fmt: skip
    # Then they answer every question alike
    assert store.state == twin.state
    assert list(store.turns(3)) == list(twin.turns(3))
    assert store.blocks() == twin.blocks() and store.blocks("nodo/*") == twin.blocks("nodo/*")
    for question in (("*",), ("enjambre_sensor/?", START + 2000, START + 7000), ("none",), ("*", 0, 1 << 62, "minute")):
        assert_same(store.history(*question), twin.history(*question))
    for span in ((), (START + 1000, START + 5000)):
        assert_same(store.alerts(*span), twin.alerts(*span))
    assert list(store.late()) == list(twin.late())
    for stream in ("corec:alerts", "corec:messages:1", "alertas"):
        assert store.outbox(stream) == twin.outbox(stream)
        assert store.outbox(stream, after=4, limit=2) == twin.outbox(stream, after=4, limit=2)
    assert repr(store.happenings()) == repr(twin.happenings()) and len(store.happenings("nodo/*")) == 3
    assert repr(store.happenings("*", START + 1, START + 2)) == repr(twin.happenings("*", START + 1, START + 2))
    assert {key: store.totals[key] for key in twin.totals} == twin.totals
    twin.close()


def test_people_find_the_documented_columns(store, postgres):
    # Given a turn, when it is read with SQL, then the table and its columns are those of the documentation
    fill(store, 1)
    with postgres.connected(store.server.dbname) as cursor:
        cursor.execute("SELECT id, canal, num_entidades, fitness, timestamp, instance_id FROM bloques_2023_11 ORDER BY id")
        found = cursor.fetchall()
    assert [row[:3] for row in found] == [("enjambre_sensor/0", 1, 1000), ("enjambre_sensor/1", 1, 1000), ("nodo/0", 1, 500)]
    assert found[0][4] == datetime.datetime.fromtimestamp((START + 1000) / 1000, datetime.UTC)
    assert found[0][5] == "corec1"


# -- turns


def test_it_goes_on_after_closing(server):
    first = opened(server)
    fill(first, 3)
    first.close()
    again = opened(server)
    assert again.state == StoreState(3, 30, {"in": 3})
    fill(again, 2)
    assert [turn.turn for turn in again.turns(after=2)] == [3, 4, 5]
    again.close()


def test_a_store_begins_at_its_base(server):
    store = opened(server, base=StoreBase(7, 70, {"in": 7}))
    assert store.state == StoreState(7, 70, {"in": 7})
    store.commit(record(8))
    store.close()


@pytest.mark.parametrize("wrong", [{"turn": 3}, {"turn": 1}, {"from_offset": 9}, {"from_offset": 11}, {"to_offset": 9}], ids=str)
def test_turns_follow_each_other_without_a_hole(store, wrong):
    fill(store, 1)
    with pytest.raises(InternalError, match="expected turn 2 from offset 10"):
        store.commit(record(2)._replace(**wrong))
    store.commit(record(2))


def test_a_turn_that_fails_leaves_no_trace(store, postgres):
    # Given a turn whose last statement the server refuses, when it is committed, then nothing of it stands
    fill(store, 1)
    with postgres.connected(store.server.dbname) as cursor:
        cursor.execute("ALTER TABLE outbox ADD CHECK (turn < 2)")
        with pytest.raises(Exception, match="refused a statement"):
            fill(store, 1)
        assert (store.state.turn, len(store.history()), len(store.alerts())) == (1, 3, 2)
        cursor.execute("ALTER TABLE outbox DROP CONSTRAINT outbox_turn_check")
    fill(store, 1)
    assert (store.state.turn, len(store.history())) == (2, 6)


def test_the_later_owner_wins(server, store):
    # Given two owners of one instance, when the first writes again, then it gets FenceLost with the name of the second
    fill(store, 1)
    later = opened(server)
    with pytest.raises(FenceLost, match="took over") as caught:
        store.commit(record(2))
    assert "instance_id" in caught.value.hint
    with pytest.raises(FenceLost):
        store.note_snapshot(1, 10, 1)
    fill(later, 1)
    assert later.state.turn == 2
    later.close()


def test_shards_and_instances_stand_side_by_side(server):
    # Given stores of two shards and two instances, then each has turns, rows and streams of its own
    stores = [opened(server, instance=name, shard=shard) for name in ("a", "b") for shard in (0, 7)]
    for turns, store in enumerate(stores):
        store.set_blocks(BLOCKS)
        fill(store, turns)
    assert [store.state.turn for store in stores] == [0, 1, 2, 3]
    assert [len(store.history()) for store in stores] == [0, 3, 6, 9]
    assert [len(store.outbox("corec:alerts")) for store in stores] == [0, 1, 2, 3]


def test_several_shards_commit_in_one_transaction(server):
    # Given two shards on one connection
    session = Session(server, name="worker")
    one, two = (opened(server, shard=shard, session=session) for shard in (1, 2))
    # When the second of two commits in a transaction fails, then neither stands; together they do
    with pytest.raises(InternalError), session.transaction():
        one.commit(record(1))
        two.commit(record(5))
    assert (one.state.turn, two.state.turn) == (0, 0)
    with session.transaction():
        one.commit(record(1))
        two.commit(record(1))
    assert (one.state.turn, two.state.turn, opened(server, shard=1).state.turn) == (1, 1, 1)


# -- a server that comes and goes


def through(server, proxy):
    """The same database by way of the proxy."""
    return DbServer(dbname=server.dbname, user=server.user, password=server.password, host="127.0.0.1", port=proxy.port)


def commit_until_done(store, *turn, seconds=60.0, **content):
    """As the pipeline does."""
    end = time.monotonic() + seconds
    while True:
        try:
            return store.commit(*turn, **content)
        except ServerAway:
            assert time.monotonic() < end
            time.sleep(0.02)


def test_a_lost_answer_doubles_nothing_whichever_it_is(server):
    # Given a proxy that loses the answer to the nth exchange of a commit, for each n until the commit needs fewer
    with Proxy(server.port, server.host) as proxy:
        store = opened(through(server, proxy))
        store.set_blocks(BLOCKS)
        lost = 0
        for nth in range(1, 40):
            turn, before = store.state.turn + 1, proxy.replies_lost
            proxy.lose_reply(nth)
            commit_until_done(store, record(turn), aggregates=second(turn), alerts=some_alerts(turn), messages=some_messages(turn),
                              late=[LateBatch(0, START, b"x" * 10, "skew")], ledger={"in": turn})  # fmt: skip
            lost += proxy.replies_lost - before
            if proxy.replies_lost == before:
                break
        # Then each turn stands once, with all its rows
        proxy.lose_none()
        turns = store.state.turn
        assert lost >= 7
        assert [each.turn for each in store.turns()] == list(range(1, turns + 1))
        assert (len(store.history()), len(store.alerts()), len(list(store.late()))) == (3 * turns, 2 * turns, turns)
        assert len(store.outbox("corec:alerts")) == turns
        assert (store.totals["windows"], store.totals["outbox"]) == (3 * turns, 3 * turns)
        store.close()


def test_a_server_that_is_away_is_said_and_comes_back(server, caplog):
    with Proxy(server.port, server.host) as proxy:
        store = opened(through(server, proxy))
        fill(store, 1)
        proxy.down()
        # When the server is gone, then commits say so and since when
        before = time.time() * 1000 - 1
        for _ in range(2):
            with pytest.raises(ServerAway, match="cannot be reached"):
                store.commit(record(2))
        assert before <= store.away_since <= time.time() * 1000
        # And when it is back, then the next try goes through
        proxy.up()
        store.commit(record(2))
        assert store.away_since is None
        store.close()


def test_a_connection_that_falls_silent_is_given_up(server, monkeypatch):
    # Given a connection whose other end neither answers nor closes
    for name, seconds in (("LONGEST_S", 0.5), ("WATCH_S", 0.1), ("CONNECT_S", 2)):
        monkeypatch.setattr(f"corec.storage.postgres.session.{name}", seconds)
    with Proxy(server.port, server.host) as proxy:
        store = opened(through(server, proxy))
        fill(store, 1)
        proxy.go_silent()
        threading.Timer(0.7, proxy.up).start()
        # When a turn is committed, then it is given up, tried on a new connection, and stands once
        commit_until_done(store, record(2), aggregates=second(2))
        assert (store.state.turn, len(store.history())) == (2, 6)
        store.close()


def test_a_wrong_password_or_database_is_no_matter_of_waiting(server):
    with pytest.raises(ServerError, match="does not exist") as caught:
        opened(server_of({"host": server.host, "port": server.port, "user": server.user, "password": "", "dbname": "none_such"}))
    assert not isinstance(caught.value, ServerAway) and "corec db init" in caught.value.hint


# -- partitions


def test_rows_of_an_impossible_time_are_put_aside_and_the_turn_stands(store, postgres, caplog):
    # Given windows and alerts of 1969, of the year 30000 and of now
    today = int(time.time()) * 1000
    content = rows(block=[0, 1, 2], canal=[1, 1, 1], window=[-1 << 44, today, 1 << 50], mean=[1, 2, 3])
    alerts = rows(dtype=ALERT, time=[1 << 50, today], id=[1, 2], block=[0, 0], kind=[1, 1])
    # When they are committed, then the turn stands, and what has no partition lies beside
    store.commit(record(1), aggregates=content, alerts=alerts)
    assert store.history()["mean"].tolist() == [2] and store.alerts()["id"].tolist() == [2]
    assert store.totals["aside"] == 3 and "outside" in caplog.text
    with postgres.connected(store.server.dbname) as cursor:
        cursor.execute('SELECT "timestamp", mean, turn FROM bloques_aside ORDER BY 2')
        assert cursor.fetchall() == [(-1 << 44, 1, 1), (1 << 50, 3, 1)]
        cursor.execute('SELECT "timestamp", id FROM alerts_aside')
        assert cursor.fetchall() == [(1 << 50, 1)]


def partitions(postgres, server, table):
    with postgres.connected(server.dbname) as cursor:
        cursor.execute("SELECT name FROM corec_partitions(%s)", (table,))
        return [name for (name,) in cursor.fetchall()]


def test_muted_alerts_are_read_as_they_were(store, postgres):
    # Given a muted alert, whose kind is 128 and more, and one as it was written as a signed byte before
    alerts = rows(dtype=ALERT, time=[START, START + 1], id=[1, 2], block=[0, 0], kind=[ALERT_MUTED | 1, ALERT_MUTED | 2])
    store.commit(record(1), aggregates=second(1), alerts=alerts)
    with postgres.connected(store.session.server.dbname) as cursor:
        cursor.execute("SELECT kind FROM alerts ORDER BY id")
        assert cursor.fetchall() == [(ALERT_MUTED | 1,), (ALERT_MUTED | 2,)]
        cursor.execute("UPDATE alerts SET kind = kind - 256 WHERE id = 2")
    # Then both are read as muted
    assert store.alerts()["kind"].tolist() == [ALERT_MUTED | 1, ALERT_MUTED | 2]


def drop_partitions(postgres, server, table):
    """As somebody does by hand, or time does by going on where nobody makes them."""
    with postgres.connected(server.dbname) as cursor:
        cursor.execute("SELECT name FROM corec_partitions(%s)", (table,))
        for (name,) in cursor.fetchall():
            cursor.execute(f"DROP TABLE {name}")


@pytest.mark.parametrize("table", ["turns", "bloques", "alerts", "historia"])
def test_a_partition_that_nobody_made_is_made_before_the_next_try(server, postgres, table):
    # Given a store that has written, and whose partitions of a table are missing since: the server was away for days
    store = opened(server)
    fill(store, 1)
    drop_partitions(postgres, server, table)
    # When a turn is committed that needs one, then the first try says so, and the second one finds it made
    events = [(START, 0, "repair", 2, 0.25, 0.5, 3, 4, 5, "why", "")]
    with pytest.raises(StorageError, match="no partition of relation"):
        store.commit(record(2), aggregates=second(2), alerts=some_alerts(2), events=events)
    store.commit(record(2), aggregates=second(2), alerts=some_alerts(2), events=events)
    assert store.state.turn == 2
    assert partitions(postgres, server, table)
    store.close()


def test_partitions_are_looked_at_before_a_try_when_it_is_time(server, postgres):
    # Given a store that committed nothing for longer than it is between two looks
    store = opened(server, keep_every_s=0)
    drop_partitions(postgres, server, "turns")
    # When it commits, then the first try has what it needs
    fill(store, 1)
    assert store.state.turn == 1
    store.close()


def test_what_is_rolled_back_is_not_taken_for_made(server, postgres):
    # Given two shards whose turns are committed together, the first with rows of a month that is new
    session = Session(server, name="w")
    shards = [opened(server, instance="w", shard=shard, session=session) for shard in range(2)]
    with pytest.raises(InternalError), session.transaction():
        shards[0].commit(record(1), aggregates=second(1))
        shards[1].commit(record(7))     # none that follows: both are rolled back
    # When they are tried again, then the month is made again
    with session.transaction():
        for store in shards:
            store.commit(record(1), aggregates=second(1))
    assert len(shards[0].history()) == len(shards[1].history()) == 3
    session.close()


def test_a_month_that_began_since_the_last_look_is_no_time_beyond_what_is_kept(server):
    # Given a node that slept over the end of a month: by its last look the rows of now are of the next one
    store, today = opened(server), datetime.datetime.now(datetime.UTC)
    store.retention._last = 12 * (today.year - 1970) + today.month - 2
    # When it commits them, then they are stored, not put aside
    store.commit(record(1), aggregates=rows(block=[0], canal=[1], window=[int(today.timestamp()) * 1000], mean=[1]))
    assert len(store.history()) == 1 and store.totals.get("aside", 0) == 0
    store.close()


def test_channels_have_partitions_of_their_own_where_configured(server, postgres):
    # Given a configuration that names two channels, when rows of three come, then two lie apart and the third with the others
    import msgspec

    store = opened(msgspec.structs.replace(server, particion_canales=(1, 2)))
    content = rows(block=[0, 1, 2], canal=[1, 2, 7], window=[START] * 3)
    store.commit(record(1), aggregates=content)
    with postgres.connected(server.dbname) as cursor:
        cursor.execute("SELECT tableoid::regclass::text, canal FROM bloques ORDER BY canal")
        assert cursor.fetchall() == [("bloques_2023_11_canal_1", 1), ("bloques_2023_11_canal_2", 2), ("bloques_2023_11_otros", 7)]


def test_two_nodes_make_the_same_partitions_at_once(server, postgres):
    # Given eight nodes whose rows all need the same new months
    stores = [opened(server, instance=f"n{i}") for i in range(8)]
    content = rows(block=[0] * 6, canal=[1] * 6, window=[START + month * 31 * 86_400_000 for month in range(6)])
    problems = []

    def work(store):
        try:
            store.commit(record(1), aggregates=content)
        except Exception as error:
            problems.append(error)

    # When they commit at once, then all succeed and each month is there once
    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert {"bloques_2023_11", "bloques_2023_12", "bloques_2024_04"} <= set(partitions(postgres, server, "bloques"))
    assert sum(len(store.history()) for store in stores) == 48


def test_old_months_are_dropped_whole(server, postgres):
    # Given rows of long ago and of now
    store = opened(server)
    now = int(time.time()) * 1000
    store.commit(record(1), aggregates=rows(block=[0, 1], canal=[1, 1], window=[START, now], mean=[1, 2]), alerts=some_alerts(1))
    store.close()
    # When the retention of a node that keeps 40 days runs, then the old months are gone and what is newer stays
    keeper = opened(server, days=40, keep_every_s=0)
    keeper.retention.run(now, 2)
    assert keeper.history()["mean"].tolist() == [2] and len(keeper.alerts()) == 0
    assert "bloques_2023_11" not in partitions(postgres, server, "bloques")
    keeper.close()


def test_turn_records_before_the_older_snapshot_are_dropped_by_the_day(store, server, postgres):
    # Given turn records of three days ago, and snapshots of today
    fill(store, 2)
    with postgres.connected(server.dbname) as cursor:
        cursor.execute("SELECT corec_make_turns(now()::date - 3)")
        cursor.execute("UPDATE turns SET committed = now() - interval '3 days' WHERE turn = 1")
    assert [turn.turn for turn in store.turns()] == [1, 2]
    # When the retention runs, then they stay as long as the log can be replayed from its beginning, and go after that
    store.note_snapshot(1, 10, 1)
    store.note_snapshot(2, 20, 2)
    for log_first, left in ((1, [1, 2]), (5, [1, 2])):
        store.retention.run(0, log_first)
        assert [turn.turn for turn in store.turns()] == left
    fill(store, 1)
    store.note_snapshot(3, 30, 3)
    store.retention.run(0, 5)
    assert [turn.turn for turn in store.turns()] == [2, 3]


# -- schema


def test_a_newer_database_is_refused(server, postgres):
    with postgres.connected(server.dbname) as cursor:
        cursor.execute("INSERT INTO corec_schema (version) VALUES (%s)", (postgres_schema.NEWEST + 1,))
    for use in (opened, postgres_schema.migrate):
        with pytest.raises(ServerError, match="which a newer CoreC made") as caught:
            use(server)
        assert "upgrade" in caught.value.hint


def test_an_empty_database_is_told_how_to_be_filled(database):
    with pytest.raises(ServerError, match="expected tables of version") as caught:
        opened(server_of(database))
    assert "corec db init" in caught.value.hint


def test_migrators_wait_for_each_other(database, postgres):
    # Given an empty database, when four migrate it at once, then one does and the others find it done
    server, found = server_of(database), []
    threads = [threading.Thread(target=lambda: found.append(postgres_schema.migrate(server))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [(0, postgres_schema.NEWEST)] + [(postgres_schema.NEWEST,) * 2] * 3


def test_output_streams_keep_their_bound(server):
    store = opened(server, messages_bytes=2_000)
    for turn in range(1, 60):
        store.commit(record(turn), sent=[("s", START, b"x" * 100)])
    kept = store.outbox("s")
    assert 15 <= len(kept) <= 20 and kept[-1][0] == 59
    assert store.totals["outbox"] == len(kept) and store.totals["outbox_frames_dropped"] == (59 - len(kept)) * 10
    store.close()


def test_readers_of_other_threads_see_what_is_committed(store):
    fill(store, 2)
    with store.reader() as reader:
        assert reader.state.turn == 2 and reader.instance == "corec1"
        np.testing.assert_array_equal(reader.history()[list(AGGREGATE.names)], store.history()[list(AGGREGATE.names)])
        with pytest.raises(Exception, match="read-only"):
            reader.session.query("DELETE FROM shards")


def test_blocks_may_be_named_anew(store):
    store.set_blocks([StoredBlock(1, "other/0", 4, 12), StoredBlock(9, "far/0", 1, 1)])
    assert [block.id for block in store.blocks()] == ["enjambre_sensor/0", "other/0", "nodo/0", "far/0"]
    store.commit(record(1), aggregates=rows(block=[1, 9, 11], canal=[4, 1, 1], window=[START] * 3))
    assert len(store.history("far/*")) == 1


# -- snapshots


def test_snapshots_are_found_by_the_next_owner(server):
    # Given snapshots of which each holds what changed, when another machine loads them, then it finds the newest of each segment
    mine = PostgresSnapshots(server, instance="fleet", shard=3)
    assert mine.load() is None and mine.safe_offset == 0
    mine.write(b"one", [(1, b"a"), (2, b"b")], 5, 50)
    mine.write(b"two", [(2, b"B"), (9, b"c")], 6, 60)
    other = PostgresSnapshots(server, instance="fleet", shard=3)
    found = other.load()
    assert (found.meta, dict(found.segments), found.turn, found.offset) == (b"two", {1: b"a", 2: b"B", 9: b"c"}, 6, 60)
    assert (other.safe_offset, other.last_turn) == (50, 6)
    # And one of a turn that the store does not have is passed over
    assert dict(other.load(upto_turn=5).segments) == {1: b"a", 2: b"b"}
    other.write(b"three", [(1, b"A")], 7, 70, live=[1])
    assert dict(PostgresSnapshots(server, instance="fleet", shard=3).load().segments) == {1: b"A"}


def test_rejected_snapshot_is_passed_over(server, caplog):
    # Given two snapshots, of which the newer cannot be, whatever its checksum says
    mine = PostgresSnapshots(server, instance="fleet")
    mine.load()
    mine.write(b"one", [(1, b"a")], 5, 50)
    mine.write(b"two", [(1, b"A")], 6, 60)
    mine.reject(mine.load().generation, "blocks of another configuration")
    # Then the one before is found, and the log says why
    assert (found := mine.load()).meta == b"one" and dict(found.segments) == {1: b"a"}
    assert "blocks of another configuration; falling back to the one before" in caplog.text


def test_a_snapshot_that_was_given_up_is_made_up_for(server):
    snapshots = PostgresSnapshots(server, instance="fleet")
    snapshots.load()
    with snapshots.begin(b"", 1, 10) as writer:
        writer.add(4, b"lost")
    assert snapshots.owed == {4}
    with pytest.raises(InternalError, match="1 are missing"):
        snapshots.write(b"", [(5, b"x")], 2, 20)
    snapshots.write(b"", [(4, b"again"), (5, b"x")], 2, 20)
    assert snapshots.owed == frozenset()


def test_an_earlier_owner_s_snapshot_does_not_come_between(server):
    # Given an owner whose snapshot is on its way when another takes over, when it is finished, then nothing of it stays
    first = opened(server, instance="fleet", shard=3)
    mine = PostgresSnapshots(server, instance="fleet", shard=3)
    mine.load()
    mine.epoch = first.epoch
    mine.write(b"one", [(1, b"a")], 0, 0)
    writer = mine.begin(b"stale", 0, 0)
    writer.add(1, b"stale")
    later = opened(server, instance="fleet", shard=3)
    with pytest.raises(FenceLost, match="took over"):
        writer.finish()
    assert dict(PostgresSnapshots(server, instance="fleet", shard=3).load().segments) == {1: b"a"}
    first.close()
    later.close()
