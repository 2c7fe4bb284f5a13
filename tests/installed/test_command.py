"""`python -m corec` in a folder where nothing is."""
import json
import os
import re
import subprocess
import sys

import pytest


@pytest.fixture
def corec(tmp_path):
    """Runs a corec command in an empty folder; what it printed."""
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    if not env.get("COREC_INSTALLED"):
        env["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)

    def command(*words):
        done = subprocess.run([sys.executable, "-m", "corec", *words], cwd=tmp_path, env=env, text=True, capture_output=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    command.folder = tmp_path
    return command


def test_a_node_runs_on_the_configuration_that_comes_with_it(corec):
    # Given an empty folder, when a node runs there for a moment
    said = corec("--for", "2")
    # Then it started, says how to have a configuration of one's own, and has committed readings of this machine
    assert "Inicializado" in said
    assert "corec init" in said
    assert int(re.search(r"stopped at turn (\d+)", said)[1]) > 0, said
    assert "sensors: sound" in corec("check", "--data", "data")


def test_init_writes_what_then_runs(corec):
    # Given a folder that `corec init` wrote
    said = corec("init")
    written = ["configs/corec_config.json", "configs/plugins_config.json", "corec.service"]
    assert all((corec.folder / name).is_file() for name in written), said
    assert (corec.folder / "plugins").is_dir()
    # When the configuration is changed, then that is the one which runs
    config = corec.folder / "configs" / "corec_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "instance_id": "mine"}))
    assert "right, and it fits" in corec("check")
    said = corec("--for", "1")
    assert "[CoreCNucleus-mine]" in said
    assert "corec init" not in said
    # And a second init leaves it alone
    assert "kept" in corec("init")
    assert json.loads(config.read_text())["instance_id"] == "mine"
