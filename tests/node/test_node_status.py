"""corec.node.status: totals say since when they count, and agree over restarts and recoveries; figures of one look agree."""
import threading
import time

import numpy as np
import pytest

from corec.blocks import BloqueSimbiotico
from corec.cli.output.status_text import as_text, one_line
from corec.common.clock import MACHINE
from corec.entities import crear_entidad
from corec.errors import DamagedFile
from corec.node.rates import StatusRates, percentiles
from corec.node.refused import Refused
from tests.support.nodes import now_ms, readings, running, small, until

pytestmark = pytest.mark.slow

IDS = np.arange(0, 2000, 7)


def feed(nucleus, values=20.0):
    """Readings, once they are committed."""
    before = nucleus.status()["readings"]["total"]
    nucleus.submit(readings(IDS, values), time=now_ms()).result(60)
    until(lambda: nucleus.status()["readings"]["total"] == before + len(IDS) and not nucleus.pipeline.pending)


def test_totals_go_on_over_a_restart_and_counts_since_the_start_begin_again(tmp_path):
    # Given a node that took readings, all of which left as messages, and one of which is above its limit
    values = np.full(len(IDS), 20.0)
    values[3] = 150.0
    with running(small(), tmp_path) as nucleus:
        feed(nucleus, values)
        first = until(lambda: (found := nucleus.status())["alerts"]["since_start"] == 1 and found)
        for name in ("readings", "messages"):
            assert first[name]["total"] == first[name]["since_start"] == len(IDS), name
    # When it is started again
    with running(small(), tmp_path) as nucleus:
        again = nucleus.status()
        # Then what is of all time stands, readings and messages alike, as the ledger has it, and the rest begins at 0
        assert again["ledger"] == first["ledger"]
        for name in ("readings", "messages"):
            assert (again[name]["total"], again[name]["since_start"]) == (len(IDS), 0), name
        assert again["alerts"]["since_start"] == again["commit"]["rows_since_start"] == 0
        feed(nucleus, values)
        last = nucleus.status()
        assert last["readings"]["total"] == 2 * len(IDS) and last["readings"]["since_start"] == len(IDS)
        assert last["messages"]["total"] == last["ledger"]["stored"] == len(IDS) + last["messages"]["since_start"]
        text = as_text(last)
        assert f"{len(IDS):>15,}{2 * len(IDS):>17,}" in text and "since start           in all" in text
        assert f"{2 * len(IDS)} in all: balances" in text and "rows since start" in text
        assert "since start; " in one_line(last)


def damaged(*_, **__):
    raise DamagedFile("a page of store.db is damaged")


def test_recovery_while_running_lets_no_count_fall(tmp_path, monkeypatch):
    with running(small(), tmp_path) as nucleus:
        feed(nucleus)
        before = nucleus.status()
        # When the store is found damaged at a commit, and replaced
        monkeypatch.setattr(nucleus.store, "commit", damaged)
        nucleus.submit(readings(IDS), time=now_ms()).result()
        assert until(lambda: nucleus.heals == 1 and nucleus.state == "running", 60)
        feed(nucleus, 21.0)
        after = nucleus.status()
    for name in ("readings", "messages", "alerts"):
        assert after[name]["since_start"] >= before[name]["since_start"] and after[name]["per_s"] >= 0, name


def test_snapshots_are_those_on_disk(tmp_path):
    with running(small(), tmp_path) as nucleus:
        # Given the snapshot of the beginning, which no checkpoint of this run took
        feed(nucleus)
        found = nucleus.status()["snapshots"]
        files = list((tmp_path / "snapshots").glob("*.snap"))
        assert (found["count"], found["since_start"]) == (1, 0)
        assert found["bytes"] == sum(file.stat().st_size for file in files) > 0
        assert "1 snapshot, " in as_text(nucleus.status()) and "the last took" not in as_text(nucleus.status())
        # When one is taken, then both counts have it
        nucleus.pipeline.take_snapshot()
        found = nucleus.status()["snapshots"]
        assert found["since_start"] == 1 and found["count"] == len(list((tmp_path / "snapshots").glob("*.snap"))) >= 1
        assert "the last took" in as_text(nucleus.status())


@pytest.mark.parametrize(("values", "middle", "high"), [([], 0.0, 0.0), ([7.0], 7.0, 7.0), ([90.0, 3.0], 3.0, 90.0),
                                                        (range(1, 101), 50, 99), ([1.0] * 199 + [5.0], 1.0, 1.0)])  # fmt: skip
def test_percentiles_are_in_order_however_few_values_there_are(values, middle, high):
    assert percentiles(values) == (middle, high)


def test_first_look_has_a_rate_already():
    rates = StatusRates(MACHINE)
    rates.begin(readings=100)
    time.sleep(0.05)
    assert 100 < rates.update(readings=110)["readings"] <= 200
    assert rates.since("readings", 110) == 10 and rates.since("readings", 90) == 0 and rates.since("other", 5) == 5


def total(by):
    return sum(sum(counts.values()) for counts in by.values())


def test_figures_of_readings_are_of_one_moment(tmp_path, monkeypatch):
    # Given a node with readings from one thread, refused ones from another, and a third that has turns count these; between the
    # commit of such a turn and the word that it is committed, the machine does something else for a while
    settle = Refused.settle
    monkeypatch.setattr(Refused, "settle", lambda *arguments: (time.sleep(0.002), settle(*arguments)))
    over, handed = threading.Event(), [0]

    def send():
        while not over.wait(0.001):
            nucleus.submit(readings(IDS), time=now_ms())

    def refuse():
        while not over.wait(0.001):
            handed[0] += 7
            nucleus.shed(readings(range(7)))

    def report():
        while not over.wait(0.001):
            nucleus.report_refused()

    with running(small(), tmp_path) as nucleus:
        threads = [threading.Thread(target=work) for work in (send, refuse, report)]
        for thread in threads:
            thread.start()
        try:
            # When its status is looked at again and again
            end, looks = time.monotonic() + 1.5, 0
            while time.monotonic() < end or looks < 50:
                least, status, most, looks = handed[0] - 7, nucleus.status(), handed[0], looks + 1
                # Then its figures agree with each other and with what was handed in
                ledger = status["ledger"]
                assert ledger["in"] == sum(ledger[part] for part in ("stored", "filtered", "late", "shed", "rejected"))
                assert least <= total(status["shed"]) == ledger["shed"] <= most
                assert status["readings"]["total"] == ledger["in"] and status["messages"]["total"] == ledger["stored"]
        finally:
            over.set()
            for thread in threads:
                thread.join()
        # and in the end turns have counted them all
        assert until(lambda: nucleus.report_refused() or nucleus.store.state.ledger["shed"] == handed[0])


def test_status_is_given_while_blocks_come(tmp_path):
    # Given a node, and a thread that registers blocks
    def register():
        for number in range(150):
            nucleus.modulos["registro"].bloques[f"b{number}"] = BloqueSimbiotico(f"b{number}", 4, [crear_entidad("m", 4, lambda: 1.0)])

    with running(small(modules=["registro"]), tmp_path) as nucleus:
        before = nucleus.status()["blocks"]["total"]
        thread = threading.Thread(target=register)
        thread.start()
        # When its status is looked at meanwhile, Then it counts them one by one
        seen = [before]
        try:
            while thread.is_alive():
                seen.append(nucleus.status()["blocks"]["total"])
        finally:
            thread.join()
        assert seen == sorted(seen) and nucleus.status()["blocks"]["total"] == before + 150
