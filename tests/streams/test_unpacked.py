"""Small batches that unpack to much: reads, turns and what is put aside are bounded by what they unpack to."""
from collections import deque
from contextlib import closing

import numpy as np
import pytest

from corec._core.wire import MAX_FRAMES, pack_envelope
from corec.common.units import MB
from corec.pipeline.turns import READ_BYTES, TURN_BYTES
from corec.streams.base import unpacked_bytes
from corec.streams.intake import JournalIntake
from corec.streams.journal import Journal
from corec.streams.redis.position import Position
from corec.streams.redis.queue import Chunk, Queue
from corec.streams.redis.stamps import ServerClock
from tests.support.nodes import now_ms, readings, running, small, until

READINGS = 200_000
#: 2.8 MB in less than a kilobyte.
LARGE = [pack_envelope(bytes(10 * READINGS), producer=1, epoch=1, sequence=READINGS * number, time=1000, offsets=np.zeros(READINGS))
         for number in range(30)]  # fmt: skip


def test_what_an_entry_unpacks_to_is_known_from_its_header():
    assert max(map(len, LARGE)) < 1000 and {unpacked_bytes(each) for each in LARGE} == {14 * READINGS}
    assert unpacked_bytes(pack_envelope(bytes(30), producer=0, epoch=0, sequence=0, time=0)) == 30 + 48
    # And a header that promises more than an envelope may hold counts as the most: it is refused unread
    assert unpacked_bytes(LARGE[0][:4] + b"\xff" * 4 + LARGE[0][8:]) == 14 * MAX_FRAMES
    assert unpacked_bytes(b"0123456789") == 10


def test_journal_is_read_by_what_it_unpacks_to(tmp_path):
    # Given a journal of small batches that unpack to much, and plain ones
    plain = [pack_envelope(bytes(10 * 60), producer=1, epoch=1, sequence=n, time=1000) for n in range(100)]
    with closing(Journal(tmp_path)) as journal:
        journal.append([*LARGE, *plain], 1000)
        journal.sync()
        intake = JournalIntake(journal)
        reads = []
        while intake.pending:
            reads.append(intake.read(READ_BYTES))
        # Then every read holds one too many at most, and all come in order
        assert max(sum(unpacked_bytes(entry.payload) for entry in read[:-1]) for read in reads) < READ_BYTES
        assert [entry.payload for read in reads for entry in read] == [*LARGE, *plain]
        # And after a jump back they come again
        intake.seek(3, {})
        assert intake.read(READ_BYTES)[0].offset == 4


def test_redis_rows_are_taken_by_what_they_unpack_to():
    # Given rows that were read ahead, of the stream and of the spool
    queue = Queue(Position("s"), ServerClock())
    for source in ("s", "spool:1"):
        rows = deque((f"{1_700_000_000_000 + n}-0".encode(), envelope) for n, envelope in enumerate(LARGE))
        queue.add(Chunk(rows, 0, "run", source))
    # Then each take gives one of them, and the rest stays
    sizes = []
    while queue.waiting:
        sizes.append(len(queue.take(MB)[1]))
    assert sizes == [1] * 60 and queue.bytes == 0


@pytest.mark.slow
def test_turns_end_by_what_was_unpacked_and_what_is_put_aside_is_bounded(tmp_path):
    # Given a node, and a backlog of batches whose readings are too old and unpack to 84 MB
    with running(small(), tmp_path) as nucleus:
        nucleus.submit(readings([1]), time=now_ms()).result(60)
        journal = nucleus.committer.submit_all(LARGE, readings=len(LARGE) * READINGS)
        journal.result(60)
        # When it has folded them
        assert until(lambda: nucleus.engine.ledger["rejected_skew"] == len(LARGE) * READINGS and not nucleus.pipeline.pending)
        assert until(lambda: nucleus.pipeline.turn and nucleus.store.state.offset == len(LARGE) + 1)
        # Then no turn held more than TURN_BYTES and one batch
        most = TURN_BYTES // (14 * READINGS) + 1
        assert max(record.to_offset - record.from_offset for record in nucleus.store.turns(0)) <= most
