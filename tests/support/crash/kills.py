"""A node that is killed at random moments, again and again, and started once more afterwards."""
import itertools
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

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


def lives(kills: int, enough: Callable[[], bool]) -> Iterator[int]:
    """As many as *kills*, and more until what was done in them is *enough*: a busy machine does less in each."""
    for number in itertools.count():
        if number >= kills and enough():
            return
        assert number < 10 * kills, "what the kills were to cut through did not happen"
        yield number


def kill_often(folder: Path, kills: int, seed: int, content: dict = CONFIG, enough: Callable[[], bool] = lambda: True) -> None:
    """Start, let work, kill; the seed makes a failing run repeatable up to the machine's timing."""
    dice = random.Random(seed)
    config = folder / "config.json"
    config.write_text(json.dumps(content))
    with Forks("tests.support.crash.driver", folder / "log") as forks:
        for round_number in lives(kills, enough):
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
