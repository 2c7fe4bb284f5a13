"""Entities, of which blocks are made: what plugins and programs import.

    from corec.entities import crear_entidad

    crear_entidad("m0", 1, random.random)                                      a MicroCeluEntidadCoreC
    crear_entidad("t0", 1, read_sensor, procesador=ProcesadorSensor(gain=0.1)) a CeluEntidadCoreC
"""
from corec.entities.entity import CeluEntidadCoreC, MicroCeluEntidadCoreC, crear_entidad
from corec.entities.functions import Vectorizada, vectorizada
from corec.entities.processors import ProcesadorFiltro, ProcesadorSensor

__all__ = ["CeluEntidadCoreC", "MicroCeluEntidadCoreC", "ProcesadorFiltro", "ProcesadorSensor", "Vectorizada",
           "crear_entidad", "vectorizada"]
