"""The control socket of a running node: one line of JSON each way.

It is in the data folder: a user who may write there may send requests.
"""
import json
import logging
import os
import socketserver
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

from corec.common.units import MB
from corec.control.client import NAME, socket_address
from corec.errors import CoreCError, ExitCode

log = logging.getLogger("corec.node.control")

MOST_BYTES = MB
#: Seconds after which a client that sends nothing is disconnected.
SILENT_S = 30.0


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
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
            return {"error": f"expected a request as one line of JSON with \"op\", got something else: {error}"}
        except Exception as error:
            log.exception("[Control] %s", line)
            hint = "this is a bug in CoreC; please report it with the log of the node"
            return {"error": f"{type(error).__name__}: {error}", "hint": hint, "code": int(ExitCode.BUG)}


class ControlServer(socketserver.ThreadingUnixStreamServer):
    """Listens in the folder *data* and replies with `answer(request)`, called in a thread for each client."""

    daemon_threads = True

    def __init__(self, data: Path, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.answer = answer
        self._path = Path(data) / NAME
        self._path.unlink(missing_ok=True)
        with socket_address(data) as address:
            super().__init__(address, _Handler)
        os.chmod(self._path, 0o600)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.2}, name="control", daemon=True)
        self._thread.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client left early or sent nothing, which is no error of the node."""
        log.debug("[Control] %s", sys.exception())

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._path.unlink(missing_ok=True)
