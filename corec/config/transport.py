"""What the configuration says of the way to each server: whether it is encrypted, and whether the server has to prove who it is."""
import ipaddress
from typing import TYPE_CHECKING

from corec.config.servers import DbServer

if TYPE_CHECKING:
    from corec.config import Config

#: libpq's modes, each with what it holds off.
SSL_MODES = {
    "disable": "nothing is encrypted",
    "allow": "encrypted only where the server insists, and nobody checks which server it is",
    "prefer": "encrypted where the server offers it, and nobody checks which server it is",
    "require": "encrypted, but nobody checks which server it is",
    "verify-ca": "encrypted, by a server with a certificate of this authority, under whatever name",
    "verify-full": "encrypted, by a server with a certificate of this authority for this host's name",
}
#: libpq's own default.
DEFAULT_MODE = "prefer"


def way_to_postgres(server: DbServer) -> str:
    """`sslmode` in words; `require` with a certificate of an authority is `verify-ca`, as libpq has it."""
    if server.host.startswith("/"):
        return "a Unix socket: nothing leaves this machine"
    mode = server.sslmode or DEFAULT_MODE
    meant = "verify-ca" if mode == "require" and server.sslrootcert else mode
    return f"sslmode {mode}{'' if server.sslmode else ', by default'}: {SSL_MODES[meant]}"


def unprotected(config: "Config") -> list[str]:
    """A line for each server on another machine that somebody on the way could read or stand in for."""
    found = []
    db, redis = config.db_config, config.redis_config
    for name, server in (("db_config", db), ("db_config.replica", db and db.replica)):
        if server and not is_here(server.host) and server.sslmode != "verify-full":
            found.append(f"{name}: {server.host} is another machine; {way_to_postgres(server)}."
                         ' HINT: "sslmode": "verify-full", with the authority in "sslrootcert"')  # fmt: skip
    if redis and not redis.unix_socket and not is_here(redis.host) and not redis.tls:
        found.append(f'redis_config: {redis.host} is another machine, and readings and the password go there in clear. HINT: "tls": true')
    return found


def is_here(host: str) -> bool:
    """Whether a host is this machine, by its name or address alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.startswith("/") or host == "localhost"
