"""Where both commands begin: `corec`, and `python -m corec`, which without a command is `corec run`."""

import os
import sys
from collections.abc import Callable

#: What asks about the program itself rather than for a node.
ABOUT = ("-h", "--help", "--version")
INTERRUPTED = 130
#: Seconds that threads of plugins may go on after a command has ended.
END_WITHIN_S = 0.5
#: Seconds that a thread runs on while others wait, at the end: those of plugins may be many, and busy.
TURN_S = 0.0001
#: Threads that run the loops of plugins; one that has not ended after so many seconds is held by a plugin.
LOOPS = "extensions"
LOOP_ENDS_S = 0.1
#: Threads that an exit waits for whatever they are.
EXECUTORS = ("ThreadPoolExecutor", "asyncio_")


def arguments(given: list[str]) -> list[str]:
    """The command line with the command that is meant."""
    means_run = not given or (given[0].startswith("-") and given[0] not in ABOUT)
    return ["run", *given] if means_run else given


def command(given: list[str] | None = None) -> None:
    """`corec`.  Ctrl-C ends it quietly even while the modules are being imported."""
    try:
        open_missing_streams()
        imported_main()(given, prog_name="corec")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except SystemExit as end:
        end_soon(end.code if isinstance(end.code, int) else int(end.code is not None))
        raise


def imported_main() -> Callable[..., None]:
    """The command itself; what it needs may be missing, where this is a source folder that nobody has installed."""
    try:
        from corec.cli import main
    except ModuleNotFoundError as error:
        from corec.errors import NotBuilt

        print(NotBuilt.without(error.name), file=sys.stderr)
        sys.exit(NotBuilt.exit_code)
    return main


def end_soon(code: int) -> None:
    """What plugins left running must not keep this process alive; of the process itself, never of `main`."""
    import threading

    sys.setswitchinterval(TURN_S)
    for thread in [thread for thread in threading.enumerate() if thread.name.startswith(LOOPS)]:
        thread.join(LOOP_ENDS_S)
        if thread.is_alive():  # a plugin holds it, and that was said
            sys.stdout.flush()
            os._exit(code)

    def leave() -> None:
        import logging

        waited_for = (thread for thread in threading.enumerate() if not thread.daemon or thread.name.startswith(EXECUTORS))
        left = [thread.name for thread in waited_for if thread is not threading.main_thread()]
        logging.getLogger("PluginManager").error("[PluginManager] threads of plugins are left behind: %s", ", ".join(left) or "none")
        sys.stdout.flush()
        os._exit(code)

    end = threading.Timer(END_WITHIN_S, leave)
    end.daemon = True
    end.start()


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
