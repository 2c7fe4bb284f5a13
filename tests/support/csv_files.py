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


NOON = 1_769_774_400_000  # 2026-01-30 12:00:00 UTC
HOUSE = {"id": "house", "canal": 1, "entidades": 8,
         "ids": {"device": [7, 8, 9], "name": ["Oven", "cellar temp", ""], "unit": ["°C", "", ""]}}  # fmt: skip
ROOMS = {"id": "rooms", "canal": 1, "entidades": 8, "ids": 100}
POINT = "2026-01-30 12:00:{s},20.{d},21.{d}\n"


def taken(tmp_path, text, *entries, **options):
    """(recording, readings) of a file with this text or these bytes."""
    file = tmp_path / "x.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_file(file, config_file(tmp_path, *entries) if entries else None, **options)


def rows(form, count=10, start=0):
    """Rows number *start* and following: {n} is the number, {s} has two digits, {d} is its last one."""
    return "".join(form.format(n=n, s=f"{n:02d}", d=n % 10) for n in range(start, start + count))


def report(recording):
    return "\n".join([*recording.about, *recording.notes()])


HEADED = "timestamp,a,b\n" + rows(POINT)
GOOD = [(NOON + n * 1000, id, round(20 + id + n / 10, 1)) for n in range(10) for id in (0, 1)]
FIRST = [row for row in GOOD if row[1] == 0]
