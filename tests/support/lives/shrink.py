"""The smallest life that still fails in the same way as a given one."""
import traceback
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from tests.support.faults.memory import memory_folder
from tests.support.gateway_life import play
from tests.support.lives.events import Life
from tests.support.lives.expected import Broken

#: Minutes that a life goes on behind its last event, and what is tried instead of long durations (seconds).
ENDS_AFTER = (1, 5, 30)
SHORTER = (0, 2, 60, 600, 1_800)


def failure_of(life: Life) -> str | None:
    """How a life fails, the same for lives that fail alike; None where it does not."""
    with memory_folder() as folder:
        return _failure(life, folder)


def _failure(life: Life, folder: Path) -> str | None:
    try:
        play(life, folder)
    except Broken as broken:
        return broken.what
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {Path(place.filename).name}, {place.name}"
    return None


def shrunk(life: Life, fails: Callable[[Life], bool], tries: int = 500) -> Life:
    """*life* with as few events and minutes, and as short durations, as still fail after so many *tries*."""
    smaller = _smaller(life)
    while tries and (candidate := next(smaller, None)):
        tries -= 1
        if fails(candidate):
            life, smaller = candidate, _smaller(candidate)
    return life


def _smaller(life: Life) -> Iterator[Life]:
    """Lives that are a little less than *life*, the much smaller ones first."""
    yield from _ended_sooner(life)
    count = len(life.events)
    part = count // 2
    while part:
        for start in range(0, count, part):
            yield life._replace(events=life.events[:start] + life.events[start + part :])
        part //= 2
    yield from _closer(life)
    for place, event in enumerate(life.events):
        for name in ("seconds", "right_after"):
            for shorter in SHORTER:
                if shorter < getattr(event, name):
                    changed = event._replace(**{name: shorter})
                    yield life._replace(events=(*life.events[:place], changed, *life.events[place + 1 :]))


def _ended_sooner(life: Life) -> Iterator[Life]:
    last = life.events[-1].minute if life.events else 0
    for minutes in (life.minutes // 2, *(last + more for more in ENDS_AFTER), life.minutes - 1):
        if 0 < minutes < life.minutes:
            yield life._replace(minutes=minutes, events=tuple(event for event in life.events if event.minute < minutes))


def _closer(life: Life) -> Iterator[Life]:
    """Stretches in which nothing happens, left out or halved."""
    for place, (before, event) in enumerate(pairwise((-1, *(event.minute for event in life.events)))):
        for less in (event - before - 1, (event - before) // 2):
            if less > 0:
                moved = tuple(each._replace(minute=each.minute - less) for each in life.events[place:])
                yield life._replace(minutes=life.minutes - less, events=life.events[:place] + moved)
