"""Settings that are allowed but probably not meant: one line for each, for `corec check` and a node's log."""

import math
from collections.abc import Iterator

from corec.config.blocks import BlockEntry
from corec.config.types import CoreFile, FuenteHost

#: Windows that one block can have open.
MOST_OPEN = 64
ENTRY = '{"id": "sensors", "canal": 1, "entidades": 1000}'
FEED = '"fuentes": ["host"] reads this machine\'s sensors; a program hands its own in by CoreCNucleus.submit'


def advice(config: CoreFile, entries: tuple[BlockEntry, ...]) -> Iterator[str]:
    if not entries:
        yield f'"bloques" names no entry: no reading has a place, and none will come; begin with "bloques": [{ENTRY}]'
    elif not config.fuentes and not all(entry.funcion for entry in entries):
        yield f'no "fuentes": nothing will be read; {FEED}'
    yield from _names_of_two_tables(entries)
    yield from _windows_that_close_early(config, entries)
    for name, entry, interval in _readings(config, entries):
        if entry.filtro.latido <= interval:
            yield (
                f"bloques.{entry.id}.filtro.latido {entry.filtro.latido} s is no longer than the {interval:g} s between two"
                f" readings of {name}: each of them leaves as a message; {round(10 * interval):,} would send a tenth"
            )


def _names_of_two_tables(entries: tuple[BlockEntry, ...]) -> Iterator[str]:
    first: dict[str, BlockEntry] = {}
    shared: dict[tuple[str, str], list[str]] = {}
    for entry in (entry for entry in entries if entry.table is not None):
        for name in filter(None, entry.table.names):
            other = first.setdefault(name, entry)
            if other is not entry:
                shared.setdefault((other.id, entry.id), []).append(name)
    for (one, other), names in shared.items():
        yield (
            f"bloques.{one} and bloques.{other} both have a device {names[0]!r}"
            + (f" and {len(names) - 1:,} more names in common" if len(names) > 1 else "")
            + f": `corec replay` and `corec send` need --block {one} or --block {other} for columns of such a name"
        )


def _windows_that_close_early(config: CoreFile, entries: tuple[BlockEntry, ...]) -> Iterator[str]:
    waits = config.retraso_max + config.max_adelanto
    for entry in entries:
        asked = math.floor(waits / entry.ventana) + 2
        if asked > MOST_OPEN:
            yield (
                f"bloques.{entry.id}.ventana {entry.ventana:g} s: retraso_max {config.retraso_max:g} s and max_adelanto"
                f" {config.max_adelanto} s ask for {asked:,} open windows, and a block has {MOST_OPEN}; when there are more, the oldest"
                f" closes early, and what comes for it later amends it; {math.ceil(waits / (MOST_OPEN - 2)):,} s would fit"
            )


def _readings(config: CoreFile, entries: tuple[BlockEntry, ...]) -> Iterator[tuple[str, BlockEntry, float]]:
    """(source, entry, seconds between two readings of one entity) for everything that is read."""
    entities = sum(entry.entidades for entry in entries)
    for source in config.fuentes:
        if isinstance(source, FuenteHost):
            yield "host", next(entry for entry in entries if entry.id == source.bloque), source.intervalo
        else:
            yield from (("simulada", entry, entities / source.lecturas_por_segundo) for entry in entries)
    yield from ((entry.funcion.nombre, entry, entry.intervalo) for entry in entries if entry.funcion)
