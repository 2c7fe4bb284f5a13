"""A configuration that is read again at run time: what takes effect at once, and what needs a restart."""

from typing import TYPE_CHECKING

from msgspec.structs import replace

from corec.config import Config, load
from corec.config.types import CoreFile
from corec.errors import UsageError

if TYPE_CHECKING:
    from corec.config.device_table import DeviceTable

#: Keys, of the top level and of each entry, that take effect at once. All others need a restart.
LIVE = ("hibernar_tras", "max_adelanto", "max_skew", "retraso_max")
LIVE_ENTRY = ("autoreparacion", "filtro", "funcion", "intervalo", "limites", "silencio_max", "ventana")
#: Keys of an entry that determine its entities. `ids` is compared by the resolved ids; a table's limits take effect at once, its
#: names and units at a restart.
SHAPE = ("canal", "entidades", "entidades_por_bloque", "first_id")


def read_again(running: Config) -> Config:
    """The current content of the files that *running* was read from. UsageError when it came from a program."""
    if running.file is None:
        raise UsageError("this node was configured by a program: there is no file to read again",
                         hint="`corec reload` is for nodes that `corec run` started")  # fmt: skip
    return load(running.file, embedded=running.embedded)


def taken_over(running: Config, wanted: Config) -> list[str]:
    """The changed keys that take effect at once. Both configurations have the same entities."""
    changed = [key for key in LIVE if getattr(running, key) != getattr(wanted, key)]
    for mine, new in zip(running.bloques, wanted.bloques):
        changed += [f"bloques.{new.id}.{key}" for key in LIVE_ENTRY if getattr(mine, key) != getattr(new, key)]
        if new.table and mine.table and mine.table.digest != new.table.digest:
            changed.append(f"bloques.{new.id}.ids (limits)")
    return changed


def waiting(running: Config, wanted: Config) -> list[str]:
    """The changed keys that need a restart."""
    keys = [key for key in CoreFile.__struct_fields__ if key not in (*LIVE, "bloques", "schema_url")]
    changed = [key for key in keys if _text(running, key) != _text(wanted, key)]
    for mine, new in zip(running.bloques, wanted.bloques):
        changed += [f"bloques.{new.id}.plugin"] if mine.plugin != new.plugin else []
        if new.table and mine.table and (mine.table.names, mine.table.units) != (new.table.names, new.table.units):
            changed.append(f"bloques.{new.id}.ids (names, units)")
    names = sorted(running.plugins.keys() | wanted.plugins.keys())
    return changed + [f"plugins_config.json {name}" for name in names if running.plugins.get(name) != wanted.plugins.get(name)]


def at_once(running: Config, wanted: Config) -> Config:
    """*wanted*, but with the running values of the keys that need a restart."""
    return replace(wanted, **{key: getattr(running, key) for key in waiting(running, wanted) if key in CoreFile.__struct_fields__})


def reshaped(running: Config, wanted: Config) -> list[str]:
    """The keys that would change blocks or entities. A reload cannot apply them."""
    mine, new = ([entry.id for entry in config.bloques] for config in (running, wanted))
    if mine != new:
        gone, added = ([f"bloques.{id}" for id in one if id not in other] for one, other in ((mine, new), (new, mine)))
        return [*gone, *added] or ["order of bloques"]
    changed = ["fragmentos"] if running.fragmentos != wanted.fragmentos else []
    for one, other in zip(running.bloques, wanted.bloques):
        changed += [f"bloques.{one.id}.{key}" for key in SHAPE if getattr(one, key) != getattr(other, key)]
        if not same_devices(one.table, other.table):
            changed.append(f"bloques.{one.id}.ids")
        if (one.funcion and one.funcion.nombre) != (other.funcion and other.funcion.nombre):
            changed.append(f"bloques.{one.id}.funcion")
    return [key.replace("first_id", "ids") for key in changed]


def same_devices(one: "DeviceTable | None", other: "DeviceTable | None") -> bool:
    """Whether two entries have tables of the same devices, or none; limits, names and units are no part of the state."""
    return one.has_devices_of(other) if one and other else one is other


def _text(config: Config, key: str) -> str:
    """A value as text for comparison, including its password."""
    value = getattr(config, key)
    secret = getattr(getattr(value, "password", None), "reveal", str)()
    return f"{value!r} {secret}"
