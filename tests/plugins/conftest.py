"""What the tests of plugins share."""
import logging

import pytest

from tests.support.plugin_nodes import Node


@pytest.fixture
def node(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    (tmp_path / "plugins").mkdir()
    return Node(tmp_path)
