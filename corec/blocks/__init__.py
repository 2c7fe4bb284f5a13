"""BloqueSimbiotico: entities that are called, judged and repaired together.

    bloque = BloqueSimbiotico("demo", 1, [crear_entidad(f"m{i}", 1, random.random) for i in range(1000)])
    resultado = await bloque.procesar(carga=0.5)
    resultado["mensajes"][0]    # {"id": "m0", "valor": 0.27, "activo": True, "emitido": True}

A block works without a node.  A node gives its entities wire ids and gets the readings of each pass through
`on_pass`, or reads them from `last_pass`.
"""
import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any
from weakref import ref

import numpy as np

from corec.blocks.awaiting import Awaiting
from corec.blocks.block_model import BlockModel, PassResult, healthy
from corec.blocks.call_plan import CallPlan
from corec.blocks.failure_log import FailureLog
from corec.blocks.inheritance import donors
from corec.blocks.messages import Messages, PassReadings
from corec.blocks.sample import Sample
from corec.config.blocks import ENTITY_KB
from corec.entities.entity import MicroCeluEntidadCoreC, check_channel, check_id
from corec.errors import CapacityError, UsageError

logger = logging.getLogger("BloqueSimbiotico")

#: Seconds that all functions which suspend may take together in one pass.
TIME_LIMIT = 0.5


class BloqueSimbiotico:
    """A block of entities on one channel.

    max_size: KB; an entity counts as 1 KB.  nucleus: the node that is to register it, or None.
    autoreparacion, filtro: as in corec_config.json.  time_limit: seconds for functions that suspend, in one pass.

    last_pass: the readings of the last pass, None before the first.  on_pass: called with them after each pass.
    passes: how many there were.
    """

    def __init__(self, id: str, canal: int, entidades: Iterable[MicroCeluEntidadCoreC], max_size: float = 1024,
                 nucleus: Any = None, *, autoreparacion: Mapping[str, Any] | None = None,
                 filtro: Mapping[str, Any] | None = None, time_limit: float = TIME_LIMIT) -> None:  # fmt: skip
        check_id(id, "a block")
        check_channel(canal, f"block {id!r}")
        self.id, self.canal, self.max_size, self.nucleus = id, canal, max_size, nucleus
        self.entidades = tuple(entidades)
        _check_size(id, len(self.entidades), max_size)
        _check_entities(id, canal, self.entidades)
        self.time_limit = _check_time_limit(time_limit)
        settings = {"autoreparacion": dict(autoreparacion or {}), "filtro": dict(filtro or {})}
        self._model = BlockModel(id, canal, len(self.entidades), settings)
        self.last_pass: PassReadings | None = None
        self.on_pass: Callable[[PassReadings], None] | None = None
        self.passes = 0
        self._prepare()

    def _prepare(self) -> None:
        """Make what a pass needs, and enter the entities."""
        entities = len(self.entidades)
        self._awaited: set[int] = set()
        self._plan = CallPlan(self.entidades)
        self._awaiting, self._one_at_a_time = Awaiting(), asyncio.Lock()
        self._log = FailureLog(f"BloqueSimbiotico-{self.id}", self._ids)
        self._received: dict[int, float] = {}
        self._all = np.arange(entities, dtype=np.uint32)
        self._last_good, self._active = np.zeros(entities), np.ones(entities, bool)
        block = ref(self)
        for slot, entidad in enumerate(self.entidades):
            entidad.enter(block, slot)

    # --- what it is ----------------------------------------------------------------------------

    @property
    def fitness(self) -> float:
        """Of the last pass, 0..1: good / all readings, times the share of entities with readings that do not fail; 1 before it."""
        return self._model.fitness

    def is_active(self, slot: int) -> bool:
        """Whether the last reading of the entity at *slot* was good; true before there was one."""
        return bool(self._active[slot])

    def __repr__(self) -> str:
        return f"<BloqueSimbiotico {self.id}: {len(self.entidades)} entities on channel {self.canal}, fitness {self.fitness:.2f}>"

    @cached_property
    def _ids(self) -> tuple[str, ...]:
        return tuple(entidad.id for entidad in self.entidades)

    @cached_property
    def _slots(self) -> dict[str, int]:
        return {id: slot for slot, id in enumerate(self._ids)}

    # --- what it does --------------------------------------------------------------------------

    async def procesar(self, carga: float) -> dict[str, Any]:
        """Call every entity once, at a load of 0..1.

        Returns "mensajes" (`corec.blocks.messages.Messages`: one mapping for each entity), "bloque_id", "canal", "fitness",
        "agregado" (count, mean, min, max, std, errors of the pass) and "reparadas" (id of each entity regenerated in it
        -> id of its donor, or None).  A function that fails makes a failed reading, never an error here.
        """
        _check_load(carga)
        async with self._one_at_a_time:
            sample = Sample(len(self.entidades))
            received, self._received = self._received, {}
            jobs = self._plan.call(sample, carga, self._model.now / 1000, received)
            if jobs:
                await self._awaiting.run(jobs, sample, self.time_limit)
            self._plan.process(sample)
            return self._judge(sample, carga)

    def receive(self, valores: Mapping[str, float]) -> None:
        """Set raw values, by entity id, of entities without a function; the next pass takes the latest of each."""
        self._received |= {self._slot_without_function(id): _check_value(id, valor) for id, valor in valores.items()}

    def reparar(self) -> dict[str, str | None]:
        """Regenerate every failing entity now, however few: id of each -> id of its donor, or None.

        An entity takes over function and parameters of its fittest healthy neighbour and starts afresh; it is active again
        with its next good reading.  A pass regenerates by itself where more than `max_errores` of the entities fail; where
        that does not help, it waits longer each time.
        """
        return self._regenerate(ordered=True)

    def _regenerate(self, *, ordered: bool) -> dict[str, str | None]:
        before = self._model.states
        failing = self._model.repair(ordered=ordered)
        if not len(failing):
            return {}
        inherited = donors(self.entidades, before, failing)
        for slot, donor in inherited.items():
            self._awaiting.forget(slot)
            self.entidades[slot].restart()
            if donor is not None:
                self.entidades[slot].inherit(self.entidades[donor])
        self._plan = CallPlan(self.entidades, self._awaited)
        logger.info("[BloqueSimbiotico-%s] %d of %d entities regenerated", self.id, len(inherited), len(self.entidades))
        return {self._ids[slot]: None if donor is None else self._ids[donor] for slot, donor in inherited.items()}

    # --- a pass from the inside ----------------------------------------------------------------

    def _judge(self, sample: Sample, carga: float) -> dict[str, Any]:
        sample.close()
        slots, values, good = self._all, sample.narrow, sample.good
        if sample.silent:
            slots = sample.answered()
            values, good = values[slots], good[slots]
        result = self._model.fold(slots, values, good, carga)
        self._last_good = sample.values if sample.whole else np.where(sample.good, sample.values, self._last_good)
        self._active = healthy(result.states)
        messages = Messages(self._ids, self._last_good, self._active, result.messages)
        repaired = self._follow_up(sample, result)
        self._publish(PassReadings(self._model.now, carga, slots, values, good, repaired))
        return {"mensajes": messages, "bloque_id": self.id, "canal": self.canal, "fitness": self.fitness,
                "agregado": result.aggregate, "reparadas": repaired}  # fmt: skip

    def _follow_up(self, sample: Sample, result: PassResult) -> dict[str, str | None]:
        """Log failures, restart entities that failed twice, and repair where too many fail; gives those that were regenerated."""
        if sample.failed:
            self._log.report(sample.failed)
        for slot in result.restarted:
            self.entidades[slot].restart()
        learned = {job.key for job in sample.jobs} - self._awaited
        if learned:
            self._awaited |= learned
            self._plan = CallPlan(self.entidades, self._awaited)
        return self._regenerate(ordered=False) if self._model.sick else {}

    def _publish(self, last: PassReadings) -> None:
        self.last_pass = last
        self.passes += 1
        if self.on_pass is not None:
            self.on_pass(last)

    def _slot_without_function(self, id: str) -> int:
        slot = self._slots.get(id)
        if slot is None:
            raise UsageError(f"block {self.id!r} has no entity {id!r}")
        if self.entidades[slot].funcion is not None:
            raise UsageError(f"expected an entity without a function, got {id!r}, which has one",
                             hint="crear_entidad(id, canal, procesador=...) makes one that takes values from outside")  # fmt: skip
        return slot


def _check_size(id: str, entities: int, max_size: Any) -> None:
    if not isinstance(max_size, int | float) or isinstance(max_size, bool) or not max_size > 0:
        raise UsageError(f"block {id!r}: expected max_size in KB, above 0, got {max_size!r}", hint="1024 holds 1,024 entities")
    if not entities:
        raise UsageError(f"block {id!r}: expected at least one entity, got none", hint="crear_entidad makes one")
    if entities * ENTITY_KB > max_size:
        raise CapacityError(f"block {id!r}: expected at most {int(max_size // ENTITY_KB):,} entities in max_size={max_size:g} KB,"
                            f" got {entities:,} x {ENTITY_KB} KB",
                            hint=f"make several blocks, or say max_size={entities * ENTITY_KB}")  # fmt: skip


def _check_entities(id: str, canal: int, entidades: tuple[Any, ...]) -> None:
    seen: set[str] = set()
    for entidad in entidades:
        if not isinstance(entidad, MicroCeluEntidadCoreC):
            raise UsageError(f"block {id!r}: expected entities of crear_entidad, got {entidad!r:.80}")
        if entidad.canal != canal:
            raise UsageError(f"block {id!r}: expected entities on its channel {canal}, got {entidad.id!r} on {entidad.canal}",
                             hint="give the entity and the block the same channel")  # fmt: skip
        if entidad.id in seen:
            raise UsageError(f"block {id!r}: expected each entity id once, got {entidad.id!r} twice",
                             hint="an entity's id has to be unique within its block")  # fmt: skip
        if entidad.bloque is not None:
            raise UsageError(f"block {id!r}: expected entities that live in no block, got {entidad.id!r} of {entidad.bloque.id!r}",
                             hint="make entities of its own for each block")  # fmt: skip
        seen.add(entidad.id)


def _check_load(carga: Any) -> None:
    if not isinstance(carga, int | float | np.floating) or not 0.0 <= carga <= 1.0:
        raise UsageError(f"expected a load from 0 to 1, got {carga!r}", hint="carga is the share of the machine that is busy")


def _check_value(id: str, valor: Any) -> float:
    if not isinstance(valor, int | float | np.floating):
        raise UsageError(f"expected a number for {id!r}, got {valor!r}", hint="NaN says that the sensor failed")
    return float(valor)


def _check_time_limit(seconds: Any) -> float:
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds <= 3600:
        raise UsageError(f"expected a time_limit in seconds, above 0 and up to 3600, got {seconds!r}", hint="a pass comes once a second")
    return float(seconds)
