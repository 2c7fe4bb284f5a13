"""`corec workers`: the Celery workers of this machine."""

from pathlib import Path

import click

from corec.cli.common.base import EXIT_CODES, config_option, config_path, load_config


@click.command(short_help="Run Celery workers.", epilog=EXIT_CODES)
@config_option
@click.option("-n", "--number", type=click.IntRange(1, 256), help="How many.  [default: celery_config.worker_concurrency]")
@click.option("--rol", help="What they do: generica, sensor, analisis.  [default: as configured]")
@click.option("--loglevel", default="info", type=click.Choice(["debug", "info", "warning", "error"]), help="[default: info]")
def workers(config: Path | None, number: int | None, rol: str | None, loglevel: str) -> None:
    """Run the workers that fold the shards of a fleet, one process each, until Ctrl-C.

    The configuration needs redis_config, db_config and celery_config, the same as the node's.  Workers may run on any
    number of machines; shards move to those that come and away from those that go.  Those whose role is analisis take no
    shards: they do the long work of `corec rescore` and `corec compact`.

    \b
    corec workers
    corec workers --config /etc/corec -n 4
    """
    import threading

    from corec.common import logs
    from corec.config.types import ROLES
    from corec.errors import ConfigError
    from corec.node.stop_signals import stop_signals
    from corec.workers.celery_app import require_plain_broker
    from corec.workers.processes import keep_running

    if rol not in (None, *ROLES):
        raise click.BadParameter(f"expected one of {', '.join(ROLES)}, got {rol!r}", param_hint="--rol")
    logs.setup()
    path, loaded = config_path(config), load_config(config)
    if loaded.celery_config is None:
        raise ConfigError(f"expected a celery_config in {path}, got none", hint="docs/celery.md says what goes in")
    require_plain_broker(loaded)
    over = threading.Event()
    with stop_signals(over.set):
        keep_running(number or loaded.celery_config.worker_concurrency, str(Path(path).resolve()), rol, loglevel, over, click.echo)
