"""The output of `corec run`: a live status on a terminal, lines elsewhere."""

import logging
import threading
from abc import ABC, abstractmethod
from collections import deque
from types import TracebackType
from typing import Any, Protocol

from corec.cli.common.base import drop_output
from corec.cli.output.status_text import Line, alert_text, one_line, status_lines
from corec.common import logs

log = logging.getLogger("corec.cli.status_view")

#: Seconds between two looks at the node on a terminal, and between two lines elsewhere.
REDRAW_S, LINE_S = 1.0, 5.0
#: Seconds between two checks whether the node has started.
START_S = 0.05
#: Seconds to the first one, which comes sooner to show that the node works.
FIRST_DRAW_S, FIRST_LINE_S = 0.2, 1.0
ALERTS_A_LINE = 5
CHART = 20

STYLES = {"": "", "strong": "bold", "faint": "dim", "good": "green", "warning": "yellow", "bad": "bold red"}


class ShownNode(Protocol):
    """The part of a node that a view uses."""

    state: str

    def status(self) -> dict[str, Any]:
        """The document of `corec status --json`."""


class StatusView(ABC):
    """A context in which a thread shows a node's status again and again."""

    def __init__(self, node: ShownNode, first: float, every: float) -> None:
        """first: seconds to the first look; every: seconds between two."""
        self._node, self._first, self._every = node, first, every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="status-view", daemon=True)

    def __enter__(self) -> "StatusView":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(timeout=2.0)

    @abstractmethod
    def show(self, status: dict[str, Any]) -> None:
        """Show a status; called in the view's thread."""

    def _run(self) -> None:
        while self._node.state != "running" and not self._over.wait(START_S):
            pass
        self._look(shown=False)  # rates count from here on
        pause = self._first
        while not self._over.wait(pause):
            self._look()
            pause = self._every

    def _look(self, *, shown: bool = True) -> None:
        """Show the node if it runs; errors are logged, since they must not reach the node."""
        if self._node.state != "running":
            return
        try:
            status = self._node.status()
            if shown:
                self.show(status)
        except Exception as error:  # the node goes on without its display
            log.debug("[StatusView] %s: %s", type(error).__name__, error)


class LineView(StatusView):
    """Prints a line every few seconds, and the newest alerts by name."""

    def __init__(self, node: ShownNode, *, first: float = FIRST_LINE_S, every: float = LINE_S) -> None:
        super().__init__(node, first, every)
        self._shown = 0  # alerts

    def show(self, status: dict[str, Any]) -> None:
        """Print the lines; the node goes on where the reader of the output is gone."""
        try:
            self._print(status)
        except BrokenPipeError:
            drop_output()
            self._over.set()

    def _print(self, status: dict[str, Any]) -> None:
        name = status["instance_id"]
        new = status["alerts"]["since_start"] - self._shown
        self._shown = status["alerts"]["since_start"]
        for alert in status["alerts"]["recent"][-min(new, ALERTS_A_LINE) :] if new > 0 else ():
            print(f"[Alert-{name}] {alert_text(alert)}", flush=True)
        if new > ALERTS_A_LINE:
            print(f"[Alert-{name}] and {new - ALERTS_A_LINE:,} more", flush=True)
        print(f"[Status-{name}] {one_line(status)}", flush=True)


class LiveView(StatusView):
    """A status that is redrawn in place; log lines go above it."""

    def __init__(self, node: ShownNode, console: Any = None, *, first: float = FIRST_DRAW_S, every: float = REDRAW_S) -> None:
        from rich.console import Console
        from rich.live import Live

        super().__init__(node, first, every)
        self.console = console or Console(highlight=False)
        self._live = Live(console=self.console, auto_refresh=False)
        self._rates: deque[float] = deque(maxlen=CHART)

    def __enter__(self) -> "StatusView":
        self._live.start()
        logs.setup(logs.CallHandler(self._show_log))
        return super().__enter__()

    def __exit__(self, *failure: Any) -> None:
        super().__exit__(*failure)
        self._live.stop()
        logs.setup()

    def show(self, status: dict[str, Any]) -> None:
        self._rates.append(status["readings"]["per_s"])
        # one line less than there are: the cursor stands below the last one
        lines = status_lines(status, self._rates, width=self.console.width, height=self.console.height - 1)
        self._live.update(self._picture(lines), refresh=True)

    def _picture(self, lines: list[Line]) -> Any:
        from rich.text import Text

        text = Text(no_wrap=True, overflow="ellipsis")
        for line in lines:
            for span in line:
                text.append(span.text, STYLES[span.mood])
            text.append("\n")
        return text

    def _show_log(self, line: str, level: int) -> None:
        from rich.text import Text

        style = "bold red" if level >= logging.ERROR else "yellow" if level >= logging.WARNING else ""
        self.console.print(Text(line, style))
