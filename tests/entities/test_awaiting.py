"""Functions that suspend: awaited together, within a time limit, as tasks of their own."""
import asyncio
import contextvars
import time
import types

import pytest

from tests.support.entity_samples import block_of, passes, run

#: No repair: failing functions are not replaced by their neighbours'.
AS_THEY_ARE = {"max_errores": 1}


def states(resultado):
    return [m["activo"] for m in resultado["mensajes"]]


def sleeper(seconds, value=1.0):
    async def sleep():
        await asyncio.sleep(seconds)
        return {"valor": value}

    return sleep


def test_functions_that_suspend_wait_together():
    # Given fifty functions that take 50 ms each
    bloque = block_of(*(sleeper(0.05, i) for i in range(50)))
    began = time.monotonic()
    resultado = run(bloque)
    # Then the pass takes about as long as one
    assert time.monotonic() - began < 1.5
    assert [m["valor"] for m in resultado["mensajes"]] == list(range(50))


def test_each_function_is_called_once_a_pass():
    calls = []

    def counted(i, suspends):
        async def call():
            calls.append(i)
            if suspends:
                await asyncio.sleep(0)
            return await give(i)

        return call

    async def give(i):
        return float(i)

    bloque = block_of(*(counted(i, i % 3 == 0) for i in range(10)))
    resultado = run(bloque, 2)
    assert sorted(calls) == sorted([*range(10), *range(10)])
    assert [m["valor"] for m in resultado["mensajes"]] == list(range(10))


async def endless():
    while True:
        await asyncio.sleep(0.001)


async def never():
    await asyncio.get_running_loop().create_future()


def test_coroutine_that_never_ends_is_cancelled_and_has_failed(caplog):
    bloque = block_of(never, lambda: 1.0, endless, sleeper(0.01), time_limit=0.1)
    began = time.monotonic()
    resultado = run(bloque)
    assert 0.1 <= time.monotonic() - began < 2
    assert states(resultado) == [False, True, False, True]
    assert resultado["agregado"]["errors"] == 2
    assert "[BloqueSimbiotico-bloque] e0, e2 failed: expected an end within 0.1 s" in caplog.text


@pytest.mark.parametrize("hidden", [False, True])
def test_coroutine_that_will_not_be_cancelled_is_not_called_again_until_it_ends(hidden, caplog):
    calls, gate = [], []

    def hides_it():
        calls.append(1)
        return never_mind()

    async def stubborn():
        calls.append(1)
        return await never_mind()

    async def never_mind():
        while not gate:
            try:
                await asyncio.sleep(0.005)
            except asyncio.CancelledError:
                pass
        return 3.0

    async def story():
        # Given a function that ignores its cancellation
        bloque = block_of(hides_it if hidden else stubborn, lambda: 1.0, time_limit=0.05, autoreparacion=AS_THEY_ARE)
        seen = [states(await bloque.procesar(0))]
        # When further passes come, Then it is not called a second time while the first call runs
        seen.append(states(await bloque.procesar(0)))
        assert len(calls) == 1
        gate.append(1)
        await asyncio.sleep(0.02)
        # And is called again once that has ended; what that gave in the end is of no pass
        resultado = await bloque.procesar(0)
        return seen, states(resultado), len(calls)

    assert asyncio.run(story()) == ([[False, True], [False, True]], [True, True], 2)
    assert "e0 failed: its call of an earlier pass has not ended" in caplog.text


def test_stuck_function_is_in_nobodys_way_once_its_entity_is_regenerated():
    async def stubborn():
        for _ in range(30):
            try:
                await asyncio.sleep(0.02)
            except asyncio.CancelledError:
                pass

    async def story():
        # Given an entity that fails twice because its function will not end, beside one that suspends and works
        bloque = block_of(stubborn, sleeper(0, 2.0), time_limit=0.02)
        seen = [await bloque.procesar(0) for _ in range(3)]
        return [states(resultado) for resultado in seen], seen[1]["reparadas"]

    # Then it inherits after the second pass, and works in the third
    assert asyncio.run(story()) == ([[False, True], [False, True], [True, True]], {"e0": "e1"})


def test_late_end_changes_no_earlier_pass():
    async def story():
        gate = asyncio.Event()

        async def stubborn():
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                await gate.wait()
            return 99.0

        bloque = block_of(stubborn, time_limit=0.02)
        resultado = await bloque.procesar(0)
        before = list(resultado["mensajes"])
        gate.set()
        await asyncio.sleep(0.01)
        return before, list(resultado["mensajes"]), bloque.last_pass.values.tolist()

    before, after, values = asyncio.run(story())
    assert before == after and values != [99.0]


def test_asyncio_timeout_inside_a_function_is_the_functions_own():
    # Given a function whose own time-out must cancel it, not the pass that called it
    async def impatient():
        async with asyncio.timeout(0.01):
            await asyncio.sleep(5)
        return 1.0

    async def patient():
        try:
            return await impatient()
        except TimeoutError:
            return 2.0

    assert states(run(block_of(impatient, patient, sleeper(0.05)))) == [False, True, True]


def test_current_task_is_the_same_before_and_after_suspending():
    tasks = []

    async def who():
        first = asyncio.current_task()
        await asyncio.sleep(0)
        tasks.append((first, asyncio.current_task()))
        return 1.0

    async def story():
        await block_of(who, who).procesar(0)
        return asyncio.current_task()

    outer = asyncio.run(story())
    assert all(first is second is not outer for first, second in tasks)
    assert tasks[0][0] is not tasks[1][0]


def test_context_variable_is_the_same_before_and_after_suspending():
    variable = contextvars.ContextVar("variable", default=0.0)

    async def sets():
        token = variable.set(5.0)
        await asyncio.sleep(0)
        value = variable.get()
        variable.reset(token)
        return value

    async def story():
        resultado = await block_of(sets).procesar(0)
        return resultado["mensajes"][0]["valor"], variable.get()

    assert asyncio.run(story()) == (5.0, 0.0)


def test_cancellation_that_a_function_raises_is_its_failure():
    async def cancels():
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    async def later():
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    assert states(run(block_of(cancels, later, lambda: 1.0))) == [False, False, True]


def test_cancelling_the_pass_cancels_its_functions():
    ended = []

    async def notices():
        try:
            await asyncio.sleep(10)
        finally:
            ended.append(1)

    async def story():
        bloque = block_of(notices, time_limit=5)
        task = asyncio.create_task(bloque.procesar(0))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        return list(ended), bloque.passes

    assert asyncio.run(story()) == ([1], 0)


@types.coroutine
def odd():
    yield "no future"


async def yields_what_asyncio_cannot_wait_for():
    await odd()


async def dies_after_suspending():
    await asyncio.sleep(0)
    raise SystemExit(3)


def test_whatever_a_function_does_stays_its_own():
    resultado = run(block_of(yields_what_asyncio_cannot_wait_for, dies_after_suspending, sleeper(0)))
    assert states(resultado) == [False, False, True]


def test_function_that_turns_out_to_give_a_coroutine_is_awaited():
    # Given what does not look like a coroutine function
    functions = lambda: sleeper(0.001, 4.0)(), lambda: asyncio.sleep(0.001, 5.0), never_looks_so
    bloque = block_of(*functions, time_limit=0.05, autoreparacion=AS_THEY_ARE)
    # Then its coroutine is awaited, from the first pass on, with the same time limit
    for _ in range(3):
        resultado = run(bloque)
        assert [(m["valor"], m["activo"]) for m in resultado["mensajes"]][:2] == [(4.0, True), (5.0, True)]
        assert states(resultado)[2] is False


def never_looks_so():
    return never()


def test_two_passes_at_once_come_one_after_the_other():
    running = []

    async def watch():
        running.append(1)
        await asyncio.sleep(0.01)
        running.pop()
        assert not running
        return 1.0

    async def story():
        bloque = block_of(watch)
        both = await asyncio.gather(bloque.procesar(0), bloque.procesar(0))
        return [states(resultado) for resultado in both], bloque.passes

    assert asyncio.run(story()) == ([[True], [True]], 2)


def test_nothing_is_left_in_the_loop():
    async def story():
        bloque = block_of(sleeper(0.001), lambda: 1.0, sleeper(0), never, time_limit=0.02)
        await passes(bloque, 3)
        await asyncio.sleep(0)
        return len(asyncio.all_tasks())

    assert asyncio.run(story()) == 1
