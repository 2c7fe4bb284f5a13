"""What the sections of corec_config.json that configure modules may hold."""

from typing import Annotated, Literal

from msgspec import Meta, Struct


class Sincronizacion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the module `sincronizacion` has weak blocks fused."""

    ventanas: Annotated[
        int, Meta(ge=1, le=86_400, description="consecutive windows in which a block has to be weak")
    ] = 10
    carga: Annotated[
        float, Meta(ge=0, le=100, description="how much load lengthens that: at full load by 1 + carga")
    ] = 1.0
    fusiones_por_minuto: Annotated[
        int, Meta(ge=0, le=1000, description="fusions in any minute; 0 proposes none")
    ] = 2


class Auditoria(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the anomaly score of a block raises an alert."""

    ventanas: Annotated[
        int,
        Meta(ge=16, le=1_000_000, description="longest half-life, in windows of the block, of the peak that its score has to exceed"),
    ] = 1500
    umbral: Annotated[float, Meta(ge=0, le=1000, description="least score of an alert")] = 3.0


class Ejecucion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where blocks are stepped."""

    modo: Annotated[
        Literal["local", "celery"] | None,
        Meta(description="local: in this node; celery: by workers, as soon as there is a celery_config"),
    ] = None
