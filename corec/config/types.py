"""What the configuration files may say: every key with its type, range, default and meaning.

These structs and those of their sections (entries.py, connections.py, organs.py) are the one source: they
check the files, the hints of errors quote their descriptions, and the JSON Schema for editors is generated
from them.  A default that depends on another key is `UNSET` there and resolved in `blocks`.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from corec.config.connections import SECRET, CelerySection, DbSection, RedisSection
from corec.config.entries import BlockSpec
from corec.config.organs import Auditoria, Ejecucion, Sincronizacion
from corec.config.values import Fraction, Name

ROLES = ("generica", "sensor", "analisis")


class FuenteHost(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="tipo", tag="host"
):
    """This machine's own sensors: load, memory, disks, network, temperatures."""

    bloque: Annotated[
        Name | None,
        Meta(description="entry of `bloques` that takes them; the first one if not given"),
    ] = None
    intervalo: Annotated[
        float, Meta(ge=0.1, le=3600, description="seconds between two readings of each sensor")
    ] = 1.0


class FuenteSimulada(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="tipo", tag="simulada"
):
    """Simulated sensors over all entries, with faults injected."""

    lecturas_por_segundo: Annotated[
        int, Meta(ge=1, le=100_000_000, description="readings per second, over all entities")
    ] = 200_000
    fallos: Annotated[
        Fraction, Meta(description="share of sensors with a fault: stuck, spike, drop-out, drift")
    ] = 0.001
    semilla: Annotated[
        int, Meta(ge=0, le=2**63 - 1, description="random seed; the same one gives the same readings")
    ] = 1


Fuente = Annotated[
    Literal["host", "simulada"] | FuenteHost | FuenteSimulada,
    Meta(extra={"expected": '"host", "simulada" or an object with "tipo"'}),
]


class CoreFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """corec_config.json: the node, its blocks and its connections."""

    schema_url: Annotated[
        str, Meta(description="JSON Schema for editors; CoreC does not read it")
    ] = field(name="$schema", default="")
    instance_id: Annotated[Name, Meta(description="unique name of the node")] = "corec1"
    db_config: Annotated[
        DbSection | None,
        Meta(description="connection to PostgreSQL; without it results stay in the data folder", extra=SECRET),
    ] = None
    redis_config: Annotated[
        RedisSection | None,
        Meta(description="connection to Redis; without it readings go to the journal of the data folder", extra=SECRET),
    ] = None
    celery_config: Annotated[
        CelerySection | None,
        Meta(description="Celery workers that run the turns; without it the node runs them"),
    ] = None
    flota: Annotated[
        Name | None,
        Meta(description="fleet whose shards its nodes and workers share; instance_id if not given"),
    ] = None
    bloques: Annotated[
        tuple[BlockSpec, ...], Meta(description="the blocks that the node starts with")
    ] = ()
    modules: Annotated[
        tuple[Name, ...],
        Meta(
            description="modules that run, spelled with accents or without; registro always runs",
            examples=[["registro", "ejecucion", "sincronización", "auditoria"]],
        ),
    ] = ("registro", "ejecucion", "sincronizacion", "auditoria")
    sincronizacion: Annotated[
        Sincronizacion, Meta(description="when weak blocks are fused into strong ones")
    ] = Sincronizacion()
    auditoria: Annotated[
        Auditoria, Meta(description="when the anomaly score of a block raises an alert")
    ] = Auditoria()
    ejecucion: Annotated[Ejecucion, Meta(description="where blocks are stepped")] = Ejecucion()
    rol: Annotated[
        str,
        Meta(
            description="generica; sensor runs no auditoria; analisis takes no sensor shards",
            examples=list(ROLES),
        ),
    ] = "generica"
    max_ram_mb: Annotated[
        int, Meta(ge=1, le=1_048_576, description="RAM of the whole node; a configuration that needs more is refused at the start")
    ] = 1024
    max_disk_mb: Annotated[
        int, Meta(ge=1, le=1_073_741_824, description="disk for the journal of readings")
    ] = 1024
    max_flash_mb_per_day: Annotated[
        int,
        Meta(ge=0, le=1_073_741_824,
             description="MB written to flash in a day; turns are committed more rarely to stay within it; 0 is no limit"),  # fmt: skip
    ] = 0
    retencion_dias: Annotated[
        int, Meta(ge=1, le=36_500, description="days after which stored rows are dropped")
    ] = 30
    max_store_mb: Annotated[
        int, Meta(ge=1, le=1_073_741_824, description="disk for the store of results")
    ] = 200
    max_skew: Annotated[
        int,
        Meta(ge=1, le=315_360_000, description="seconds a reading's time may be behind its arrival"),
    ] = 86_400
    max_adelanto: Annotated[
        int,
        Meta(ge=1, le=3600, description="seconds a reading's time may be ahead of its arrival"),
    ] = 10
    retraso_max: Annotated[
        float, Meta(ge=0, le=3600, description="seconds a window waits for late readings")
    ] = 2.0
    hibernar_tras: Annotated[
        int,
        Meta(ge=0, le=31_536_000, description="idle seconds before entities hibernate; 0 is never"),
    ] = 600
    mensajes_mb: Annotated[
        int, Meta(ge=0, le=1_073_741_824, description="bound of the output streams; 0 keeps none")
    ] = 64
    conservar_diario_mb: Annotated[
        int, Meta(ge=0, le=1_073_741_824, description="journal kept after it was trimmed")
    ] = 0
    fragmentos: Annotated[
        Annotated[int, Meta(ge=1, le=4096)] | None,
        Meta(description="shards of a fleet on Redis: 1, and 16 where Celery is used"),
    ] = None
    fuentes: Annotated[
        tuple[Fuente, ...], Meta(description="where readings come from besides the journal")
    ] = ()


class PluginSection(Struct, frozen=True, kw_only=True):
    """What CoreC itself reads of a plugin's configuration; the other keys are the plugin's."""

    enabled: Annotated[bool, Meta(description="false skips the plugin")] = True
    intervalo: Annotated[
        float, Meta(gt=0, le=86_400, description="seconds between two passes of the plugin")
    ] = 1.0
    aislado: Annotated[bool, Meta(description="true runs the plugin in a process of its own")] = (
        False
    )
    pase_max: Annotated[
        float, Meta(gt=0, le=3600, description="seconds one pass of the plugin may take")
    ] = 10.0
    max_ram_mb: Annotated[
        int, Meta(ge=1, le=1_048_576, description="RAM of the plugin without its blocks")
    ] = 256
    max_mb_s: Annotated[
        float, Meta(gt=0, le=1000, description="MB a second that the plugin may send")
    ] = 1.0


PluginFile = dict[str, dict[str, Any]]
