"""`corec check`: is the configuration right, does it fit, is the data folder whole?"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from corec.cli.common.base import EXIT_CODES, config_of_store, config_option, embedded_option, load_config

if TYPE_CHECKING:
    from corec.config import BlockEntry, Config


@click.command(short_help="Check configuration, price in RAM, data folder.", epilog=EXIT_CODES)
@config_option
@embedded_option
@click.option(
    "--data", metavar="DIR", type=click.Path(path_type=Path), help="Verify this data folder, every byte of it."
)
@click.option("--repair", is_flag=True, help="With --data: have the next start build a damaged store anew, from what is sound.")
def check(config: Path | None, embedded: bool, data: Path | None, repair: bool) -> None:
    """Check both configuration files, show their blocks, ids on the wire and price in RAM, refuse what cannot fit.

    With --data, verify a data folder, changing nothing in it; together with --config, do both.

    \b
    corec check
    corec check --data data
    corec check --data data --repair
    """
    if data is None or config is not None:
        _check_config(load_config(config, embedded=embedded))
    if data is not None:
        _check_data(data, repair, config_of_store(config, embedded, data))


def _check_config(config: "Config") -> None:
    from corec.cli.output.table import Table, columns, terminal_width
    from corec.common.machine_memory import memory_bound
    from corec.common.text import counted
    from corec.common.units import MB
    from corec.config.ram_price import admit, price, require_memory
    from corec.config.transport import unprotected

    entities = sum(entry.entidades for entry in config.bloques)
    blocks = sum(entry.blocks for entry in config.bloques)
    click.echo(f"{config.source}: {counted(blocks, 'block')}, {counted(entities, 'entity')}\n")
    if config.bloques:
        header = ["entry", "canal", "entities", "blocks", "ids on the wire", "plugin"]
        rows = [_entry(entry) for entry in config.bloques]
        table = Table(header, rows, ["entry", "blocks", header[4], "plugin"], ["entry", "plugin"])
        click.echo("\n".join(columns(table, width=terminal_width())) + "\n")
    bound = memory_bound()
    require_memory(admit(config), bound)    # their refusals hold the bill
    if bound and config.max_ram_mb * MB > bound.bytes:
        click.echo(f"warning: max_ram_mb allows {config.max_ram_mb:,} MB, and {bound.who} has {bound.bytes // MB:,} MB\n")
    click.echo("RAM with every entity awake\n" + "\n".join(price(config).lines(terminal_width())) + "\n")
    for warning in (*config.warnings, *unprotected(config)):
        click.echo(f"warning: {warning}\n")
    click.echo("right, and it fits")


def _entry(entry: "BlockEntry") -> list[str]:
    blocks = "/0" + (f" to /{entry.blocks - 1}" if entry.blocks > 1 else "")
    if entry.table is None:
        ids = f"{entry.first_id} to {entry.first_id + entry.entidades - 1}"
    else:
        ids = f"{len(entry.table):,} from {entry.ids or 'a table'}"
    return [entry.id, str(entry.canal), f"{entry.entidades:,}", blocks, ids, entry.plugin or "-"]


def _check_data(data: Path, repair: bool, config: "Config | None") -> None:
    from corec.cli.check_data import mark_store, verify_folder
    from corec.errors import ExitCode

    wrong = []
    for part in verify_folder(data, config):
        click.echo(f"{part.name:<10} {part.found}" + (": sound" if not part.problems else ""))
        for problem in part.problems:
            click.echo(f"           {problem}")
        wrong += [part] if part.problems else []
    if not wrong:
        return
    broken_store = any(part.name == "store" and part.remedy for part in wrong)
    if repair and broken_store:
        mark_store(data, "corec check found damage")
        click.echo("store      marked: the next start builds it anew, without what is damaged")
    for part in wrong:
        if part.remedy and not (repair and part.name == "store"):
            click.echo(f"HINT: {part.name}: {part.remedy.replace('DIR', str(data))}", err=True)
    click.get_current_context().exit(int(ExitCode.OK if repair and broken_store else ExitCode.DATA))
