"""`corec db`: make the database that db_config names, bring it to the newest form, say how it stands."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from corec.cli.common.base import EXIT_CODES, config_option, load_config
from corec.errors import UsageError

if TYPE_CHECKING:
    from corec.config import Config, DbServer, Secret


@click.group(epilog=EXIT_CODES, short_help="Make, migrate and look at the PostgreSQL database.")
def db() -> None:
    """Make the database that `db_config` names, bring its tables to the newest form, say how it stands.

    \b
    corec db init --admin postgres
    corec db status
    """


def admin_options(command: Callable) -> Callable:
    options = (
        click.option("--admin", metavar="USER", default="postgres", show_default=True, help="Who may make databases and roles."),
        click.option("--admin-password-file", metavar="FILE", type=click.Path(path_type=Path),
                     help="File with the administrator's password.  [default: COREC_DB_ADMIN_PASSWORD, else what libpq finds itself]"),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@db.command(epilog=EXIT_CODES, short_help="Make database, tables and roles.")
@config_option
@admin_options
@click.option("--writer-password-file", metavar="FILE", type=click.Path(path_type=Path),
              help="File with the writer's password.  [default: COREC_DB_WRITER_PASSWORD, else the one in db_config]")  # fmt: skip
@click.option("--reader-password-file", metavar="FILE", type=click.Path(path_type=Path),
              help="File with the reader's password.  [default: COREC_DB_READER_PASSWORD, else none]")  # fmt: skip
def init(config: Path | None, admin: str, admin_password_file: Path | None, writer_password_file: Path | None,
         reader_password_file: Path | None) -> None:  # fmt: skip
    """Make database, tables and roles: an owner who cannot log in, a writer for nodes, a reader for people and pages.

    Twice does no harm: what is there stays, what is missing is made, passwords that are given are set.  Passwords come
    from files or the environment, never from the command line.

    \b
    corec db init --admin postgres
    COREC_DB_READER_PASSWORD=$(cat reader.secret) corec db init
    """
    from corec.storage.postgres import roles as postgres_roles

    server = _server(load_config(config))
    roles = postgres_roles.roles_of(server, admin)
    own = server.password if server.user == roles.writer else None
    writer = _password(writer_password_file, "COREC_DB_WRITER_PASSWORD") or own
    reader = _password(reader_password_file, "COREC_DB_READER_PASSWORD")
    for line in postgres_roles.init(server, _as_admin(server, admin, admin_password_file), roles, writer, reader):
        click.echo(line)
    if server.user != roles.writer:
        click.echo(f"db_config.user is the administrator: let it be {roles.writer}, which has the least rights a node needs")


@db.command(epilog=EXIT_CODES, short_help="Bring the tables to the newest form.")
@config_option
@admin_options
def migrate(config: Path | None, admin: str, admin_password_file: Path | None) -> None:
    """Bring the tables to the form that this CoreC knows; never back.

    \b
    corec db migrate
    """
    from corec.storage.postgres import roles as postgres_roles
    from corec.storage.postgres import schema as postgres_schema

    server = _server(load_config(config))
    roles = postgres_roles.roles_of(server, admin)
    before, now = postgres_schema.migrate(_as_admin(server, admin, admin_password_file), role=roles.owner)
    click.echo(f"version {now}" + (", as it was" if before == now else f", before {before}"))


@db.command(epilog=EXIT_CODES, short_help="Show the server, its tables, and who writes.")
@config_option
def status(config: Path | None) -> None:
    """Show the server, the version of the tables, who writes, and how much is stored.

    \b
    corec db status
    """
    from corec.cli.output.table import Table, columns
    from corec.storage.postgres.report import report

    found = report(_server(load_config(config)))
    click.echo("\n".join(f"{name:<11} {value}" for name, value in found.facts))
    for header, rows in found.tables:
        click.echo("\n" + "\n".join(columns(Table(header, rows, left=header[:1]))))


def _server(config: "Config") -> "DbServer":
    if config.db_config is None:
        raise UsageError(f"expected a db_config, got none - in {config.source}",
                         hint='"db_config": {"host": "localhost", "dbname": "corec_db", "user": "corec_writer", ...}')  # fmt: skip
    return config.db_config


def _as_admin(server: "DbServer", admin: str, file: Path | None) -> "DbServer":
    from msgspec import structs

    password = _password(file, "COREC_DB_ADMIN_PASSWORD") or (server.password if server.user == admin else None)
    return structs.replace(server, user=admin, password=password)


def _password(file: Path | None, variable: str) -> "Secret | None":
    import os

    from corec.config import Secret

    if file is None:
        text: Any = os.environ.get(variable)
    else:
        try:
            text = file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"expected a file with a password, got {file}: {error}") from None
    return Secret(text) if text else None
