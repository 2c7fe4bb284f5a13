"""Open recordings, and fold them into an engine, in the order in which the readings happened.

`csv_recording` reads a column of times and columns of values; `frames_recording` reads batches of frames. docs/cli.md
describes both formats.
"""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from corec._core.wire import FRAME_BYTES, envelope_head, unpack_envelope, with_age
from corec.config import Config
from corec.engine import Engine
from corec.engine.outcome import Outcome
from corec.errors import DamagedBatch, FrameError, UsageError
from corec.sources.base import Batch
from corec.sources.names import NameTable
from corec.sources.recordings.beginning import Options
from corec.sources.recordings.cells import shown
from corec.sources.recordings.columns import Entities
from corec.sources.recordings.converted import foreign
from corec.sources.recordings.csv_recording import CsvRecording
from corec.sources.recordings.frames_recording import MAGIC, BareRecording, FramesRecording
from corec.sources.recordings.opened_text import OpenedText
from corec.sources.recordings.recording import Recording


def open_recording(path: Path, config: Config, *, block: str | None = None, at: int | None = None, options: Options | None = None,
                   names: NameTable | None = None, follow: Callable[[], bool] | None = None) -> Recording:  # fmt: skip
    """The recording in a file; InputError when it is none.

    block: the entry or block that columns go to.  at: the time (ms) of a file of bare frames.  names: where new names get their
    entities.  follow: see `OpenedText`.
    """
    path = Path(path)
    text = _opened(path, follow)
    if found := foreign(text.begin):
        text.close()
        raise FrameError(f"{path}: expected a CSV or batches of frames, got {found[0]}", hint=found[1])
    if text.begin.startswith(MAGIC) or at is not None:
        text.close()
        if follow or not text.regular:
            raise UsageError(f"{path}: expected a CSV, got frames, which are not read from a pipe or with --follow")
        return FramesRecording(path) if at is None else BareRecording(path, at)
    if path.suffix == ".frames":
        hint = "a file of bare 10-byte frames needs --at TIME; `corec export FILE.frames` writes batches"
        raise FrameError(f"{path}: expected batches behind {MAGIC.decode()}, got {shown(text.begin.decode('latin-1'))}", hint=hint)
    entities = Entities(text.name, config, block, names or NameTable(None, config))
    return CsvRecording(text, entities, config.max_adelanto * 1000, options)


def fold(engine: Engine, content: Batch | bytes) -> Iterator[Outcome]:
    """Fold the content of a piece into an engine, every reading at its own time."""
    if isinstance(content, bytes):
        yield engine.turn([_at_its_newest(content)])
    elif len(canales := np.unique(content.canal)) == 1:
        times = content.time + content.offsets.astype(np.int64)
        yield engine.feed_arrays(content.ids, content.valores, at=times, channel=int(canales[0]), earliest=0)
    else:
        for moment, frames in _moments(content):
            yield engine.feed(frames, at=moment)


def _at_its_newest(envelope: bytes) -> tuple[bytes, int]:
    """(the envelope, its newest time as its arrival): it was held since its oldest reading, so that none of them is too old or ahead."""
    try:
        batch = unpack_envelope(envelope)
    except DamagedBatch:  # the engine counts it
        return envelope, envelope_head(envelope)[5]
    if batch.offsets is None or not batch.count:
        return envelope, batch.time
    span = int(batch.offsets.max()) - int(batch.offsets.min())
    return with_age(envelope, span), batch.time + int(batch.offsets.max())


def _moments(content: Batch) -> Iterator[tuple[int, memoryview]]:
    """(time in ms, frames) of each moment in the batch: mostly one row."""
    frames = memoryview(content.frames())
    edges = [0, *(np.flatnonzero(np.diff(content.offsets)) + 1).tolist(), len(content.ids)]
    for start, end in itertools.pairwise(edges):
        yield content.time + int(content.offsets[start]), frames[start * FRAME_BYTES : end * FRAME_BYTES]


def _opened(path: Path, follow: Callable[[], bool] | None) -> OpenedText:
    try:
        text = OpenedText(path, follow)
    except IsADirectoryError:
        raise UsageError(f"{path}: expected a recording, got a folder") from None
    except OSError as error:
        raise UsageError(f"{path}: expected a recording, got {(error.strerror or 'an error').lower()}") from None
    if not text.begin:
        raise FrameError(f"{path}: expected a recording, got an empty file")
    return text
