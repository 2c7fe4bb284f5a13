"""What the oracle makes of everything that was accepted, turn by turn: what the store must hold after any number of crashes."""
from collections.abc import Callable
from typing import NamedTuple

from tests.support.crash.evidence import Accepted
from tests.support.oracle.engine import Oracle


class Folded(NamedTuple):
    """As `read_rows` and `read_moves` of a store give it."""

    rows: list[tuple]
    moves: list[tuple]
    ledger: dict[str, int]


def fold(config: dict, turns: list[dict], batches_of: Callable[[dict], list[Accepted]]) -> Folded:
    """batches_of: those that a turn read, in its order."""
    oracle, rows, moves = Oracle(config), [], []
    for turn in turns:
        commands = [command for command in turn["commands"] if command["op"] != "read"]
        made = oracle.turn(batches_of(turn), load_q=turn["load_q"], commands=commands, tick=turn["tick"])
        moves.extend((turn["turn"], *move) for move in made.fusions)
        rows.extend((turn["turn"], *row) for row in sorted(made.rows, key=lambda row: (row[2], row[0])))
    return Folded([rounded(row) for row in rows], moves, oracle.ledger)


def of_journal(journal: dict[int, Accepted]) -> Callable[[dict], list[Accepted]]:
    """The batches of a turn that read a journal."""
    return lambda turn: [journal[offset] for offset in range(turn["from_offset"] + 1, turn["to_offset"] + 1)]


def rounded(row: tuple) -> tuple:
    """A row with nan as None, as SQLite has it, and doubles to 12 digits."""
    return tuple(None if value != value else float(f"{value:.12g}") if isinstance(value, float) else value for value in map(plain, row))


def plain(value):
    return value.item() if hasattr(value, "item") else value
