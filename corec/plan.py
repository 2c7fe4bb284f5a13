"""Which functions a pass over a block calls, sorted by how they are called."""
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from corec._core.calls import call_native, call_plain
from corec.await_free import without_await
from corec.entities import CeluEntidadCoreC, MicroCeluEntidadCoreC
from corec.functions import LARGEST, Vectorizada, native_address, number_of
from corec.sample import Job, Sample


class Plan:
    """The functions of *entidades*.

    awaited: slots whose functions are known to give something to await, though they do not look so.
    """

    def __init__(self, entidades: Sequence[MicroCeluEntidadCoreC], awaited: Collection[int] = ()) -> None:
        self._awaited = awaited
        self._plain: list[tuple[int, Callable[[], Any]]] = []
        self._native: list[tuple[int, int]] = []
        self._shared: dict[Vectorizada, list[int]] = {}
        self._suspending: list[Job] = []
        self.received: list[int] = []
        for slot, entidad in enumerate(entidades):
            self._sort(slot, entidad.funcion)
        self._processors = [(slot, entidad) for slot, entidad in enumerate(entidades) if isinstance(entidad, CeluEntidadCoreC)]
        self._functions = [function for _, function in self._plain]
        self._slots = np.array([slot for slot, _ in self._plain], np.int64)
        self._addresses = np.array([address for _, address in self._native], np.uint64)
        self._native_slots = np.array([slot for slot, _ in self._native], np.int64)
        self._groups = [(np.array(slots, np.int64), shared) for shared, slots in self._shared.items()]

    def _sort(self, slot: int, funcion: Any) -> None:
        if funcion is None:
            self.received.append(slot)
        elif isinstance(funcion, Vectorizada):
            self._shared.setdefault(funcion, []).append(slot)
        elif (address := native_address(funcion)) is not None:
            self._native.append((slot, address))
        elif slot in self._awaited or (plain := plain_form(funcion)) is None:
            self._suspending.append(Job(slot, funcion))
        else:
            self._plain.append((slot, plain))

    def call(self, sample: Sample, carga: float, seconds: float, received: Mapping[int, float]) -> list[Job]:
        """Call everything that cannot suspend; returns the jobs that may."""
        if self._functions:
            call_plain(self._functions, self._slots, sample.values, sample.put, sample.fail)
        if self._native:
            call_native(self._addresses, self._native_slots, seconds, sample.values)
        jobs = list(self._suspending)
        for slots, shared in self._groups:
            job = Job(slots, partial(shared, slots, carga))
            if job.key in self._awaited or inspect.iscoroutinefunction(shared.funcion):
                jobs.append(job)
            else:
                sample.run(*job)
        for slot in self.received:
            sample.values[slot] = received.get(slot, np.nan)
        sample.silent += [slot for slot in self.received if slot not in received]
        return jobs + sample.jobs

    def process(self, sample: Sample) -> None:
        """Let the processors of Celu entities have the raw values."""
        values = memoryview(sample.values)
        for slot, entidad in self._processors:
            valor = values[slot]
            if not abs(valor) <= LARGEST:
                continue
            try:
                processed = entidad.procesador(valor, entidad.estado)
                if processed is None:
                    sample.silent.append(slot)
                values[slot] = np.nan if processed is None else number_of(processed)
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:
                sample.fail(slot, error)


def plain_form(funcion: Callable[[], Any]) -> Callable[[], Any] | None:
    """The function itself, or what a coroutine function without `await` amounts to; None where it may suspend."""
    return without_await(funcion) if inspect.iscoroutinefunction(funcion) else funcion
