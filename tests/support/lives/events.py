"""What happens in the life of a gateway, as data that a number decides."""
import random
from typing import NamedTuple

from tests.support.lives.sensors import DAY, HOUR, SENSORS

#: What happens as often as it stands here.
WHAT = ("restart", "kill", "suspend", "clock", "clock", "reboot", "store_away", "disk_full", "hold", "hold", "hold", "plugin")
#: ms by which a clock is stepped, forth or back.
STEPS = (900, 2_500, 60_000, HOUR, 3 * HOUR, 3_650 * DAY)
#: ms by which the clock is wrong behind a reboot.
WRONG_STARTS = (0, 0, 0, -HOUR, -5 * DAY, HOUR, 2 * DAY)
OFF_S = (2, 60, 1_800, 10_800)
RIGHT_AFTER_S = (30, 300, 3_600)


class Event(NamedTuple):
    """Something that happens in a minute of a life."""

    minute: int
    what: str
    #: How long the gateway is off or asleep, what is away stays away, a sensor holds its readings back, or a plugin takes for an alert.
    seconds: float = 0
    #: ms by which a clock is set, or after its readings that it is killed; or the sensor that holds back.
    amount: int = 0
    #: Until a wrong clock is put right.
    right_after: float = 0


class Life(NamedTuple):
    """A life of so many minutes in which the gateway runs."""

    number: int
    minutes: int
    events: tuple[Event, ...]

    def __str__(self) -> str:
        """As Python source."""
        events = "".join(f"\n    {_source(event)}," for event in self.events)
        return f"Life({self.number}, {self.minutes}, ({events}\n))"


def drawn(number: int, minutes: int, chance: float) -> Life:
    """The life of *number*; chance: of something happening in a minute."""
    dice = random.Random(f"life {number}")
    return Life(number, minutes, tuple(_event(dice, minute) for minute in range(minutes) if dice.random() < chance))


def _event(dice: random.Random, minute: int) -> Event:
    what = dice.choice(WHAT)
    if what == "restart":
        return Event(minute, what, dice.choice(OFF_S))
    if what == "kill":
        return Event(minute, what, dice.choice(OFF_S), dice.randrange(700))
    if what == "reboot":
        return Event(minute, what, dice.choice(OFF_S), dice.choice(WRONG_STARTS), dice.choice(RIGHT_AFTER_S))
    if what == "clock":
        return Event(minute, what, 0, dice.choice((-1, 1, 1)) * dice.choice(STEPS), dice.choice(RIGHT_AFTER_S))
    if what == "suspend":
        return Event(minute, what, dice.choice((60, 3_600, 5 * 3_600)))
    if what == "hold":
        return Event(minute, what, dice.choice((120, 900, 7_200, 36_000)), dice.randrange(SENSORS))
    if what == "plugin":
        return Event(minute, what, dice.choice((0, 60, 3_600)))
    return Event(minute, what, dice.choice((3, 60, 600, 600, 7_200)))


def _source(event: Event) -> str:
    fields = [repr(field) for field in event]
    while fields[-1] == "0":
        fields.pop()
    return f"Event({', '.join(fields)})"
