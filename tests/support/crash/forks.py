"""Processes to be killed, each the fork of one that has imported all it needs: the start of a node without that of Python.

    python -m tests.support.crash.forks MODULE
"""
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path

from tests.support.paths import ROOT


class Forks:
    """Runs `main` of a module in a process of its own, again and again."""

    def __init__(self, module: str, log: Path) -> None:
        self._log = log
        with open(log, "a") as errors:
            self._server = subprocess.Popen([sys.executable, "-m", "tests.support.crash.forks", module], cwd=ROOT, text=True,
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)  # fmt: skip

    def __enter__(self) -> "Forks":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stdin.close()
        self._server.kill()
        self._server.wait()
        self._server.stdout.close()

    def start(self, *arguments: object) -> int:
        """The pid of one that has said that it runs."""
        print(json.dumps([str(each) for each in arguments]), file=self._server.stdin, flush=True)
        said = sorted(self._server.stdout.readline() for _ in range(2))     # either may be first
        if said[1] != "running\n":
            raise AssertionError((said, self._log.read_text()[-3000:]))
        return int(said[0])

    def kill(self, pid: int) -> None:
        """As a crash does; it had not ended by itself."""
        os.kill(pid, signal.SIGKILL)
        said = self._server.stdout.readline()
        assert said == f"over {-signal.SIGKILL}\n", (said, self._log.read_text()[-3000:])


def serve(module: str) -> None:
    """One fork for each line of standard input, the arguments of `main`; it is waited for."""
    main = importlib.import_module(module).main
    assert threading.active_count() == 1, "a fork has one thread only"
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            _run(main, json.loads(line))
        print(pid, flush=True)
        print("over", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _run(main, arguments: list[str]) -> None:
    try:
        os.dup2(os.pipe()[0], 0)    # its standard input never ends
        main(*arguments)
    except BaseException:
        traceback.print_exc()
    os._exit(1)


if __name__ == "__main__":
    serve(sys.argv[1])
