"""What the configuration files may say: every key with its type, range, default and meaning.

These structs are the one source: they check the files, the hints of errors quote their
descriptions, and the JSON Schema for editors is generated from them.  A default that
depends on another key is `UNSET` here and resolved in `blocks`.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from corec.config.organs import Auditoria, Ejecucion, Sincronizacion

MAX_WIRE_ID = 2**32 - 1
#: Largest magnitude the engine's 32-bit floats hold.
MAX_FLOAT32 = 3.4e38

Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        # `(?!\n)`: Python's `$` alone would let a line break pass at the end
        pattern=r"^[^\x00-\x20/]([^\x00-\x1f/]*[^\x00-\x20/])?$(?!\n)",
        extra={"expected": "a name of 1 to 64 characters, without '/' and no space at its ends"},
    ),
]
WireId = Annotated[int, Meta(ge=0, le=MAX_WIRE_ID)]
Limit = Annotated[float, Meta(ge=-MAX_FLOAT32, le=MAX_FLOAT32)]
#: Keeps every value of a native function, a counter's 2**24 steps included, below the engine's bound of 1e18.
Coefficient = Annotated[float, Meta(ge=-1e10, le=1e10)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Weight = Annotated[float, Meta(ge=0, le=1000)]
Text = Annotated[str, Meta(min_length=1)]
Port = (
    Annotated[int, Meta(ge=1, le=65535)]
    | Annotated[str, Meta(pattern=r"^([0-9]{1,5}|.*\$\{.+\}.*)$")]
)
PORT_EXTRA = {"expected": "a port from 1 to 65535, as number or string"}
SECRET = {"secret": True}
ROLES = ("generica", "sensor", "analisis")


class AutoReparacion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a block repairs its entities, and when it counts as weak."""

    max_errores: Annotated[
        Fraction, Meta(description="share of failing entities above which a block is repaired")
    ] = 0.05
    min_fitness: Annotated[
        Fraction, Meta(description="fitness below which a block is weak and may be fused")
    ] = 0.2


class Limites(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Values outside these raise an alert; null is no limit."""

    bajo: Annotated[Limit | None, Meta(description="alert below this value")] = None
    alto: Annotated[Limit | None, Meta(description="alert above this value")] = None


class Filtro(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far a value has to move before a message leaves."""

    umbral: Annotated[
        float,
        Meta(
            ge=0, le=MAX_FLOAT32, description="least change worth a message, in the sensor's unit"
        ),
    ] = 0.0
    desviacion: Annotated[
        Weight, Meta(description="how many standard deviations are added to the threshold")
    ] = 2.0
    carga: Annotated[Weight, Meta(description="how much full load raises the threshold")] = 1.0
    errores: Annotated[Weight, Meta(description="how much recent errors raise the threshold")] = 1.0
    latido: Annotated[
        int,
        Meta(
            ge=1, le=86_400, description="seconds after which a message leaves even without change"
        ),
    ] = 60
    memoria: Annotated[
        float, Meta(gt=0, le=0.5, description="step of the slow reference towards each reading")
    ] = 0.0005


FunctionName = Literal["random", "constant", "sine", "counter"]


class Funcion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A native function that computes the values of the entry's entities."""

    nombre: Annotated[FunctionName, Meta(description="the function")]
    a: Annotated[Coefficient, Meta(description="lower end, constant, offset or first count")] = 0.0
    b: Annotated[Coefficient, Meta(description="upper end, amplitude or step")] = 1.0
    periodo: Annotated[
        float, Meta(gt=0, le=31_536_000, description="seconds of one period of a sine")
    ] = 60.0


class Dispositivos(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rows of a device table, written into the configuration itself as columns."""

    device: Annotated[tuple[WireId, ...], Meta(description="id on the wire of each device")]
    name: Annotated[tuple[str, ...], Meta(description="name of each device, '' for none")] = ()
    unit: Annotated[tuple[str, ...], Meta(description="unit of each device, '' for none")] = ()
    low: Annotated[
        tuple[Limit | None, ...], Meta(description="alert below this value, null for none")
    ] = ()
    high: Annotated[
        tuple[Limit | None, ...], Meta(description="alert above this value, null for none")
    ] = ()


class BlockSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of `bloques`: a swarm of entities of one kind, cut into blocks."""

    id: Annotated[Name, Meta(description="name of the entry; its blocks are <id>/0, <id>/1, ...")]
    canal: Annotated[
        int,
        Meta(
            ge=0,
            le=127,
            description="channel of all its entities, 0 to 127; 2, 3 and 5 are critical",
            extra={"hint": "channels 2, 3 and 5 are critical; 1 is the usual one for sensors"},
        ),
    ]
    entidades: Annotated[
        int, Meta(ge=1, le=MAX_WIRE_ID + 1, description="number of entities, over all its blocks")
    ]
    max_size_mb: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=1024,
                description="bound of one block, an entity counting as 1 KB; 1, or 5 with a plugin",
            ),
        ]
        | UnsetType
    ) = UNSET
    entidades_por_bloque: (
        Annotated[
            int,
            Meta(
                ge=1, le=1_048_576, description="entities of one block; 1000, or 2000 with a plugin"
            ),
        ]
        | UnsetType
    ) = UNSET
    autoreparacion: Annotated[
        AutoReparacion, Meta(description="when a block repairs its entities, and when it is weak")
    ] = AutoReparacion()
    plugin: Annotated[
        Name | None, Meta(description="plugin that processes its blocks; plain blocks without it")
    ] = None
    ids: Annotated[
        WireId | Text | Dispositivos | None,
        Meta(
            description="first wire id, a CSV of device,name,unit,low,high, or its columns",
            extra={"expected": "a wire id, the path of a CSV, or an object of columns"},
        ),
    ] = None
    registrado: Annotated[
        bool, Meta(description="set by CoreC itself: one block that a program registered while running")
    ] = False
    nombres: Annotated[
        Text | tuple[str, ...] | None,
        Meta(
            description="set by CoreC itself: names of a registered block's entities, or their common prefix",
            extra={"expected": "a prefix or a list of names"},
        ),
    ] = None
    retirado: Annotated[
        bool, Meta(description="set by CoreC itself: a registered block that was detached; it keeps its ids")
    ] = False
    silencio_max: Annotated[
        int, Meta(ge=0, le=7200, description="seconds of silence that raise an alert; 0 is never")
    ] = 0
    ventana: Annotated[
        float, Meta(ge=0.1, le=3600, description="seconds of event time in one aggregate")
    ] = 1.0
    limites: Annotated[Limites, Meta(description="values outside these raise an alert")] = Limites()
    intervalo: Annotated[
        float, Meta(ge=0.1, le=3600, description="seconds between two values of a native function")
    ] = 1.0
    filtro: Annotated[
        Filtro, Meta(description="how far a value has to move before a message leaves")
    ] = Filtro()
    funcion: Annotated[
        FunctionName | Funcion | None, Meta(description="native function that computes the values")
    ] = None


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
        int, Meta(ge=0, le=2**63 - 1, description="seed; the same one gives the same readings")
    ] = 1


Fuente = Annotated[
    Literal["host", "simulada"] | FuenteHost | FuenteSimulada,
    Meta(extra={"expected": '"host", "simulada" or an object with "tipo"'}),
]


class ServerSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What both server sections have; strings may hold ${ENVIRONMENT_VARIABLE}."""

    host: Annotated[Text, Meta(description="host name or address")] = "localhost"
    password: Annotated[str, Meta(description="password; '' for none", extra=SECRET)] = ""
    password_file: Annotated[
        Text | None, Meta(description="file that holds the password, instead of `password`")
    ] = None

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}('***')"  # a traceback that shows variables must not show these
        )


class ReplicaSection(ServerSection, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A PostgreSQL that follows the primary; what is not given is as in db_config."""

    user: Annotated[Text | None, Meta(description="user")] = None
    port: Annotated[Port, Meta(description="port, as number or string", extra=PORT_EXTRA)] = 5432


class DbSection(ServerSection, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Connection to PostgreSQL; strings may hold ${ENVIRONMENT_VARIABLE}."""

    dbname: Annotated[Text, Meta(description="database")] = "corec_db"
    user: Annotated[Text, Meta(description="user")] = "postgres"
    port: Annotated[Port, Meta(description="port, as number or string", extra=PORT_EXTRA)] = 5432
    sslmode: Annotated[
        Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None,
        Meta(description="TLS, in libpq's words; prefer if not given"),
    ] = None
    sslrootcert: Annotated[
        Text | None, Meta(description="certificate of the authority that verify-ca and verify-full trust")
    ] = None
    replica: Annotated[
        ReplicaSection | None,
        Meta(description="server that queries and pages read from; the primary if not given"),
    ] = None
    particion_canales: Annotated[
        tuple[Annotated[int, Meta(ge=0, le=127)], ...],
        Meta(description="channels with a partition of their own under each month", examples=[[1, 2]]),
    ] = ()


class RedisSection(ServerSection, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Connection to Redis; strings may hold ${ENVIRONMENT_VARIABLE}."""

    port: Annotated[Port, Meta(description="port, as number or string", extra=PORT_EXTRA)] = 6379
    username: Annotated[str, Meta(description="user of the ACL; '' for none")] = ""
    unix_socket: Annotated[
        Text | None, Meta(description="path of a Unix socket, instead of host and port")
    ] = None
    tls: Annotated[bool, Meta(description="true encrypts; ca, cert or key do so too")] = False
    ca: Annotated[Text | None, Meta(description="file of the CA that signed the server")] = None
    cert: Annotated[Text | None, Meta(description="file of the node's own certificate")] = None
    key: Annotated[Text | None, Meta(description="file of that certificate's private key")] = None
    max_mb: Annotated[
        int,
        Meta(ge=1, le=1_048_576, description="RAM of a shard's streams; beyond it senders wait"),
    ] = 64


class CelerySection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Celery runs the turns: several workers, on this machine and others, share the shards."""

    broker: Annotated[
        str,
        Meta(
            description="URL of a plain Redis or another broker; '' is the Redis of redis_config",
            extra=SECRET,
        ),
    ] = ""
    worker_concurrency: Annotated[
        int, Meta(ge=1, le=256, description="workers that `corec workers` starts, one process each")
    ] = 2

    def __repr__(self) -> str:
        return "CelerySection('***')"


class CoreFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """corec_config.json: the node, its blocks and its connections."""

    schema_url: Annotated[
        str, Meta(description="JSON Schema for editors; CoreC does not read it")
    ] = field(name="$schema", default="")
    instance_id: Annotated[Name, Meta(description="unique name of the node")] = "corec1"
    db_config: Annotated[
        DbSection | None,
        Meta(description="connection to PostgreSQL; the node is embedded without", extra=SECRET),
    ] = None
    redis_config: Annotated[
        RedisSection | None,
        Meta(description="connection to Redis; the node is embedded without", extra=SECRET),
    ] = None
    celery_config: Annotated[
        CelerySection | None,
        Meta(description="Celery workers that run the turns; the node itself does without"),
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
            description="modules that run, accents or not; registro always does",
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
        int, Meta(ge=1, le=1_048_576, description="RAM of the whole node; more is refused at start")
    ] = 1024
    max_disk_mb: Annotated[
        int, Meta(ge=1, le=1_073_741_824, description="disk for the journal of readings")
    ] = 1024
    max_flash_mb_per_day: Annotated[
        int, Meta(ge=0, le=1_073_741_824, description="flash written in a day: commits come rarer to stay within; 0 is no cap")
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
    ] = 3600
    max_adelanto: Annotated[
        int,
        Meta(ge=1, le=3600, description="seconds a reading's time may be ahead of its arrival"),
    ] = 10
    retraso_max: Annotated[
        float, Meta(ge=0, le=60, description="seconds a window waits for late readings")
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
