"""`corec run`: runs a node and shows its status, live on a terminal, else as lines."""

from pathlib import Path

import click

from corec.cli.common.base import (
    EXIT_CODES,
    PACKAGED,
    config_option,
    config_path,
    data_option,
    embedded_option,
    load_config,
    on_terminal,
)
from corec.cli.common.moments import Seconds


@click.command(short_help="Run a node.", epilog=EXIT_CODES)
@config_option
@click.option(
    "--plugins", metavar="DIR", type=click.Path(path_type=Path), help="Folder of plugins.  [default: ./plugins]"
)
@data_option
@embedded_option
@click.option("--for", "seconds", type=Seconds(), help="Stop after so many seconds, or 10m, 2h.")
@click.option("--adopt", is_flag=True, help="Take over a data folder that was used under another instance_id.")
def run(config: Path | None, plugins: Path | None, data: Path, embedded: bool, seconds: float | None, adopt: bool) -> None:
    """Run a node until Ctrl-C.

    On a terminal its status is shown live; elsewhere a line comes every few seconds.  Readings that were accepted
    survive a kill at any moment: start it again on the same data folder.

    \b
    corec run
    corec run --config configs/demo --data /tmp/demo --for 60
    """
    from corec.cli.output.status_view import LineView, LiveView
    from corec.common import logs
    from corec.nucleus import CoreCNucleus

    logs.setup()
    _log_packaged_configuration(config_path(config))
    loaded = load_config(config, embedded=embedded)
    nucleus = CoreCNucleus(loaded, data=data, plugins=_folder(plugins), adopt=adopt)
    with LiveView(nucleus) if on_terminal() else LineView(nucleus):
        nucleus.run(seconds)


def _log_packaged_configuration(path: Path) -> None:
    import logging

    if path == PACKAGED:
        logging.getLogger("CoreC").info("using the configuration that comes with CoreC; `corec init` writes your own to ./configs")


def _folder(plugins: Path | None) -> Path | None:
    """The folder of plugins: the given one, else ./plugins, else the packaged one.  PluginError where the given one is missing."""
    from corec.errors import PluginError

    if plugins is not None and not plugins.is_dir():
        raise PluginError(f"expected a folder of plugins, got {plugins}, which is none")
    return plugins or next((folder for folder in (Path("plugins"), PACKAGED / "plugins") if folder.is_dir()), None)
