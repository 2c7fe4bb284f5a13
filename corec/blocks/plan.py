"""Which functions a pass over a block calls, sorted by how they are called."""
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from corec._core.calls import call_native, call_plain
from corec.blocks.await_free import without_await
from corec.blocks.sample import Job, Sample
from corec.entities import CeluEntidadCoreC, MicroCeluEntidadCoreC
from corec.functions import LARGEST, Vectorizada, native_address, number_of


class Plan:
    """The functions of *entidades*.

    awaited: slots whose functions are known to give something to await, though they do not look so.
    """

    def __init__(self, entidades: Sequence[MicroCeluEntidadCoreC], awaited: Collection[int] = ()) -> None:
        kinds: dict[str, list[int]] = {"received": [], "shared": [], "native": [], "suspending": [], "plain": []}
        for slot, entidad in enumerate(entidades):
            kinds[_kind(slot, entidad.funcion, awaited)].append(slot)
        self._awaited, self._received = awaited, kinds["received"]
        self._functions = [_plain_form(entidades[slot].funcion) for slot in kinds["plain"]]
        self._slots = np.array(kinds["plain"], np.int64)
        self._addresses = np.array([native_address(entidades[slot].funcion) for slot in kinds["native"]], np.uint64)
        self._native_slots = np.array(kinds["native"], np.int64)
        self._suspending = [Job(slot, entidades[slot].funcion) for slot in kinds["suspending"]]
        self._groups = _groups(entidades, kinds["shared"])
        celus = [(slot, entidad) for slot, entidad in enumerate(entidades) if isinstance(entidad, CeluEntidadCoreC)]
        self._celus, self._celu_slots = [entidad for _, entidad in celus], np.array([slot for slot, _ in celus], np.int64)

    def call(self, sample: Sample, carga: float, seconds: float, received: Mapping[int, float]) -> list[Job]:
        """Call everything that cannot suspend; returns the jobs that may."""
        if self._functions:
            call_plain(self._functions, self._slots, sample.values, sample.put, sample.fail)
        if len(self._addresses):
            call_native(self._addresses, self._native_slots, seconds, sample.values)
        for slot in self._received:
            sample.values[slot] = received.get(slot, np.nan)
        sample.silent += [slot for slot in self._received if slot not in received]
        return self._suspending + self._call_groups(sample, carga) + sample.jobs

    def _call_groups(self, sample: Sample, carga: float) -> list[Job]:
        """Call the vectorised functions; returns those that may suspend."""
        suspending = []
        for slots, shared in self._groups:
            job = Job(slots, partial(shared, slots, carga))
            if job.key in self._awaited or inspect.iscoroutinefunction(shared.funcion):
                suspending.append(job)
            else:
                sample.run(job.slots, job.call)
        return suspending

    def process(self, sample: Sample) -> None:
        """Let the processors of Celu entities have the raw values."""
        values = memoryview(sample.values)
        for slot, entidad in zip(self._celu_slots.tolist(), self._celus, strict=True):
            valor = values[slot]
            if not abs(valor) <= LARGEST:
                continue
            try:
                processed = entidad.procesador(valor, entidad.estado)
                if processed is None:
                    sample.silent.append(slot)
                    values[slot] = np.nan
                else:
                    values[slot] = processed if type(processed) is float else number_of(processed)
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:
                sample.fail(slot, error)


def _kind(slot: int, funcion: Any, awaited: Collection[int]) -> str:
    if funcion is None:
        return "received"
    if isinstance(funcion, Vectorizada):
        return "shared"
    if native_address(funcion) is not None:
        return "native"
    return "suspending" if slot in awaited or _plain_form(funcion) is None else "plain"


def _plain_form(funcion: Callable[[], Any]) -> Callable[[], Any] | None:
    """The function itself, or what a coroutine function without `await` amounts to; None where it may suspend."""
    return without_await(funcion) if inspect.iscoroutinefunction(funcion) else funcion


def _groups(entidades: Sequence[MicroCeluEntidadCoreC], slots: Sequence[int]) -> list[tuple[np.ndarray, Vectorizada]]:
    """Each vectorised function, with the slots of all that share it."""
    groups: dict[Vectorizada, list[int]] = {}
    for slot in slots:
        groups.setdefault(entidades[slot].funcion, []).append(slot)
    return [(np.array(places, np.int64), shared) for shared, places in groups.items()]
