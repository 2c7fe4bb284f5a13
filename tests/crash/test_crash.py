"""kill -9 of the real process at random moments, under load, with commands in flight.

After the last kill the node is started once more and stopped.  Then everything that was acknowledged must be
in the journal, and the committed rows must be what the oracle makes of the journal under the turn records.
"""
import json
import os
import random
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

from tests.support.crash import evidence
from tests.support.crash.folded import fold, of_journal, rounded
from tests.support.crash.forks import Forks
from tests.support.paths import ROOT

KILLS = 300 if os.environ.get("COREC_CHAOS") else 20
CONFIG = {
    "instance_id": "crash1", "conservar_diario_mb": 4096, "max_disk_mb": 8192, "max_skew": 3600, "retraso_max": 0.5,
    "bloques": [
        {"id": "enjambre", "canal": 1, "entidades": 4500, "ventana": 0.2, "limites": {"bajo": -20, "alto": 60}},
        {"id": "seguridad", "canal": 2, "entidades": 700, "entidades_por_bloque": 300, "ventana": 0.5,
         "autoreparacion": {"max_errores": 0.02}, "silencio_max": 2},
        {"id": "latidos", "canal": 7, "entidades": 1003, "funcion": {"nombre": "sine", "periodo": 5}, "intervalo": 0.2},
    ],
}  # fmt: skip


def kill_often(folder: Path, kills: int, seed: int, content: dict = CONFIG) -> None:
    """Start, let work, kill; the seed makes a failing run repeatable up to the machine's timing."""
    dice = random.Random(seed)
    config = folder / "config.json"
    config.write_text(json.dumps(content))
    with Forks("tests.support.crash.driver", folder / "log") as forks:
        for round_number in range(kills):
            node = forks.start(config, folder / "data", folder / "acks", seed * 1000 + round_number)
            time.sleep(dice.random() * 0.8)
            forks.kill(node)


def settle(folder: Path) -> dict:
    """Start once more, fold what is left, stop cleanly; the ledger as the node sees it."""
    code = ("import sys; from pathlib import Path; from corec.config import load; from corec.nucleus import CoreCNucleus; import json\n"
            "n = CoreCNucleus(load(Path(sys.argv[1])), data=Path(sys.argv[2])); n.start(); n.stop()\n"
            "assert not n.pipeline.pending; print(json.dumps(n.engine.ledger))")
    done = subprocess.run([sys.executable, "-c", code, folder / "config.json", folder / "data"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory):
    """(folder, ledger) after all kills."""
    folder = tmp_path_factory.mktemp("crash")
    kill_often(folder, KILLS, seed=int(os.environ.get("COREC_SEED", "1")))
    return folder, settle(folder)


def test_nothing_acknowledged_is_lost(aftermath):
    # Given what producers were told was accepted
    folder, _ = aftermath
    acks, journal = evidence.read_acks(folder / "acks"), evidence.read_journal(folder / "data" / "journal")
    # Then the journal has it, at that offset, byte for byte
    assert len(acks) > KILLS
    assert [offset for offset, crc in acks.items() if offset not in journal or zlib.crc32(journal[offset].batch.frames) != crc] == []


def test_turns_are_whole_and_in_order(aftermath):
    # Given the committed turn records
    folder, _ = aftermath
    turns, journal = evidence.read_turns(folder / "data" / "store.db"), evidence.read_journal(folder / "data" / "journal")
    # Then they follow each other without a gap and end where the journal ends
    assert [turn["turn"] for turn in turns] == list(range(1, len(turns) + 1))
    assert all(before["to_offset"] == after["from_offset"] for before, after in zip(turns, turns[1:]))
    assert turns[-1]["to_offset"] == max(journal)
    assert sum(len(turn["commands"]) for turn in turns) > 0
    assert len({turn["load_q"] for turn in turns}) > 1


def test_rows_are_what_the_oracle_makes_of_the_journal(aftermath):
    # Given everything accepted, and the turn records
    folder, ledger = aftermath
    journal = evidence.read_journal(folder / "data" / "journal")
    store = folder / "data" / "store.db"
    # When the oracle folds them
    expected = fold(CONFIG, evidence.read_turns(store), of_journal(journal))
    # Then the committed rows are its rows, none more, none less
    committed = [rounded(row) for row in evidence.read_rows(store)]
    assert len(committed) > 100
    assert committed == expected.rows
    assert ledger == expected.ledger
    # And the history has every fusion and undo, none more, none less
    assert evidence.read_moves(store) == expected.moves
    assert len({what for _, _, what, *_ in expected.moves}) == 2
    assert ledger["in"] == sum(ledger[part] for part in ("stored", "filtered", "late", "shed", "rejected"))
