"""Files of readings as people have them, read by the reader of recordings."""
import json

import numpy as np

from corec.config import load
from corec.sources.recordings.replay import open_recording
from tests.support.paths import ROOT

CASES = ROOT / "tests" / "sources" / "cases"


def case_config():
    return load(CASES / "base_config.json", embedded=True)


def read_file(path, config=None, **options):
    """(the recording read whole, (time in ms, wire id, value or None for a failure) of each reading in order)."""
    recording = open_recording(path, config or case_config(), **options)
    found = []
    for piece in recording.pieces():
        batch = piece.content
        times = batch.time + batch.offsets.astype(np.int64)
        values = [None if not np.isfinite(value) else round(value, 4) for value in batch.valores.tolist()]
        found += zip(times.tolist(), batch.ids.tolist(), values, strict=True)
    return recording, found


def config_file(folder, *entries):
    """A configuration of these entries, written to a folder and read."""
    file = folder / "corec_config.json"
    file.write_text(json.dumps({"instance_id": "files", "bloques": list(entries)}))
    return load(file, embedded=True)
