"""What commit bb9dcda wrote, whose snapshots had version 2, is opened by this code: its turns are folded again by the rules of then.

`tests/written_by_bb9dcda/` holds it, with the script that made it: of a node that was killed with committed turns behind its snapshot.
"""
import json
import logging
import tarfile
import time

import numpy as np
import pytest

from corec._core.wire import encode_frames
from corec.config import parse
from corec.engine.snapshot import read_meta
from corec.nucleus import CoreCNucleus
from corec.storage.snapshots import Snapshots
from tests.support.nodes import until
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

#: What an entity has learnt; the rest of it depends on how long ago the kill was.
LEARNT = ("valor", "emitted", "mean", "std", "fast_mean", "mean_step", "peak_score", "warm_up")


@pytest.fixture
def written(tmp_path):
    """(configuration, data folder, what the node stood at)"""
    with tarfile.open(ROOT / "tests" / "written_by_bb9dcda" / "embedded-killed.tar.xz") as packed:
        packed.extraction_filter = getattr(tarfile, "data_filter", None)     # before Python 3.11.4 there is none
        packed.extractall(tmp_path)
    return parse((tmp_path / "corec_config.json").read_text()), tmp_path / "data", json.loads((tmp_path / "expected.json").read_text())


def test_killed_node_of_version_2_goes_on(written, caplog):
    # Given what a node left behind, when this code opens it
    config, data, expected = written
    assert read_meta(Snapshots(data / "snapshots", instance="old2").load().meta).version == 2
    nucleus = CoreCNucleus(config, data=data, with_sources=False)
    with caplog.at_level(logging.WARNING):
        nucleus.start()
    try:
        # Then its committed turns gave what they gave then, to the bit, and the ledger is the committed one
        for id, known in expected["entities"].items():
            now = nucleus.engine.entity(int(id))
            assert {name: now[name] for name in LEARNT} == {name: known[name] for name in LEARNT}, id
        assert nucleus.engine.ledger == expected["ledger"] and nucleus.store_turn >= expected["turn"]
        assert "gone from the log" not in caplog.text
        # And what blocks were judged by goes on: the windows that were judged, and the level, which is learned anew
        score = nucleus.engine.audit.state[0]
        assert score["windows"] > 500 and 0 < score["levelled"] < 200
        # When readings come, then the rules and the defaults of today hold for them
        nucleus.submit(encode_frames(np.arange(40), 1, 12.0, True), time=time.time_ns() // 1_000_000).result(30)
        assert until(lambda: nucleus.store.state.ledger["in"] == expected["ledger"]["in"] + 40)
        assert nucleus.engine.config.bloques[0].filtro.memoria == 0.00002
        assert not nucleus.engine.take_over()
    finally:
        nucleus.stop()
    # And the next snapshot is of today
    assert read_meta(Snapshots(data / "snapshots", instance="old2").load().meta).version == 3
