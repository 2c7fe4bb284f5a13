"""The asyncio loop of modules and plugins, in a thread that can be abandoned when a plugin blocks it."""
import asyncio
import ctypes
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from corec.plugin_api.failures import PREFIX, LeftBehind

#: Most frames of a stack that are logged, beginning with the plugin's first.
SHOWN = 8
#: Most frames of a stack that are searched for a plugin's code, from the innermost one.
MOST_FRAMES = 1_000
#: Switch interval of Python in seconds while a plugin blocks the loop; else it is 5 ms.
TURN_S = 0.0001
#: Seconds that cancelled tasks may take to end.
LAST_WORDS_S = 0.2
#: Looks at a blocked thread, 1 ms apart, until one finds it in the plugin's own code.
TRIES = 30


@contextmanager
def short_turns() -> Iterator[Callable[[], None]]:
    """Yields a function that shortens the switch interval until the end, so that a busy loop in Python delays other threads less."""
    before: list[float] = []

    def shorten() -> None:
        now = sys.getswitchinterval()
        if now > TURN_S:  # else another caller shortened it, and restores it
            before.append(now)
            sys.setswitchinterval(TURN_S)

    try:
        yield shorten
    finally:
        if before:
            sys.setswitchinterval(before[0])


class LoopThread:
    """One event loop in one daemon thread; its methods may be called from any thread."""

    def __init__(self, number: int = 0) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"extensions-{number}" if number else "extensions", daemon=True)
        self._tasks: set[asyncio.Task] = set()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def submit(self, make: Callable[..., Awaitable[Any]], *arguments: Any) -> "Future[Any]":
        """Run `make(*arguments)` as a task of the loop.  The coroutine is made there, so a closed loop leaves none unawaited."""
        done: Future = Future()

        async def run() -> None:
            try:
                result = await make(*arguments)
            except BaseException as error:  # goes to the future
                done.set_exception(error)
                raise
            done.set_result(result)

        self._call(lambda: self._keep(self.loop.create_task(run())))
        return done

    def _call(self, callback: Callable[[], Any]) -> None:
        with suppress(RuntimeError):  # the loop is closed already
            self.loop.call_soon_threadsafe(callback)

    def _keep(self, task: asyncio.Task) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # the future has it already

    def answers(self, within: float) -> bool:
        """Whether the loop runs a callback within so many seconds."""
        answered = threading.Event()
        self._call(answered.set)
        return answered.wait(within)

    def stop(self) -> None:
        """Cancel all tasks and stop the loop, as soon as it runs a callback."""
        self._call(self._wind_up)

    # --- when it is blocked --------------------------------------------------------------------

    def holder(self) -> tuple[str | None, str]:
        """(folder of the plugin whose code the thread runs now, or None; the stack as text)."""
        frame = sys._current_frames().get(self._thread.ident or 0)
        frames = list(_outward(frame))
        own = [index for index, each in enumerate(frames) if _plugin_of(each)]
        folder = _plugin_of(frames[own[0]]) if own else None
        shown = min(own[-1] + 1, SHOWN) if own else SHOWN
        return folder, "".join(traceback.format_stack(frame, shown)).rstrip() if frame else "(no stack)"

    def abandon(self, *, for_good: bool = False) -> None:
        """Stop the loop without waiting.  LeftBehind is raised in plugin code that blocks the thread, which ends a loop in Python.

        for_good: the node stops.  A stack that is millions of frames deep is then not unwound: no other thread would run for seconds.
        """
        self.stop()
        for _ in range(TRIES):
            frame = sys._current_frames().get(self._thread.ident or 0)
            stack = list(_outward(frame))
            if not any(map(_plugin_of, stack)) or (for_good and len(stack) == MOST_FRAMES):
                return
            if _plugin_of(frame):  # only in the plugin's own frame: raised in a library, it might leave a lock taken
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread.ident), ctypes.py_object(LeftBehind))
                return
            time.sleep(0.001)

    def _wind_up(self) -> None:
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        ending = self.loop.create_task(_ended(tasks))
        ending.add_done_callback(lambda _: self.loop.stop())


async def _ended(tasks: set[asyncio.Task]) -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=LAST_WORDS_S)


def _outward(frame: FrameType | None) -> Iterator[FrameType]:
    """A frame and those that called it, as far as a walk takes no time: a recursion may be millions deep."""
    for _ in range(MOST_FRAMES):
        if frame is None:
            return
        yield frame
        frame = frame.f_back


def _plugin_of(frame: FrameType) -> str | None:
    name = str(frame.f_globals.get("__name__", ""))
    return name[len(PREFIX) :].partition(".")[0] if name.startswith(PREFIX) else None
