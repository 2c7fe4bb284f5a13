"""Memory by the page, whatever a page's size: the Pi 5's have 16 KiB."""
import numpy as np

import corec
from corec._core import wire

T0 = 1_700_000_000_000
CONFIG = {"hibernar_tras": 1, "bloques": [{"id": "a", "canal": 1, "entidades": 5000, "filtro": {"latido": 2}, "silencio_max": 2}]}


def heard(engine, at, ids=5000):
    """Readings of the first so many entities."""
    ids = np.arange(ids, dtype=np.uint32)
    return engine.feed_arrays(ids, (ids % 97) * 0.25, at=at, channel=1)


def test_segments_that_sleep_wake_as_they_were():
    # Given an engine that never sleeps and one whose segments hibernate
    sleeper, waking = corec.Engine(CONFIG), corec.Engine({**CONFIG, "hibernar_tras": 100_000})
    for engine in (sleeper, waking):
        heard(engine, T0)
        # When only the first segment is heard for a while
        for second in range(1, 12):
            heard(engine, T0 + 1000 * second, ids=1000)
    # Then the others gave their pages back, and read as they would have otherwise
    assert sorted(sleeper.arena.frozen) == [1, 2, 3, 4]
    assert not np.any(sleeper.arena.tiles[1:]["state"])
    assert sleeper.entities.tobytes() == waking.entities.tobytes()
    assert heard(sleeper, T0 + 20_000).messages.tobytes() == heard(waking, T0 + 20_000).messages.tobytes()


def test_a_snapshot_restores_every_bit():
    engine = corec.Engine(CONFIG)
    heard(engine, T0)
    restored = corec.Engine.restore(engine.snapshot())
    assert restored.entities.tobytes() == engine.entities.tobytes()
    assert heard(restored, T0 + 500).aggregates.tobytes() == heard(engine, T0 + 500).aggregates.tobytes()


def test_checksum_by_instruction_is_the_one_by_table():
    data = np.arange(1_000, dtype=np.uint16).tobytes()
    try:
        sums = []
        for hardware in (True, False):
            wire.use_hardware_checksum(hardware)
            sums.append([wire.crc32c(data[start:]) for start in range(9)])
    finally:
        wire.use_hardware_checksum(True)
    assert sums[0] == sums[1]
    assert wire.crc32c(b"123456789") == 0xE3069283    # RFC 3720, and every catalogue of checksums
