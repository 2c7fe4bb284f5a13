"""docs/plugins.md: its first plugin runs as it is printed, and every key that CoreC reads of a plugin stands in its table."""
import json
import logging
import re

import pytest

from corec.config.types import PluginSection
from tests.support.nodes import now_ms, readings, until
from tests.support.paths import ROOT
from tests.support.plugin_nodes import Node, stream

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "plugins.md").read_text()


@pytest.mark.parametrize("isolated", [False, True])
def test_first_plugin_runs_as_it_is_printed(tmp_path, caplog, isolated):
    # Given the folder that the page has one make
    caplog.set_level(logging.INFO)
    node = Node(tmp_path)
    config = json.loads(re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)[1])
    node.plugin("hot", re.search(r"```python\n(from corec.*?)```", PAGE, re.DOTALL)[1], {**config, "intervalo": 0.1, "aislado": isolated})
    with node as nucleus:
        # When a block gets hot, Then the line is in the log and the message in the stream
        nucleus.submit(readings([3], values=83.1), time=now_ms()).result(60)
        assert until(lambda: stream(nucleus, "hot") and "sensores/0 reached 83.1" in caplog.text, seconds=60)
        # And its bill has what it was given and what it sent
        bill = nucleus.status()["plugins"][0]
        assert (bill["name"], bill["bytes_in_s"] > 0, bill["bytes_out_s"] > 0) == ("hot", True, True)


def test_every_key_of_a_plugin_is_documented():
    defaults = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", PAGE, re.MULTILINE))
    for name in PluginSection.__struct_fields__:
        assert json.loads(defaults[name]) == getattr(PluginSection(), name)
