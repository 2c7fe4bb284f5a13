"""The control socket of a running node: one JSON line asks, one answers.

It lies in the data folder, so who may write there may ask.
"""
import json
import logging
import os
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from corec.errors import CoreCError, ExitCode, UsageError

log = logging.getLogger(__name__)

NAME = "control.sock"
MOST_BYTES = 1 << 20
#: A client that says nothing for so long is hung up on.
SILENT_S = 30.0


class NodeNotRunning(UsageError):
    """Nobody listens on the control socket of this data folder."""


class Refused(UsageError):
    """What a running node would not do; it ends a command with the code that it would have had here."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(answer["error"], detail=answer.get("detail"), hint=answer.get("hint"))
        self.exit_code = ExitCode(answer.get("code", ExitCode.USAGE))


def ask(data: Path, request: dict[str, Any], timeout: float = 5.0) -> dict[str, Any]:
    """Send *request* to the node that runs on *data*; its answer.  NodeNotRunning, or what the node refused."""
    try:
        with _address(data) as address, socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(address)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answers:
                line = answers.readline()
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
        raise NodeNotRunning(f"no node runs on {data}", hint="start one with `corec run`, or name its folder with --data") from error
    except OSError as error:
        raise _silent(data, str(error)) from error
    answer = _parsed(data, line)
    if "error" in answer:
        raise Refused(answer)
    return answer


def _parsed(data: Path, line: bytes) -> dict[str, Any]:
    try:
        return json.loads(line)
    except ValueError:
        raise _silent(data, "it hung up" if not line else "no line of JSON came") from None


def _silent(data: Path, why: str) -> UsageError:
    return UsageError(f"the node on {data} did not answer: {why}", hint="it may be starting or stopping: ask again")


@contextmanager
def _address(data: Path) -> Iterator[str]:
    """A short name for the socket: a path in the system's own table, since socket paths end at 107 bytes."""
    folder = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{NAME}"
    finally:
        os.close(folder)


class _Handler(socketserver.StreamRequestHandler):
    timeout = SILENT_S

    def handle(self) -> None:
        line = self.rfile.readline(MOST_BYTES)
        if line:
            self.wfile.write(json.dumps(self._answer(line)).encode() + b"\n")

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            return self.server.answer(json.loads(line))  # type: ignore[attr-defined]
        except CoreCError as error:
            return {"error": error.text, "detail": error.detail, "hint": error.hint, "code": int(error.exit_code)}
        except (TimeoutError, CancelledError):
            return {"error": "the node is too busy, or stopping, to carry this out", "hint": "ask again", "code": int(ExitCode.USAGE)}
        except (ValueError, TypeError, KeyError) as error:
            return {"error": f"expected a request as one line of JSON with \"op\", got something else: {error}"}
        except Exception as error:
            log.exception("[Control] %s", line)
            hint = "this is a bug in CoreC; please report it with the log of the node"
            return {"error": f"{type(error).__name__}: {error}", "hint": hint, "code": int(ExitCode.BUG)}


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

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left early, or said nothing: its own affair."""
        log.debug("[Control] %s", sys.exception())

    def stop(self) -> None:
        """Stop listening."""
        self.shutdown()
        self.server_close()
        self._path.unlink(missing_ok=True)
