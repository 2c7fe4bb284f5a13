"""A checkout of what deployment needs, for tests of its scripts."""
import shutil

import pytest

from tests.support.deployed import configure
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
