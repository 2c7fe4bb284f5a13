"""Who is named in the log when readings are refused, and how often."""
import logging

import pytest

from corec._core.wire import pack_envelope
from corec.engine import Engine
from corec.engine.outcome import Outcome
from corec.pipeline.refusals import RefusalLog
from tests.support.nodes import SMALL, readings

T0 = 1_700_000_000_000
HOUR_MS = 3_600_000


def batch(frames, *, producer=7, sequence=0, offsets=None):
    return pack_envelope(frames, producer=producer, epoch=1, sequence=sequence, time=T0, offsets=offsets), T0


def refused_again(number, producer):
    return batch(readings([99_998]), producer=producer, sequence=number)


def lines(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize(("refused", "cause", "says"), [
    (batch(readings([3, 4]), offsets=[0, -50 * HOUR_MS]), "skew", "device 4 of producer 7, whose time is 180,000 s ago"),
    (batch(readings([3, 4]), offsets=[0, 600_000]), "skew", "device 4 of producer 7, whose time is 600 s ahead"),
    (batch(readings([3, 99_999])), "id", "device 99999 of producer 7"),
    (batch(readings([3]) + readings([4], canal=2)), "channel", "device 4 of producer 7"),
    (batch(readings([3]) + readings([4])[:-1] + b"\x05"), "malformed", "device 4 of producer 7"),
    ((batch(readings([3]))[0][:-1], T0), "malformed", "a batch of 57 bytes: expected a batch of 58 bytes, got 57"),
])  # fmt: skip
def test_a_line_has_cause_device_and_sender(caplog, refused, cause, says):
    # Given a turn in which readings are refused for one cause, When its refusals come to the log
    engine = Engine(SMALL)
    RefusalLog("test1").note(engine, engine.turn([refused]))
    # Then it has one line
    (line,) = lines(caplog)
    assert line.startswith(f"[Refused-test1] 1 reading refused as '{cause}'") and line.endswith(says)


def test_a_cause_has_one_line_a_minute_with_the_count_since_the_last_one(caplog):
    # Given readings of two senders that are refused in turn after turn
    engine, log = Engine(SMALL), RefusalLog("test1", every_s=0.05)
    for number in range(10):
        log.note(engine, engine.turn([refused_again(number, 1), refused_again(number, 2)]))
    before = len(lines(caplog))
    # When the time is over that a cause has one line for
    while len(lines(caplog)) == before:
        log.note(engine, Outcome())
    # Then all lines together have every reading once
    counts = [int(line.split("] ")[1].split(" ")[0]) for line in lines(caplog)]
    assert sum(counts) == 20 and "and others of 1 more sender" in lines(caplog)[0]


def test_repeats_are_no_news(caplog):
    # Given a batch that is sent again, as senders do, Then nothing is logged
    engine, again = Engine(SMALL), batch(readings([1]))
    RefusalLog("test1").note(engine, engine.turn([again, again]))
    assert engine.ledger["rejected_repeated"] == 1 and lines(caplog) == []
