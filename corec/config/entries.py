"""What an entry of `bloques` may say."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from corec.config.values import MAX_FLOAT32, MAX_WIRE_ID, Coefficient, Fraction, Limit, Name, Text, Weight, WireId


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
    ] = 0.00002


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
