"""What the sections of corec_config.json that name servers may hold."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from corec.config.values import Text

Port = (
    Annotated[int, Meta(ge=1, le=65535)]
    | Annotated[str, Meta(pattern=r"^([0-9]{1,5}|.*\$\{.+\}.*)$")]
)
PORT_EXTRA = {"expected": "a port from 1 to 65535, as number or string"}
SECRET = {"secret": True}


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
        Meta(description="server that queries read from; the primary if not given"),
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
        Meta(ge=1, le=1_048_576, description="RAM of a shard's streams; above it senders wait"),
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
