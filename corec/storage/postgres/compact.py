"""Reduce months of fine windows to one row a minute. The month is written anew and replaces the old one."""
import datetime

from corec.config.servers import DbServer
from corec.storage.postgres.session import Session

_MONTHS = "SELECT since FROM corec_partitions('bloques') WHERE until <= to_timestamp(%s / 1000.0)::date ORDER BY since"


def fine_months(server: DbServer, before: int) -> list[str]:
    """The months, such as 2025-04, that ended before *before* (ms since 1970)."""
    session = Session(server, name="compact")
    try:
        return [f"{since:%Y-%m}" for (since,) in session.query(_MONTHS, (before,))]
    finally:
        session.close()


def compact_month(server: DbServer, month: str) -> int | None:
    """Number of rows of *month* afterwards; None when it had nothing finer than minutes."""
    session = Session(server, name="compact")
    try:
        first = datetime.date.fromisoformat(f"{month}-01")
        with session.transaction() as cursor:
            cursor.execute("SELECT corec_compact_month(%s)", (first,))
            return cursor.fetchone()[0]
    finally:
        session.close()
