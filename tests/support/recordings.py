"""Batches as a recording of frames holds them."""
import numpy as np

from corec._core.wire import encode_frames, pack_envelope

NEW_YEAR = 1_735_689_600_000  # 2025-01-01 00:00:00 UTC


def envelopes(count=5, each=100):
    frames = encode_frames(np.arange(each) % 30, 1, np.linspace(0, 9, each), True)
    return [
        pack_envelope(frames, producer=3, epoch=1, sequence=n * each, time=NEW_YEAR + n * 1000) for n in range(count)
    ]
