"""Sends requests to a running node over its control socket: one line of JSON each way."""
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from corec.errors import ExitCode, UsageError

#: The socket is in the data folder: a user who may write there may send requests.
NAME = "control.sock"


class NodeNotRunning(UsageError):
    """No node listens on the control socket of this data folder."""


class RequestRefused(UsageError):
    """A running node refused a request; `exit_code` is the one that the node gave."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(answer["error"], detail=answer.get("detail"), hint=answer.get("hint"))
        self.exit_code = ExitCode(answer.get("code", ExitCode.USAGE))


def ask(data: Path, request: dict[str, Any], timeout: float = 5.0) -> dict[str, Any]:
    """Send *request* to the node that runs on *data*; returns its answer.  NodeNotRunning, RequestRefused; timeout in s."""
    try:
        with socket_address(data) as address, socket.socket(socket.AF_UNIX) as connection:
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
        raise RequestRefused(answer)
    return answer


def _parsed(data: Path, line: bytes) -> dict[str, Any]:
    try:
        return json.loads(line)
    except ValueError:
        raise _silent(data, "it hung up" if not line else "no line of JSON came") from None


def _silent(data: Path, why: str) -> UsageError:
    return UsageError(f"the node on {data} did not answer: {why}", hint="it may be starting or stopping: ask again")


@contextmanager
def socket_address(data: Path) -> Iterator[str]:
    """Yields a short path of the socket, by way of /proc: a socket path may have 107 bytes at most."""
    folder = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{NAME}"
    finally:
        os.close(folder)
