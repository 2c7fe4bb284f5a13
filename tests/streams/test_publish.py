"""corec.publish and `corec send`: errors, unsent batches on disk, and readings that never count twice."""
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from base64 import b64encode
from itertools import count as counting
from pathlib import Path

import pytest
from click.testing import CliRunner

import corec
from corec._core.wire import envelope_head
from corec.cli import main
from corec.config import parse
from corec.control.operations import answer, take_batches
from corec.errors import BackPressure, DiskFull, FolderInUse, FrameError
from corec.publish import Publisher, as_frames
from corec.streams.journal import Journal
from corec.streams.journal.group_commit import GroupCommitter
from corec.streams.sending.producer import Producer
from corec.streams.sending.receipt import Receipt
from corec.streams.sending.unsent import future_of
from tests.support.nodes import SMALL, now_ms, readings, running, small, until
from tests.support.paths import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.redis]


def count(nucleus) -> int:
    ledger = nucleus.store.state.ledger
    return ledger.get("in", 0) - ledger.get("rejected_repeated", 0)


def test_tuples_are_frames():
    assert as_frames([(1, 2, 0.5, True)]) == readings([1], 0.5, 2)
    assert as_frames([]) == b""
    for wrong in ([(1, 200, 0.5, True)], [(-1, 1, 0.5, True)], [(1, 2)], ["x"], b"123"):
        with pytest.raises(FrameError):
            as_frames(wrong)


def test_a_script_sends_to_an_embedded_node_the_same_way(tmp_path):
    # Given a script that starts before its node
    with Publisher(small(), name="gate", data=tmp_path) as publisher:
        publisher.publish([(1, 1, 20.0, True), (2500, 2, 1.0, True)], time=now_ms())
        assert until(lambda: "no node runs" in publisher.sender.stats().problem)
        # When the node starts, then it has the readings, once, and answers when they are durable
        with running(small(), tmp_path) as nucleus:
            publisher.publish(readings(range(10)), time=now_ms())
            assert publisher.flush(60)
            assert nucleus.journal.last >= 3
            assert until(lambda: count(nucleus) == 12)
            # and `corec.publish` is the same in one line
            corec.publish(readings(range(5)), config=small(), data=tmp_path)
            assert until(lambda: count(nucleus) == 17)
    assert nucleus.engine.marks.gaps == 0


def test_a_batch_without_readings_is_done_at_once():
    assert future_of([]).result(0) == 0


def test_a_request_that_the_disk_refuses_in_the_middle_loses_nothing_when_it_comes_again(tmp_path):
    # Given a request of three numbered batches, each as large as a group, and a disk that refuses the second write
    producer = Producer("gate")
    batches = [producer.send(readings([1, 2]), now_ms(), None, lambda batch: b64encode(batch).decode()) for _ in range(3)]
    journal = Journal(tmp_path)
    append, writes = journal.append, counting(1)

    def refusing(payloads, arrival):
        if next(writes) == 2:
            raise DiskFull("the disk refuses")
        return append(payloads, arrival)

    journal.append = refusing
    committer = GroupCommitter(journal, group_bytes=1)
    try:
        # When it is handed in until it is taken
        committer.submit(b"somebody else's").result(60)
        with pytest.raises(DiskFull):
            take_batches(committer, batches)
        assert take_batches(committer, batches) == {"accepted": 6}
        # Then no batch is in the journal before one with a lower number: that one would count as a repeat
        numbers = [envelope_head(entry.payload)[4] for entry in journal.read(1)]
        assert numbers == [0, 2, 4]
    finally:
        committer.stop()
        journal.close()


def test_two_senders_of_one_name_are_told_apart(tmp_path):
    with Publisher(small(), name="one", data=tmp_path), pytest.raises(FolderInUse, match="the tail of 'one'"):
        Publisher(small(), name="one", data=tmp_path)


def test_a_sender_that_has_no_room_is_told(tmp_path):
    # Given a sender whose node is away, and little disk
    with Publisher(small(), name="s", data=tmp_path, max_disk_mb=1) as publisher:
        # When it goes on sending, then it gets BackPressure after its timeout
        with pytest.raises(BackPressure, match="took nothing for 0.2 s"):
            for _ in range(2000):
                publisher.publish(os.urandom(10_000), time=now_ms(), timeout=0.2)
        # And what was taken arrives when the node is there
        waiting = publisher.sender.stats().waiting
        with running(small(), tmp_path) as nucleus:
            assert publisher.flush(60)
            assert until(lambda: nucleus.journal.last >= waiting > 50)


def test_redis_that_has_no_memory_left_makes_senders_wait(redis_server, tmp_path):
    # Given a stream of at most a megabyte without a reader
    config = small(redis_config={**redis_server.section, "max_mb": 1})
    with Publisher(config, name="s", folder=tmp_path, max_disk_mb=1) as publisher:
        with pytest.raises(BackPressure) as caught:
            for _ in range(2000):
                publisher.publish(os.urandom(10_000), time=now_ms(), timeout=0.3)
        assert "redis_config.max_mb allows 1" in caught.value.detail
    client = redis_server.client()
    assert client.memory_usage("{s00}:in", samples=0) < 3 << 20


def test_memory_that_runs_out_in_the_middle_leaves_no_gap(own_redis, tmp_path):
    # Given a Redis that refuses writes now and then, for want of memory
    config, client = small(redis_config=own_redis.section), own_redis.client()
    with Publisher(config, name="s", folder=tmp_path / "tail") as publisher, running(config, tmp_path / "node") as nucleus:
        for number in range(60):
            client.config_set("maxmemory", 1 if number % 5 == 0 else 0)
            publisher.publish(readings(range(100)), time=now_ms())
            time.sleep(0.005)
        client.config_set("maxmemory", 0)
        # Then nothing passed what was refused
        assert until(lambda: count(nucleus) == 6000, 60), count(nucleus)
        assert nucleus.engine.marks.gaps == 0


SENDER = """
import sys, json, time
from corec.config import parse
from corec.publish import Publisher
from tests.support.nodes import now_ms, readings
config, folder = parse(json.loads(sys.argv[1])), sys.argv[2]
with Publisher(config, name="killed", folder=folder) as publisher:
    print("ready", flush=True)
    for number in range(10**6):
        publisher.publish(readings(range(20)), time=now_ms())
        print(number, flush=True)
"""


def test_a_sender_that_is_killed_and_started_again_loses_and_doubles_nothing(redis_server, tmp_path):
    # Given a sender that is killed, again and again, while a node reads
    section = {**SMALL, "redis_config": redis_server.section}
    sent = 0
    with running(small(redis_config=redis_server.section), tmp_path / "node") as nucleus:
        for kill in range(4):
            process = subprocess.Popen([sys.executable, "-c", SENDER, json.dumps(section), tmp_path / "tail"], cwd=ROOT, text=True,
                                       stdout=subprocess.PIPE)  # fmt: skip
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.1 + 0.05 * kill)
            process.send_signal(signal.SIGKILL)
            said, _ = process.communicate()
            sent += 20 * len(said.splitlines())
        # When it is started once more and closed
        with Publisher(small(redis_config=redis_server.section), name="killed", folder=tmp_path / "tail") as publisher:
            assert publisher.flush(60)
        # Then every batch that was acknowledged has arrived once; at each kill one more may have been kept without an acknowledgement
        assert until(lambda: count(nucleus) >= sent)
        time.sleep(0.3)
        assert sent <= count(nucleus) <= sent + 4 * 20
        assert nucleus.engine.marks.gaps == 0


def test_send_is_given_again_without_doubling(tmp_path, monkeypatch):
    # Given a CSV and an embedded node
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    Path("configs/corec_config.json").write_text(json.dumps(SMALL))
    start = now_ms() // 1000
    Path("log.csv").write_text("time,a,b\n" + "".join(f"{start + n},{n},{n + 1}\n" for n in range(-5, 5)))
    runner = CliRunner()
    with running(small(), tmp_path / "data") as nucleus:
        # When it is sent twice, then it counts once; --again sends it once more; lines of standard input are readings too
        for arguments, again, total in ((["log.csv"], "", 20), (["log.csv"], " (20 of them earlier)", 20),
                                        (["log.csv", "--again", "--now"], "", 40)):  # fmt: skip
            done = runner.invoke(main, ["send", *arguments], catch_exceptions=False)
            assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, f"20 readings sent: 20 taken{again}"), done.output
            assert count(nucleus) == total, arguments
        done = runner.invoke(main, ["send", "-"], input="1,1,20.5\n2,1,21,0\nnonsense\n", catch_exceptions=False)
        assert (done.exit_code, done.stdout) == (4, "2 readings sent: 2 taken\n")
        assert "1 lines left out, the first: expected a line id,canal,valor[,estado], got 'nonsense'" in done.stderr
        assert until(lambda: count(nucleus) == 42)


def lines_of(first, count, changed=None):
    return "".join(f"{first + n},{99 if n == changed else n % 50},{n % 50 + 1}\n" for n in range(count))


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
@pytest.mark.parametrize("on_redis", [False, True])
def test_a_longer_version_of_a_file_counts_only_what_is_new(redis_server, tmp_path, monkeypatch, on_redis, packed):
    # Given a node, and a file that was sent when it had 300 rows
    config = SMALL | ({"redis_config": redis_server.section} if on_redis else {}) | {"max_skew": 86_400}
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    Path("configs/corec_config.json").write_text(json.dumps(config))
    start, runner = now_ms() // 1000 - 1000, CliRunner()

    def send(rows, *arguments):
        Path("log.csv").write_bytes(packed(("time,a,b\n" + rows).encode()))
        done = runner.invoke(main, ["send", "log.csv", *arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    with running(parse(config), tmp_path / "data") as nucleus:
        assert send(lines_of(start, 300)).endswith("600 readings sent: 600 taken\n")
        # When rows are written behind, once and once more, Then only they count
        assert send(lines_of(start, 400)).endswith("800 readings sent: 800 taken (600 of them earlier)\n")
        assert send(lines_of(start, 450)).endswith("900 readings sent: 900 taken (800 of them earlier)\n")
        assert until(lambda: count(nucleus) == 900)
        # When what was sent is edited in the middle, Then it is a new file, and that is said
        edited = send(lines_of(start, 450, changed=200))
        assert "log.csv does not begin with what was sent of it before: it counts as a new file" in edited
        assert edited.endswith("900 readings sent: 900 taken\n") and until(lambda: count(nucleus) == 1800)
        # and a longer version of that one counts only what is new; so does one of the first, and where what was sent is forgotten
        assert send(lines_of(start, 460, changed=200)).endswith("(900 of them earlier)\n")
        assert send(lines_of(start, 451)).endswith("(900 of them earlier)\n")
        Path("data/tails/log.csv/sent.json").unlink()
        assert send(lines_of(start, 452)).endswith("(902 of them earlier)\n")
        assert until(lambda: count(nucleus) == 1800 + 20 + 4)
        # and where it is read in another way, its readings are others, and that is said
        assert "was sent before, and read in another way: it counts as a new file" in send(lines_of(start, 452), "--block", "puertas")


def test_rows_put_in_front_of_a_file_count_once(tmp_path, monkeypatch):
    # Given a node, and a file with its newest row first that was sent when it had 300 rows
    config = SMALL | {"max_skew": 86_400}
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    Path("configs/corec_config.json").write_text(json.dumps(config))
    start, runner = now_ms() // 1000 - 1000, CliRunner()

    def send(count, packed=bytes, changed=None):
        lines = lines_of(start, count, changed).splitlines(keepends=True)
        Path("log.csv").write_bytes(packed(("time,a,b\n" + "".join(reversed(lines))).encode()))
        done = runner.invoke(main, ["send", "log.csv"], catch_exceptions=False)
        assert done.exit_code == 0 and "the newest row is first: read from the end" in done.stdout, done.output
        return done.stdout

    with running(parse(config), tmp_path / "data") as nucleus:
        assert send(300).endswith("600 readings sent: 600 taken\n")
        # When rows are put in front, packed or not, Then only they count; so where what was sent is forgotten
        assert send(400).endswith("800 readings sent: 800 taken (600 of them earlier)\n")
        assert send(410, gzip.compress).endswith("820 readings sent: 820 taken (800 of them earlier)\n")
        Path("data/tails/log.csv/sent.json").unlink()
        assert send(420).endswith("840 readings sent: 840 taken (820 of them earlier)\n")
        assert until(lambda: count(nucleus) == 840)
        # and a file whose older part was edited is a new one, and that is said
        edited = send(420, changed=100)
        assert "log.csv does not end with what was sent of it before: it counts as a new file" in edited
        assert edited.endswith("840 readings sent: 840 taken\n")


def test_send_prints_what_replay_prints_of_a_file_and_what_became_of_it(tmp_path, monkeypatch):
    # Given a node with named devices, and a file with a bad row, words for no value, a column of no device and rows of last year
    table = {"device": [1, 2], "name": ["oven", "cellar"]}
    config = SMALL | {"bloques": [{"id": "house", "canal": 1, "entidades": 2, "ids": table}]}
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    Path("configs/corec_config.json").write_text(json.dumps(config))
    now = now_ms() // 1000
    rows = f"{now - 400 * 86_400},1,2,3\nlater,1,2,3\n{now - 1},1,n/a,3\n{now},1,2,3\n"
    Path("log.csv").write_text("time,Oven,cellar,celar\n" + rows)
    runner = CliRunner()
    replayed = runner.invoke(main, ["replay", "log.csv"], catch_exceptions=False)
    with running(parse(config), tmp_path / "data"):
        sent = runner.invoke(main, ["send", "log.csv"], catch_exceptions=False)
        lenient = runner.invoke(main, ["send", "log.csv", "--lenient"], catch_exceptions=False)
    # Then both report the same about the file, the sender also what the node did, and both end with the code of bad input
    report = sent.stdout.splitlines()
    assert set(report[:-1]) <= set(replayed.stdout.splitlines()) and report[-1] == "5 readings sent: 3 taken, 2 skew"
    for text in ("left out: no device has that name or id; did you mean \"cellar\"?", "1 row left out, the first at line 3",
                 "1 cell with a word for no value skipped", "Oven -> the device of that name, but for its case"):  # fmt: skip
        assert text in sent.stdout
    assert (replayed.exit_code, sent.exit_code, lenient.exit_code) == (4, 4, 0)


@pytest.mark.parametrize("command", ["send", "replay"])
def test_a_file_without_readings_is_refused_by_both(tmp_path, monkeypatch, command):
    # Given a file of words for no value
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    Path("configs/corec_config.json").write_text(json.dumps(SMALL))
    Path("log.csv").write_text("time,a\n2026-01-30,n/a\n2026-01-31,n/a\n")
    with running(small(), tmp_path / "data"):
        done = CliRunner().invoke(main, [command, "log.csv"], catch_exceptions=False)
    # Then both say so in the same words
    assert done.exit_code == 4
    assert "log.csv: expected readings, got none\nDETAIL: 2 cells with a word for no value skipped, the first: 'n/a'" in done.stderr


@pytest.mark.parametrize("command", ["send", "replay"])
def test_a_file_that_grows_is_followed(tmp_path, command):
    # Given a file, and a command that follows it
    (tmp_path / "configs").mkdir()
    config = SMALL | {"max_skew": 86_400}
    (tmp_path / "configs/corec_config.json").write_text(json.dumps(config))
    file, start = tmp_path / "log.csv", now_ms() // 1000 - 1000
    file.write_text("time,a,b\n" + lines_of(start, 5))
    with running(parse(config), tmp_path / "data") as nucleus:
        process = subprocess.Popen([sys.executable, "-m", "corec", command, "log.csv", "--follow"], cwd=tmp_path, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip
        try:
            assert command == "replay" and process.stdout.readline() or until(lambda: count(nucleus) == 10, 60)
            # When rows are added, one of them in two parts
            with file.open("a") as stream:
                for part in (f"{start + 5},1,2\n{start + 6},", "1,2\n"):
                    stream.write(part)
                    stream.flush()
                    time.sleep(0.5)
            # Then they count soon, and Ctrl-C ends the command as its end
            assert command == "replay" or until(lambda: count(nucleus) == 14, 60)
            process.send_signal(signal.SIGINT)
            out, error = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, error
    assert "7 rows, 14 readings" in out if command == "replay" else out.endswith("14 readings sent: 14 taken\n")


@pytest.mark.parametrize("way", ["renamed", "cut short"])
@pytest.mark.parametrize("command", ["send", "replay"])
def test_a_file_that_is_replaced_while_it_is_followed(tmp_path, command, way):
    # Given a file, and a command that follows it
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/corec_config.json").write_text(json.dumps(SMALL | {"max_skew": 86_400}))
    file, start = tmp_path / "log.csv", now_ms() // 1000 - 1000
    file.write_text("time,a,b\n" + lines_of(start, 300))
    with running(parse(SMALL | {"max_skew": 86_400}), tmp_path / "data") as nucleus:
        process = subprocess.Popen([sys.executable, "-m", "corec", command, "log.csv", "--follow"], cwd=tmp_path, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"})  # fmt: skip
        try:
            assert command == "replay" and process.stdout.readline() or until(lambda: count(nucleus) == 600, 60)
            time.sleep(1)
            # When it is renamed, written to once more, and a new one with other columns has its name; or it is emptied and begun anew
            if way == "renamed":
                with file.open("a") as stream:
                    file.rename(tmp_path / "log.csv.1")
                    file.write_text("b;time\n")
                    stream.write(lines_of(start + 300, 1))
            else:
                file.write_text("")
                time.sleep(1)
                file.write_text("b;time\n")
            time.sleep(1)
            with file.open("a") as stream:
                stream.write("".join(f"7,5;{start + 400 + n}\n" for n in range(4)))
            # Then what was written to the old one counts, and the new one is read as a file of its own; the command goes on
            rows = 4 + (way == "renamed")
            assert command == "replay" and not time.sleep(3) or until(lambda: count(nucleus) == 604 + 2 * (rows - 4), 60)
            process.send_signal(signal.SIGINT)
            out, error = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, error
    assert ("another file has its name now" if way == "renamed" else "it was cut short") in out
    assert "separated by semicolon, decimal comma" in out
    if command == "replay":
        assert f"{300 + rows} rows, {604 + 2 * (rows - 4)} readings" in out
    else:
        assert "4 readings sent: 4 taken" in out and f"{600 + 2 * (rows - 4)} readings sent: {600 + 2 * (rows - 4)} taken" in out


@pytest.mark.parametrize("on_redis", [False, True])
def test_who_sends_learns_what_became_of_it(redis_server, tmp_path, monkeypatch, on_redis):
    # Given a node, and a file of readings of now, of 40 days ago and of next year; and lines of ids and channels that it does not have
    config = SMALL | ({"redis_config": redis_server.section} if on_redis else {}) | {"max_skew": 90 * 86_400}
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    Path("configs/corec_config.json").write_text(json.dumps(config))
    now = now_ms() // 1000
    Path("log.csv").write_text("time,a,b\n" + "".join(f"{at},1,2\n" for at in (now - 1, now, now - 40 * 86_400, now + 300 * 86_400)))
    runner = CliRunner()
    with running(parse(config), tmp_path / "data") as nucleus:
        # When they are sent, then the account names each cause; the exit code is that of bad input, unless that is accepted
        done = runner.invoke(main, ["send", "log.csv"], catch_exceptions=False)
        assert done.stdout.endswith("\n8 readings sent: 4 taken, 2 late, 2 skew\n") and done.exit_code == 4
        assert "2 readings refused as 'late': older than retencion_dias" in done.stderr
        assert "2 readings refused as 'skew': older than max_skew, or further ahead than max_adelanto" in done.stderr
        assert nucleus.engine.ledger["late"] == nucleus.engine.ledger["rejected_skew"] == 2
        done = runner.invoke(main, ["send", "-", "--lenient"], input="1,1,20.5\n1,3,1\n99999,1,1\n", catch_exceptions=False)
        assert (done.exit_code, done.stdout) == (0, "3 readings sent: 1 taken, 1 channel, 1 id\n")
    # And once no node runs, a device on Redis is told that nobody has counted its readings, and without it that none takes them
    done = runner.invoke(main, ["send", "-", "--timeout", "0.5"], input="1,1,20.5\n")
    if on_redis:
        assert (done.exit_code, done.stdout) == (0, "1 reading sent: 1 not counted yet\n") and "see that one runs" in done.stderr
    else:
        assert done.exit_code != 0 and "batches were not taken" in done.output


def test_an_account_outlives_a_kill_and_is_the_same_on_every_way(redis_server, tmp_path):
    # Given a publisher some of whose readings are refused
    config = small(redis_config=redis_server.section)
    with Publisher(config, name="d", folder=tmp_path / "tail") as publisher:
        with running(config, tmp_path / "node"):
            publisher.publish(readings(range(30)), time=now_ms())
            publisher.publish([(5_000_000, 1, 1.0, True)], time=now_ms())
            first = publisher.wait(30, result=True)
        # When the node is started again, then the account goes on where it stood
        assert (first.sent, first.taken, first.refused) == (31, 30, {"id": 1})
        with running(config, tmp_path / "node") as nucleus:
            publisher.publish(readings(range(10)), time=now_ms())
            assert publisher.wait(30) is True
            second = publisher.wait(30, result=True)
            assert (second.sent, second.taken, second.refused, second.missing) == (41, 40, {"id": 1}, 0)
            part = publisher.unsent.parts()[0]
            assert answer(nucleus, {"op": "account", "producers": [[part.producer, part.epoch], [1, 1]]})["accounts"] == [
                nucleus.engine.marks.account(part.producer, part.epoch), None]  # fmt: skip


def test_a_wait_ends_where_nobody_counts(redis_server, tmp_path):
    with Publisher(small(redis_config=redis_server.section), name="d", folder=tmp_path / "tail") as publisher:
        publisher.publish(readings(range(3)), time=now_ms())
        assert publisher.wait(0.3) is False
        assert publisher.wait(0.1, result=True) == Receipt(3, 0, {}, 3, 0, 0)
