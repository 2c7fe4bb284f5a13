"""What a node read from Redis, in its order: the runs of turn records, and the entries that are still there."""
import struct
from bisect import bisect_left, bisect_right

import numpy as np

from tests.support.crash.evidence import Accepted
from tests.support.oracle.wire import Opened, read_envelope


def read_streams(client, streams) -> dict[str, list[tuple[bytes, bytes]]]:
    """stream -> [(id, payload), ...]"""
    return {stream: [(id, fields.get(b"m", b"")) for id, fields in client.xrange(stream)] for stream in streams}


def batches_of(turn: dict, streams: dict) -> list[Accepted]:
    """The batches of one turn; neighbouring bare frames of a run are one."""
    found = []
    for command in turn["commands"]:
        if command["op"] == "read":
            for stream, first, last, count in command["runs"]:
                rows = _between(streams[stream], number(first), number(last))
                assert len(rows) == count, (stream, first, last, count, len(rows))
                found += accepted(rows)
    return found


def _between(rows: list[tuple[bytes, bytes]], first: tuple[int, int], last: tuple[int, int]) -> list[tuple[bytes, bytes]]:
    """Rows of these ids, both ends included; a stream has them in order."""
    begin = bisect_left(rows, first, key=lambda row: number(row[0]))
    return rows[begin : bisect_right(rows, last, key=lambda row: number(row[0]))]


def accepted(rows) -> list[Accepted]:
    found, bare = [], []
    for id, payload in rows:
        if len(payload) == 10:
            bare.append((id, payload))
            continue
        found += gathered(bare)
        bare = []
        found.append(Accepted(read_envelope(payload), number(id)[0]))
    return found + gathered(bare)


def gathered(bare) -> list[Accepted]:
    if not bare:
        return []
    times = [number(id)[0] for id, _ in bare]
    offsets = np.array([time - times[0] for time in times], np.int32)
    return [Accepted(Opened(0, 0, 0, times[0], b"".join(frame for _, frame in bare), offsets if offsets.any() else None), times[-1])]


def number(id) -> tuple[int, int]:
    first, _, second = (id.decode() if isinstance(id, bytes) else id).partition("-")
    return int(first), int(second or 0)


def bare(id: int, canal: int, value: float) -> bytes:
    return struct.pack("!Ibf?", id, canal, value, True)
