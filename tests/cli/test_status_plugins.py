"""`corec status --plugins`: what each plugin costs, beside the documented figures."""
import json
import logging

import pytest
from click.testing import CliRunner

from corec.cli.output.status_plugins import plugins_text
from corec.cli.output.status_text import as_text
from corec.cli.status import status
from tests.support import status_samples
from tests.support.nodes import until
from tests.support.plugin_nodes import GOOD, Node

pytestmark = pytest.mark.slow


@pytest.fixture
def node(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    node = Node(tmp_path)
    node.plugin("good", GOOD, {"intervalo": 0.05})
    node.plugin("bad", "1 / 0")
    return node


def test_running_node_shows_what_plugins_cost(node):
    with node as nucleus:
        assert until(lambda: nucleus.status()["plugins"][0]["ram_bytes"])
        # When asked for its plugins, as text and as JSON
        text = CliRunner().invoke(status, ["--data", str(node.data), "--plugins"]).output
        found = json.loads(CliRunner().invoke(status, ["--data", str(node.data), "--plugins", "--json"]).output)
    # Then each has its figures, the targets stand beneath, and what is wrong is said
    good, bad = found
    assert 1_000 < good["ram_bytes"] < 20 << 10 and good["targets"] == {"ram_kb": [10, 20], "cpu_percent": [0.001, 0.01], "mb_s": 0.01}
    assert (bad["state"], "ZeroDivisionError" in bad["detail"]) == ("not loaded", True)
    header, first, second, target, problem = text.splitlines()
    assert header.split() == ["plugin", "state", "passes", "failures", "RAM", "CPU", "in/s", "out/s", "dropped"]
    assert first.split()[:2] == ["good", "running"] and second.split()[:3] == ["bad", "not", "loaded"]
    assert target.split() == ["target", "10-20", "KB", "0.001-0.01%", "10.2", "KB"]
    assert problem.startswith("bad: ZeroDivisionError")


def test_node_without_plugins_says_so():
    assert plugins_text([]) == "no plugins"


def test_plain_status_names_the_plugins_that_do_not_run():
    plugins = [{"name": "good", "state": "running", "detail": "running"}, {"name": "bad", "state": "suspended", "detail": "ValueError: x"}]
    lines = [line for line in as_text(status_samples.status(plugins=plugins)).splitlines() if line.startswith("plugin")]
    assert lines == ["plugin     bad suspended; ValueError: x"]
