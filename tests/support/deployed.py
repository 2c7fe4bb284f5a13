"""A checkout of what deployment needs, for tests of its scripts."""
import json
import shutil

import pytest

from tests.support.config_samples import block
from tests.support.paths import ROOT


@pytest.fixture
def checkout(tmp_path):
    """What ./setup.sh and ./run.sh need, with a small configuration."""
    for name in ("setup.sh", "run.sh"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    (tmp_path / "configs").mkdir()
    (tmp_path / "plugins").mkdir()
    configure(tmp_path)
    return tmp_path


def configure(checkout, **sections):
    tree = {"instance_id": "corec1", "bloques": [block(entidades=10)], "fuentes": ["host"]} | sections
    (checkout / "configs" / "corec_config.json").write_text(json.dumps(tree))


def configuration(checkout):
    """What is in it now."""
    return json.loads((checkout / "configs" / "corec_config.json").read_text())
