"""The options that select rows of a store."""

from collections.abc import Callable

import click

from corec.cli.common.base import config_option, data_option, embedded_option
from corec.cli.common.moments import FORMS, Moment


def row_options(command: Callable) -> Callable:
    """--data, --config, --embedded, --blocks, --since, --until, --alerts."""
    options = (
        data_option,
        config_option,
        embedded_option,
        click.option("--blocks", metavar="PATTERN", default="*", show_default=True,
                     help="Blocks by id; * and ? stand for anything."),
        click.option("--since", type=Moment(), help=f"From this time on: {FORMS}."),
        click.option("--until", type=Moment(), help="Before this time."),
        click.option("--alerts", is_flag=True, help="Alerts instead of windows."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command
