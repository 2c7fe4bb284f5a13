"""Fuzzes what reads bytes from others and from disk: envelopes, journals, snapshots.

    python -m tests.support.fuzz.fuzz_readers [--seconds S] [--seed N] [--plain] [--replay HEX ...]

Each input must give the documented error or the same content: no other exception, no standstill, no more than
64 MB.  Where atheris is installed it looks for inputs that reach new code (not with --plain); else they are random.
"""

import argparse
import importlib.util
import logging
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from tests.support.fuzz.limits import MOST_MEMORY, address_space, can_limit_memory, limited
from tests.support.fuzz.mutation import Choices

INPUT_BYTES = 96
#: Engines that a reader has at one time.
MOST_ENGINES = 4


def engine_space() -> int:
    """Address space that one engine sets aside."""
    from corec.engine import Engine
    from tests.support.fuzz.envelopes import CONFIG

    before = address_space()
    engine = Engine(CONFIG)
    return address_space() - before if engine else 0


class Fuzzer:
    """All readers, and what became of their inputs."""

    def __init__(self, folder: Path) -> None:
        from tests.support.fuzz.envelopes import Envelopes
        from tests.support.fuzz.journals import Journals
        from tests.support.fuzz.snapshots import SnapshotFolders, SnapshotPieces

        self.readers = (Envelopes(), Journals(folder), SnapshotFolders(folder), SnapshotPieces())
        self.tallies: dict[str, Counter[str]] = defaultdict(Counter)
        self._memory = MOST_MEMORY + MOST_ENGINES * engine_space() if can_limit_memory() else 0

    def one_input(self, data: bytes) -> None:
        """Raises whatever breaks the rules."""
        choices = Choices(data)
        reader = choices.one_of(self.readers)
        try:
            with limited(self._memory):
                became = reader.check(choices)
        except BaseException:
            print(f"{reader.name} broke; again: python -m tests.support.fuzz.fuzz_readers --replay {data.hex()}", file=sys.stderr)
            raise
        self.tallies[reader.name][became] += 1

    def report(self) -> None:
        for name, tally in self.tallies.items():
            parts = ", ".join(f"{became} {count:,}" for became, count in tally.most_common())
            print(f"{name}: {tally.total():,} inputs ({parts})")
        print(f"{sum(tally.total() for tally in self.tallies.values())} inputs")


def fuzz_plainly(fuzzer: Fuzzer, seconds: float, seed: int) -> bool:
    """Random inputs until the time is over or one breaks; whether none did."""
    dice, end = random.Random(seed), time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            fuzzer.one_input(dice.randbytes(INPUT_BYTES))
        except BaseException as broken:
            traceback.print_exception(broken)
            return False
    return True


def fuzz_guided(fuzzer: Fuzzer, seconds: float, seed: int) -> bool:
    """Under atheris, in a process of its own, which it ends without clearing up."""
    import atheris

    options = [f"-max_total_time={round(seconds) or 1}", f"-seed={seed % 2**31 or 1}", f"-max_len={INPUT_BYTES}",
               "-len_control=0", f"-artifact_prefix={tempfile.gettempdir()}/fuzz_readers-"]  # fmt: skip
    child = os.fork()
    if not child:
        atheris.Setup([sys.argv[0], *options], fuzzer.one_input)
        atheris.Fuzz()
    return os.waitpid(child, 0)[1] == 0


def replay(fuzzer: Fuzzer, inputs: Sequence[str]) -> bool:
    for text in inputs:
        fuzzer.one_input(bytes.fromhex(text))
    return True


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.support.fuzz.fuzz_readers", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=time.time_ns() & 0x7FFFFFFF)
    parser.add_argument("--plain", action="store_true", help="random inputs even where atheris is installed")
    parser.add_argument("--replay", nargs="+", metavar="HEX", help="run these inputs and nothing else")
    return parser.parse_args(words)


def instrumented():
    """Atheris counts branches of what is imported inside."""
    import atheris

    return atheris.instrument_imports(include=["corec"])


def main(words: Sequence[str]) -> int:
    options = arguments(words)
    guided = not (options.plain or options.replay) and importlib.util.find_spec("atheris") is not None
    logging.disable(logging.CRITICAL)
    shared_memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared_memory if shared_memory.is_dir() else None) as folder:
        with instrumented() if guided else nullcontext():
            fuzzer = Fuzzer(Path(folder))
        fine = carry_out(fuzzer, options, guided)
    return 0 if fine else 1


def carry_out(fuzzer: Fuzzer, options: argparse.Namespace, guided: bool) -> bool:
    if guided:
        return fuzz_guided(fuzzer, options.seconds, options.seed)
    fine = replay(fuzzer, options.replay) if options.replay else fuzz_plainly(fuzzer, options.seconds, options.seed)
    fuzzer.report()
    return fine


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
