"""Play lives of a gateway by their numbers; one that fails is printed as a test to paste, with --shrink the smallest that fails alike."""
import argparse
import logging
import sys
import time

from tests.support.faults.memory import memory_folder
from tests.support.gateway_life import play
from tests.support.lives.events import Life, drawn
from tests.support.lives.shrink import failure_of, shrunk

TEST = """
def test_life_{number}(tmp_path):
    # {failure}
    play({life}, tmp_path)
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.lives", description=__doc__)
    parser.add_argument("--number", type=int, required=True, help="of the first life")
    parser.add_argument("--lives", type=int, default=1, help="how many, one number after the other (1)")
    parser.add_argument("--minutes", type=int, default=150, help="length of each (150)")
    parser.add_argument("--chance", type=float, default=0.15, help="of an event in a minute (0.15)")
    parser.add_argument("--shrink", action="store_true", help="look for the smallest life that fails alike")
    parser.add_argument("--digest", action="store_true", help="print what tells one run of a life from a different one")
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if asked.digest:
        with memory_folder() as folder:
            print(play(drawn(asked.number, asked.minutes, asked.chance), folder).digest())
        return 0
    failed, before = 0, time.process_time()
    for number in range(asked.number, asked.number + asked.lives):
        life = drawn(number, asked.minutes, asked.chance)
        if failure := failure_of(life):
            failed += 1
            _show(shrunk(life, lambda each, alike=failure: failure_of(each) == alike) if asked.shrink else life, failure)
    print(f"{asked.lives} lives from {asked.number} on, {failed} failed, {time.process_time() - before:.0f} s of CPU")
    return 1 if failed else 0


def _show(life: Life, failure: str) -> None:
    print(TEST.format(number=life.number, failure=failure, life=str(life).replace("\n", "\n    ")), flush=True)


if __name__ == "__main__":
    sys.exit(main())
