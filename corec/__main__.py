"""Where both commands begin: `corec`, and `python -m corec`, which without a command is `corec run`."""

import os
import sys

#: What asks about the program itself rather than for a node.
ABOUT = ("-h", "--help", "--version")
INTERRUPTED = 130


def arguments(given: list[str]) -> list[str]:
    """The command line with the command that is meant."""
    means_run = not given or (given[0].startswith("-") and given[0] not in ABOUT)
    return ["run", *given] if means_run else given


def command(given: list[str] | None = None) -> None:
    """`corec`.  Ctrl-C ends it quietly even while the modules are being imported."""
    try:
        open_missing_streams()
        from corec.cli import main

        main(given, prog_name="corec")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def open_missing_streams() -> None:
    """A standard stream that the caller has closed leads nowhere; else the first file opened would take its place."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            stream = open(os.open(os.devnull, os.O_RDWR), "r+" if number == 0 else "w", encoding="utf-8")
            setattr(sys, name, stream)


if __name__ == "__main__":
    command(arguments(sys.argv[1:]))
