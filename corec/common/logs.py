"""Log records as `[Name] message`, on standard error or above a live display."""

import logging
import sys
from collections.abc import Callable

from corec.common.text import printable


class NamedFormatter(logging.Formatter):
    """Puts the logger's name in front, unless the message begins with `[Component-instance]` itself.

    What came from elsewhere, as names, errors of servers and lines of plugins, may hold control characters: they are escaped.
    """

    def format(self, record: logging.LogRecord) -> str:
        text = printable(super().format(record))
        return text if text.startswith("[") else f"[{record.name}] {text}"


class CallHandler(logging.Handler):
    """Passes each formatted line and its level to a function. A live display prints the line above itself."""

    def __init__(self, show: Callable[[str, int], None]) -> None:
        super().__init__()
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._show(self.format(record), record.levelno)
        except Exception:  # as the standard library's own handlers do
            self.handleError(record)


def setup(handler: logging.Handler | None = None) -> logging.Handler:
    """Show all records of INFO and above through *handler* (default: standard error). It replaces every earlier handler."""
    handler = handler or logging.StreamHandler(sys.stderr)
    handler.setFormatter(NamedFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    return handler
