"""The control socket of a running node: one JSON line asks, one answers.

It lies in the data folder, so who may write there may ask.
"""
import json
import logging
import os
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from corec.errors import CoreCError, UsageError

log = logging.getLogger(__name__)

NAME = "control.sock"
MOST_BYTES = 1 << 20


class NodeNotRunning(UsageError):
    """Nobody listens on the control socket of this data folder."""


def ask(data: Path, request: dict[str, Any], timeout: float = 5.0) -> dict[str, Any]:
    """Send *request* to the node that runs on *data*; its answer.  NodeNotRunning, or what the node refused."""
    try:
        with _address(data) as address, socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(address)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answers:
                answer = json.loads(answers.readline())
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
        raise NodeNotRunning(f"no node runs on {data}", hint="start one with `corec run`, or name its folder with --data") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"the node on {data} did not answer: {error}", hint="it may be starting or stopping: ask again") from error
    if "error" in answer:
        raise UsageError(answer["error"], hint=answer.get("hint"))
    return answer


@contextmanager
def _address(data: Path) -> Iterator[str]:
    """A short name for the socket: a path in the system's own table, since socket paths end at 107 bytes."""
    folder = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{NAME}"
    finally:
        os.close(folder)


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        try:
            answer = self.server.answer(json.loads(self.rfile.readline(MOST_BYTES)))  # type: ignore[attr-defined]
        except CoreCError as error:
            answer = {"error": error.text, "hint": error.hint}
        except (ValueError, TypeError, KeyError) as error:
            answer = {"error": f"expected a request as one line of JSON with \"op\", got something else: {error}"}
        self.wfile.write(json.dumps(answer).encode() + b"\n")


class ControlServer(socketserver.ThreadingUnixStreamServer):
    """Listens in *data* and answers with what *answer* gives for a request."""

    daemon_threads = True

    def __init__(self, data: Path, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.answer = answer
        self._path = Path(data) / NAME
        self._path.unlink(missing_ok=True)
        with _address(data) as address:
            super().__init__(address, _Handler)
        os.chmod(self._path, 0o600)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.2}, name="control", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self.shutdown()
        self.server_close()
        self._path.unlink(missing_ok=True)
