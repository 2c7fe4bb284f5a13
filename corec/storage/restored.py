"""What a database gives back is held against what it can be: who may write to it may have put anything there."""
import json
from collections.abc import Mapping, Sequence
from typing import Any

from corec.errors import DamagedFile
from corec.storage.base import TurnRecord

#: Largest time in ms that a record holds: what a double has exactly, as the wire's times have it.
MOST_MS = 1 << 53
#: Offsets, turns and counts are 64-bit numbers with a sign everywhere.
MOST = (1 << 63) - 1
#: Producers and their epochs, which stand in commands, have no sign.
MOST_IN_COMMANDS = (1 << 64) - 1
#: Times in commands that the engine goes by.
_TIMES = {"advance": ("to",), "clock": ("to", "offset"), "read": ("clock",)}
_HINT = "somebody else wrote it: see who may write there (docs/trust.md); a start without that record loses the turns behind it"


def turn_record(row: Sequence[Any], where: str) -> TurnRecord:
    """The columns of a turn as a record; DamagedFile where one of them cannot be.  where: the table, for the error."""
    what = f"turn {row[0]} of {where}"
    turn, begin, end, load, tick, text, config_hash, created = row
    for name, value, most in (("turn", turn, MOST), ("from_offset", begin, MOST), ("to_offset", end, MOST), ("load_q", load, 255),
                              ("tick", tick, MOST_MS), ("created", created, MOST_MS)):  # fmt: skip
        _require_count(what, name, value, most)
    if begin > end:
        raise _wrong(what, f"an end from offset {begin} on", str(end))
    commands = _parsed(what, "commands", text, list)
    for number, command in enumerate(commands):
        _check_command(f"command {number} of {what}", command)
    return TurnRecord(turn, begin, end, load, tick, commands, str(config_hash), created)


def counts_of(text: str, what: str) -> dict[str, int]:
    """A ledger or the totals of a store, as text; DamagedFile where they are no counts."""
    found = _parsed(what, "counts", text, dict)
    for name, value in found.items():
        _require_count(what, name, value, MOST)
    return found


def _check_command(what: str, command: Any) -> None:
    if not isinstance(command, dict) or not isinstance(command.get("op", ""), str):
        raise _wrong(what, "a mapping, and `op` a text", _short(command))
    for name in _TIMES.get(command.get("op", ""), ()):
        value = command.get(name, 0)
        if value is not None and not (_is_whole(value) and abs(value) <= MOST_MS):
            raise _wrong(what, f"{name} within {MOST_MS} ms", _short(value))
    _check_numbers(what, command)


def _check_numbers(what: str, value: Any) -> None:
    if _is_whole(value) and abs(value) > MOST_IN_COMMANDS:
        raise _wrong(what, f"numbers up to {MOST_IN_COMMANDS}", _short(value))
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for each in inner:
        _check_numbers(what, each)


def _parsed(what: str, name: str, text: Any, kind: type) -> Any:
    try:
        found = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise _wrong(what, f"{name} as JSON", str(error)) from None
    if not isinstance(found, kind):
        raise _wrong(what, f"{name} as a {kind.__name__}", _short(found))
    return found


def _require_count(what: str, name: str, value: Any, most: int) -> None:
    if not _is_whole(value) or not 0 <= value <= most:
        raise _wrong(what, f"{name} from 0 to {most}", _short(value))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _wrong(what: str, expected: str, got: str) -> DamagedFile:
    return DamagedFile(f"{what}: expected {expected}, got {got}", hint=_HINT)


def _short(value: Any) -> str:
    return ascii(value)[:80]
