"""`corec check`: is the configuration right, does it fit, is the data folder whole?"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from corec.cli.base import EXIT_CODES, config_option, embedded_option, load_config

if TYPE_CHECKING:
    from corec.config import BlockEntry, Config


@click.command(short_help="Check configuration, price in RAM, data folder.", epilog=EXIT_CODES)
@config_option
@embedded_option
@click.option(
    "--data", metavar="DIR", type=click.Path(path_type=Path), help="Verify this data folder, every byte of it."
)
def check(config: Path | None, embedded: bool, data: Path | None) -> None:
    """Check both configuration files, show their blocks, ids on the wire and price in RAM, refuse what cannot fit.

    With --data, verify a data folder; together with --config, do both.

    \b
    corec check
    corec check --data data
    """
    if data is None or config is not None:
        _check_config(load_config(config, embedded=embedded))
    if data is not None:
        _check_data(data)


def _check_config(config: "Config") -> None:
    from corec.cli.table import columns
    from corec.config.ram_price import admit, price
    from corec.wording import counted

    entities = sum(entry.entidades for entry in config.bloques)
    blocks = sum(entry.blocks for entry in config.bloques)
    click.echo(f"{config.source}: {counted(blocks, 'block')}, {counted(entities, 'entity')}\n")
    if config.bloques:
        header = ["entry", "canal", "entities", "blocks", "ids on the wire", "plugin"]
        rows = [_entry(entry) for entry in config.bloques]
        click.echo("\n".join(columns(header, rows, ["entry", "blocks", header[4], "plugin"])) + "\n")
    click.echo("RAM with every entity awake\n" + "\n".join(price(config).lines()) + "\n")
    for warning in config.warnings:
        click.echo(f"warning: {warning}\n")
    admit(config)
    click.echo("right, and it fits")


def _entry(entry: "BlockEntry") -> list[str]:
    blocks = f"{entry.id}/0" + (f" to /{entry.blocks - 1}" if entry.blocks > 1 else "")
    if entry.table is None:
        ids = f"{entry.first_id} to {entry.first_id + entry.entidades - 1}"
    else:
        ids = f"{len(entry.table):,} from {entry.ids or 'a table'}"
    return [entry.id, str(entry.canal), f"{entry.entidades:,}", blocks, ids, entry.plugin or "-"]


def _check_data(data: Path) -> None:
    from corec.cli.check_data import verify_folder
    from corec.errors import ExitCode

    problems = 0
    for name, found, wrong in verify_folder(data):
        click.echo(f"{name:<10} {found}" + (": sound" if not wrong else ""))
        for problem in wrong:
            click.echo(f"           {problem}")
        problems += len(wrong)
    if problems:
        click.echo("HINT: start the node: what is damaged it puts aside, and recovers from the rest", err=True)
        click.get_current_context().exit(int(ExitCode.DATA))
