"""Which functions a pass over a block calls, sorted by how they are called."""
import inspect
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from corec._core.calls import call_native, call_python
from corec.blocks.awaiting import may_suspend
from corec.blocks.sample import Job, Sample
from corec.entities.entity import CeluEntidadCoreC, MicroCeluEntidadCoreC
from corec.entities.functions import LARGEST, Vectorizada, native_address, number_of


class CallPlan:
    """The functions of *entidades*, by how they are called.

    awaited: slots whose plain functions gave something to await in an earlier pass.
    """

    def __init__(self, entidades: Sequence[MicroCeluEntidadCoreC], awaited: Collection[int] = ()) -> None:
        kinds: dict[str, list[int]] = {"received": [], "shared": [], "native": [], "suspending": [], "ending": [], "plain": []}
        for slot, entidad in enumerate(entidades):
            kinds[_kind(slot, entidad.funcion, awaited)].append(slot)
        self._awaited, self._received = awaited, kinds["received"]
        self._called = [([entidades[slot].funcion for slot in kinds[kind]], np.array(kinds[kind], np.int64), kind == "ending")
                        for kind in ("plain", "ending") if kinds[kind]]  # fmt: skip
        self._addresses = np.array([native_address(entidades[slot].funcion) for slot in kinds["native"]], np.uint64)
        self._native_slots = np.array(kinds["native"], np.int64)
        self._suspending = [Job(slot, entidades[slot].funcion) for slot in kinds["suspending"]]
        self._groups = _groups(entidades, kinds["shared"])
        celus = [(slot, entidad) for slot, entidad in enumerate(entidades) if isinstance(entidad, CeluEntidadCoreC)]
        self._celus, self._celu_slots = [entidad for _, entidad in celus], np.array([slot for slot, _ in celus], np.int64)

    def call(self, sample: Sample, carga: float, seconds: float, received: Mapping[int, float]) -> list[Job]:
        """Call all functions that cannot suspend, into *sample*; returns the jobs that may.

        seconds: time of the pass since 1970, for native functions.  received: slot -> value of entities without a function.
        """
        for functions, slots, coroutines in self._called:
            call_python(functions, slots, sample.values, sample.put, sample.fail, coroutines)
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
        """Replace the raw values of Celu entities by what their processors make of them."""
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
    if slot in awaited:
        return "suspending"
    if not inspect.iscoroutinefunction(funcion):
        return "plain"
    return "suspending" if may_suspend(funcion) else "ending"


def _groups(entidades: Sequence[MicroCeluEntidadCoreC], slots: Sequence[int]) -> list[tuple[np.ndarray, Vectorizada]]:
    """Each vectorised function, with the slots of all that share it."""
    groups: dict[Vectorizada, list[int]] = {}
    for slot in slots:
        groups.setdefault(entidades[slot].funcion, []).append(slot)
    return [(np.array(slots, np.int64), shared) for shared, slots in groups.items()]
