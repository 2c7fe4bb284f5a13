"""`python -m corec` is `corec run`."""

import sys

from corec.cli import main

#: What asks about the program itself rather than for a node.
ABOUT = ("--help", "--version")


def arguments(given: list[str]) -> list[str]:
    """The command line with the command that is meant."""
    means_run = not given or (given[0].startswith("-") and given[0] not in ABOUT)
    return ["run", *given] if means_run else given


if __name__ == "__main__":
    main(arguments(sys.argv[1:]), prog_name="corec")
