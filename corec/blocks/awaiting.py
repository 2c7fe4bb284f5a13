"""Functions that may have to be awaited: called at once, and left to asyncio only where they do suspend.

A driver calls one function after the other and awaits each.  As long as none suspends, the event loop is not
involved.  Where one suspends, its driver becomes a task, and another driver goes on with the next function; so all
functions that suspended wait together, under one time limit.  In later passes such a function is a task from the
start, which takes a third of the time.
"""
import asyncio
import contextvars
import dis
import inspect
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import lru_cache
from types import CodeType, FunctionType, MethodType
from typing import Any

from corec.blocks.sample import Job, Sample
from corec.entities.functions import BadReading

#: How long a cancelled function may take to come to its end, in seconds.
GRACE = 0.05

_ENDED = object()


def may_suspend(function: Callable[..., Any]) -> bool:
    """Whether a coroutine function may wait for something; False only where its code has no instruction to do so."""
    if isinstance(function, MethodType):
        return may_suspend(function.__func__)
    return not isinstance(function, FunctionType) or _yields(function.__code__)


@lru_cache(maxsize=256)
def _yields(code: CodeType) -> bool:
    """Every `await`, `async for` and `async with` compiles to an instruction that yields, in every CPython so far."""
    return any("YIELD" in instruction.opname for instruction in dis.get_instructions(code))


class SuspendedDriver:
    """A driver that has begun; awaiting it goes on with it, and ends at once where the driver has ended."""

    def __init__(self) -> None:
        self.driver: Any = None
        self.waiting_for: Any = _ENDED

    def begin(self, driver: Any) -> bool:
        """Take the first step of *driver*; False when that was all of it."""
        self.driver = driver
        self.waiting_for = _step(driver.send, None)
        return self.waiting_for is not _ENDED

    def __await__(self) -> Generator[Any, Any, None]:
        while self.waiting_for is not _ENDED:
            try:
                yield self.waiting_for
            except BaseException as error:  # a cancellation, for the function to see
                self.waiting_for = _step(self.driver.throw, error)
            else:
                self.waiting_for = _step(self.driver.send, None)


def _step(go_on: Callable[[Any], Any], what: Any) -> Any:
    try:
        return go_on(what)
    except StopIteration:
        return _ENDED


async def _finish(driver: SuspendedDriver) -> None:
    await driver


async def _drive(jobs: Iterator[Job], sample: Sample) -> None:
    for job in jobs:
        try:
            got = job.call()
            sample.put(job.slots, await got if inspect.isawaitable(got) else got)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # CancelledError too: the function's own, or that of the time limit
            sample.fail(job.slots, error)


class Awaiting:
    """The calls of one block that may suspend.

    Keeps from pass to pass which of them did, and which did not end when they were cancelled.
    """

    def __init__(self) -> None:
        self._suspended: set[int] = set()
        self._stuck: dict[int, asyncio.Task[None]] = {}

    async def run(self, jobs: Sequence[Job], sample: Sample, limit: float) -> None:
        """Call and await all *jobs*, for *limit* seconds; what takes longer is cancelled and has failed."""
        tasks = self._begin([job for job in jobs if not self._is_stuck(job, sample)], sample)
        try:
            late = (await asyncio.wait(tasks, timeout=limit))[1] if tasks else ()
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            raise
        if late:
            await self._cancel({task: tasks[task] for task in late}, sample, limit)

    def forget(self, slot: int) -> None:
        """Treat the function at *slot* as a new one: its entity was regenerated, whatever still runs of the old one."""
        self._stuck.pop(slot, None)
        self._suspended.discard(slot)

    def _begin(self, jobs: Sequence[Job], sample: Sample) -> dict["asyncio.Task[None]", Job]:
        """Call all jobs up to where they suspend; returns a task for each that did."""
        create_task = asyncio.get_running_loop().create_task
        tasks = {create_task(_drive(iter((job,)), sample)): job for job in jobs if job.key in self._suspended}
        unknown = [job for job in jobs if job.key not in self._suspended]
        current: list[Job] = []
        remaining = _remembering(unknown, current)
        while unknown:
            suspended, context = SuspendedDriver(), contextvars.copy_context()
            task = create_task(_finish(suspended), context=context)
            if not _as_task(task, context, suspended.begin, _drive(remaining, sample)):
                break  # all jobs are called, and that task ends at once
            tasks[task] = current[0]
            self._suspended.add(current[0].key)
        return tasks

    def _is_stuck(self, job: Job, sample: Sample) -> bool:
        task = self._stuck.get(job.key)
        if task is None:
            return False
        if task.done():
            del self._stuck[job.key]
            return False
        sample.fail(job.slots, BadReading("still running", "its call of an earlier pass has not ended"))
        return True

    async def _cancel(self, late: dict["asyncio.Task[None]", Job], sample: Sample, limit: float) -> None:
        for task, job in late.items():
            sample.fail(job.slots, BadReading("too long", f"expected an end within {limit:g} s"))
            task.cancel()
        for task in (await asyncio.wait(late, timeout=GRACE))[1]:
            self._stuck[late[task].key] = task


def _remembering(jobs: Sequence[Job], current: list[Job]) -> Iterator[Job]:
    """Yield *jobs*, and keep the latest of them as the one item of *current*."""
    for job in jobs:
        current[:] = (job,)
        yield job


def _as_task(task: "asyncio.Task[None]", context: contextvars.Context, step: Callable[..., bool], *arguments: Any) -> bool:
    """Take a step as *task*: asyncio.current_task in the function must be the task that it may be cancelled by.

    The four functions are asyncio's documented ones for task implementations other than its own.
    """
    loop, outer = asyncio.get_running_loop(), asyncio.current_task()
    if outer is not None:
        asyncio._leave_task(loop, outer)
    asyncio._enter_task(loop, task)
    try:
        return context.run(step, *arguments)
    finally:
        asyncio._leave_task(loop, task)
        if outer is not None:
            asyncio._enter_task(loop, outer)
