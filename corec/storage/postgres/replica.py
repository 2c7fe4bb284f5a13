"""Choose the server to read from: the replica of `db_config`, or the primary when the replica is away or behind."""

import logging

from corec.config.servers import DbServer
from corec.errors import ServerError
from corec.storage.postgres.session import Session, where

log = logging.getLogger("corec.storage.postgres_replica")

#: A replica that is further behind is not read while the primary answers.
MOST_BEHIND_S = 10.0
# With a connection to the server, and all of what came over it replayed, silence is no lag: nothing was committed.
_LAG = """SELECT pg_is_in_recovery(), CASE
 WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() AND EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 0
 ELSE coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 0) END::float"""


def lag(replica: DbServer) -> tuple[bool, float]:
    """(whether it follows another server, seconds behind); ServerError when it cannot be asked."""
    session = Session(replica, name="status", read_only=True)
    try:
        return session.query(_LAG)[0]
    finally:
        session.close()


def described(replica: DbServer) -> str:
    """The state of the replica in words."""
    try:
        follows, behind = lag(replica)
    except ServerError as error:
        return f"{where(replica)}, cannot be read: {error.text}"
    return f"{where(replica)}, " + (f"{behind:.1f} s behind" if follows else "which follows nobody: it is no replica")


def to_read(server: DbServer) -> DbServer:
    """The replica of *server* if it is at most MOST_BEHIND_S behind, else *server*. A replica that is passed over is logged."""
    if server.replica is None:
        return server
    try:
        behind = lag(server.replica)[1]
    except ServerError as error:
        log.warning("[Store] the replica %s cannot be read, so %s is: %s", where(server.replica), where(server), error.text)
        return server
    if behind <= MOST_BEHIND_S or not _answers(server):
        return server.replica
    log.warning("[Store] the replica %s is %.0f s behind, so %s is read", where(server.replica), behind, where(server))
    return server


def _answers(server: DbServer) -> bool:
    try:
        lag(server)
    except ServerError:
        return False
    return True
