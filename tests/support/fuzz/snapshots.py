"""Damaged snapshots: the files of the folder, and the one piece that `Engine.snapshot` gives."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from corec._core.dtypes import BLOCK, BLOCK_SCORE, LEDGER, POOL, SEGMENT_FROZEN, SEGMENT_MIXED, TILE
from corec._core.wire import crc32c, encode_frames
from corec.engine import Engine
from corec.engine.columns import LATEST_TIME
from corec.errors import CoreCError, DamagedFile
from corec.storage.snapshots import Snapshots
from corec.storage.snapshots import files as form
from tests.support.forging import put_together, taken_apart, with_entity
from tests.support.fuzz.envelopes import CONFIG, TIME
from tests.support.fuzz.mutation import ODD, Choices, mutated

STEPS = 4
#: Columns of the state, by their elements.
COLUMNS = {"blocks": BLOCK, "ledger": LEDGER, "owners": np.dtype("<u4"), "last_ticks": np.dtype("<u4"), "flags": np.dtype("u1"),
           "pool": POOL, "audit": BLOCK_SCORE}  # fmt: skip
#: Fields of an entity that are no plain numbers.
WORDS = ("trend", "state", "role")


def fed(engine: Engine, step: int) -> Engine:
    """*engine* after some readings, failures and silence among them."""
    dice = np.random.default_rng(step)
    ids = dice.integers(0, 1203, 300) if step % 2 else np.arange(5000, 5050)
    canal = 1 if step % 2 else 2
    at = min(max(TIME + step * 3000, engine.clock), LATEST_TIME - 1)
    engine.feed(encode_frames(ids, canal, dice.normal(50, 30, len(ids)), dice.random(len(ids)) > 0.2), at=at)
    engine.feed(encode_frames([2**31, 2**31 + 65536 * step], 4, [70.0, 1.0], True), at=max(at - 4000, 0))
    return engine


class Snapshot:
    """What a folder gives, to be compared: the generation's turn, its meta, its segments."""

    def __init__(self, found: Any) -> None:
        self.content = found.turn, found.offset, found.meta, dict(found.segments)


class SnapshotFolders:
    name = "snapshot folders"

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "snapshots"
        self._truth = []
        engine, snapshots = Engine(CONFIG), Snapshots(self._folder)
        snapshots.load()
        for step in range(1, STEPS + 1):
            meta = fed(engine, step).snapshot_begin()
            snapshots.write(meta, engine.snapshot_segments(), turn=step, offset=step * 10)
            self._truth.append(Snapshot(Snapshots(self._folder).load()).content)
        self._files = {path.name: path.read_bytes() for path in self._folder.iterdir()}

    def check(self, choices: Choices) -> str:
        files = dict(self._files)
        return choices.one_of((self._damaged, self._damaged, self._both_damaged, self._forged))(files, choices)

    def _damaged(self, files: dict[str, bytes], choices: Choices) -> str:
        """One file changed or is gone: the newest generation, or the one before it."""
        name = choices.one_of(sorted(files))
        files[name] = mutated(files[name], choices)
        if choices.below(20) == 0:
            del files[name]
        found = self._load(files)
        assert found in self._truth[-2:], "expected one of the two newest generations as it was"
        self._go_on(found)
        return "the newest" if found == self._truth[-1] else "the one before"

    def _both_damaged(self, files: dict[str, bytes], choices: Choices) -> str:
        """Every file changed: nothing, or a generation as it was."""
        for name in sorted(files):
            files[name] = mutated(files[name], choices)
        found = self._load(files)
        assert found is None or found in self._truth, "expected a generation as it was"
        return "none" if found is None else "the one before"

    def _forged(self, files: dict[str, bytes], choices: Choices) -> str:
        """Header, index or footer say anything, under true checksums: the files load, or are put aside."""
        name = choices.one_of(sorted(files))
        files[name] = forged(files[name], choices)
        return "none" if self._load(files) is None else "read"

    def _load(self, files: dict[str, bytes]) -> tuple | None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        for name, data in files.items():
            (self._folder / name).write_bytes(data)
        Snapshots(self._folder).inspect()
        found = Snapshots(self._folder).load()
        return found and Snapshot(found).content

    def _go_on(self, found: tuple) -> None:
        """A node starts from it, and its next snapshot holds."""
        engine = fed(Engine.assemble(found[2], found[3]), STEPS + 1)
        snapshots = Snapshots(self._folder)
        snapshots.load()
        snapshots.write(engine.snapshot_begin(), engine.snapshot_segments(), turn=STEPS + 1, offset=99)
        again = Snapshots(self._folder).load()
        assert again.turn == STEPS + 1, f"expected the snapshot just written, got turn {again.turn}"
        restored = Engine.assemble(again.meta, again.segments)
        assert restored.snapshot() == engine.snapshot(), "expected the engine back that was saved"


def forged(data: bytes, choices: Choices) -> bytes:
    """A snapshot file with one field of its header, index or footer changed, all checksums true."""
    footer = list(form._FOOTER.unpack(data[-form.FOOTER_BYTES : -form._CHECKSUM.size]))
    header, index = data[: form._HEADER.size], data[footer[2] : -form.FOOTER_BYTES]
    body = data[form.HEADER_BYTES : footer[2]]
    part = choices.below(3)
    if part == 0:
        header = with_odd_number(header, choices)
    elif part == 1:
        index = with_odd_number(index, choices)
        footer[1] = crc32c(index)
    else:
        footer[choices.one_of((2, 3))] = choices.one_of((0, 1, 2**31, 2**32 - 1, footer[2] - 1, footer[2] + 1))
    end = form._FOOTER.pack(*footer)
    return header + seal(header) + body + index + end + seal(end)


def with_odd_number(data: bytes, choices: Choices) -> bytes:
    at, size = choices.below(len(data) // 4) * 4, choices.one_of((4, 8))
    number = choices.one_of((choices.one_of(ODD), choices.number(1)))
    return (data[:at] + (number % (1 << 8 * size)).to_bytes(size, "little") + data[at + size :])[: len(data)]


def seal(part: bytes) -> bytes:
    return form._CHECKSUM.pack(crc32c(part))


class SnapshotPieces:
    name = "snapshot pieces"

    def __init__(self) -> None:
        engine = ordered(fed(fed(Engine(CONFIG), 1), 2))
        self._blob = engine.snapshot()
        self._again = Engine.restore(self._blob).snapshot()
        self._state, self._segments = taken_apart(self._blob)

    def check(self, choices: Choices) -> str:
        return choices.one_of((self._damaged, self._forged_meta, self._forged_number, self._forged_segment, self._forged_entity))(choices)

    def _damaged(self, choices: Choices) -> str:
        data = mutated(self._blob, choices)
        try:
            engine = Engine.restore(data)
        except DamagedFile:
            return "refused"
        assert engine.snapshot() == self._again, "expected the engine that was saved"
        return "the same"

    def _forged_meta(self, choices: Choices) -> str:
        """A field of the state changed, under a true checksum."""
        field = choices.one_of(sorted(self._state))
        return self._use(self._state | {field: spoilt(self._state[field], choices)}, self._segments)

    def _forged_number(self, choices: Choices) -> str:
        """One number of one column changed, or one inside of a list."""
        field = choices.one_of(sorted(COLUMNS) + ["fusions", "mutes", "marks", "stepped_at", "counters"])
        if field in COLUMNS:
            forged = with_odd_element(self._state[field], COLUMNS[field], choices)
        else:
            forged = with_odd_item(self._state[field], choices)
        return self._use(self._state | {field: forged}, self._segments)

    def _forged_segment(self, choices: Choices) -> str:
        """Tiles that hold anything, pieces that are none, segments that are not there, under a true checksum."""
        segments = dict(self._segments)
        segment = choices.one_of(sorted(segments))
        way = choices.below(8)
        if way == 0:
            segments[choices.one_of(ODD)] = segments.pop(segment)
        elif way == 1:
            segments[segment] = choices.one_of((None, 1, b"", mutated(segments[segment], choices)))
        else:
            segments[segment] = zstandard.compress(spoilt(zstandard.decompress(segments[segment]), choices))
        return self._use(self._state, list(segments.items()))

    def _forged_entity(self, choices: Choices) -> str:
        """One field of one entity, and the flags of its segment."""
        segment = choices.one_of(sorted(self._segments))
        slot, field = choices.below(8 * (len(zstandard.decompress(self._segments[segment])) // TILE.itemsize)), choices.one_of(WORDS)
        value = choices.one_of((0xFFFFF, 1, 5, 6, 7, 0xFFFFFFFF, 1 << 31, choices.number(4)))
        piece = with_entity(self._segments[segment], slot, **{field: value})
        flags = bytearray(self._state["flags"])
        flags[segment] |= choices.one_of((SEGMENT_MIXED, 0, SEGMENT_MIXED | SEGMENT_FROZEN, 255))
        return self._use(self._state | {"flags": bytes(flags)}, self._segments | {segment: piece})

    def _use(self, state: dict[str, Any], segments: Any) -> str:
        try:
            engine = Engine.restore(put_together(state, segments))
        except CoreCError:
            return "refused"
        worked(fed(engine, 3))
        Engine.restore(engine.snapshot())
        return "taken"


def ordered(engine: Engine) -> Engine:
    """*engine* after a fusion and mutes, while segments sleep."""
    engine.tick(max(TIME, engine.clock) + 9_000)
    engine.turn([], commands=[{"op": "fuse", "block": "a/1", "host": "a/0", "force": True},
                              {"op": "mute", "block": "b/0", "until": engine.clock + 60_000},
                              {"op": "mute", "entity": 2**31, "until": engine.clock + 60_000}])  # fmt: skip
    return engine


def worked(engine: Engine) -> None:
    """Whatever an engine can be asked: each path over what was restored."""
    engine.step(engine.clock)
    commands = [{"op": "repair", "block": name} for name in engine.block_ids]
    undone = [{"op": "undo", "block": engine.block_ids[fusion.block]} for fusion in reversed(engine.fusions)]
    engine.turn([], commands=[*commands, *undone])
    for id in (0, 1202, 5049, 6000, 6012, 2**31):
        engine.entity(id)
    engine.step(min(engine.clock + 5000, LATEST_TIME - 1))
    fed(engine, 4).finish()


def with_odd_element(data: bytes, dtype: np.dtype, choices: Choices) -> bytes:
    """*data*, elements of *dtype*, with another number in 1, 2, 4 or 8 bytes of one of them."""
    raw = bytearray(data)
    offsets = offsets_of(dtype)
    start = choices.below(max(len(raw) // dtype.itemsize, 1)) * dtype.itemsize + choices.one_of(offsets)
    size = choices.one_of((1, 2, 4, 8))
    raw[start : start + size] = ((choices.one_of(ODD) + choices.below(3)) % (1 << 8 * size)).to_bytes(size, "little")
    return bytes(raw[: len(data)])


def offsets_of(dtype: np.dtype) -> list[int]:
    """Where the numbers of an element begin, those of the structs in it too."""
    if dtype.names is None:
        return [0]
    inside = (dtype.fields[name][:2] for name in dtype.names)
    return [offset + place for kind, offset in inside for place in offsets_of(kind)]


def with_odd_item(value: Any, choices: Choices) -> Any:
    """*value*, lists and numbers in each other, with another number in one place."""
    if not isinstance(value, list):
        return min(choices.one_of(ODD) + choices.below(3) - 1, 2**64 - 1) if isinstance(value, int) else value
    if not value:
        return [with_odd_item(0, choices) for _ in range(3)]
    at = choices.below(len(value))
    return [with_odd_item(item, choices) if place == at else item for place, item in enumerate(value)]


def spoilt(value: Any, choices: Choices) -> Any:
    if isinstance(value, bytes):
        data = mutated(value, choices)
        return data if choices.below(4) == 0 else data[: len(value)].ljust(len(value), b"\0")
    return choices.one_of((None, -1, 0, 2**40, "text", b"bytes", [], [1], {}, 1.5))
