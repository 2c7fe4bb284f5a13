"""`corec rescore`, `train`, `plan` and `compact`: long work on what is stored, by a worker of the fleet or here."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from corec.cli.common.base import EXIT_CODES, config_option, data_option, load_config
from corec.cli.common.moments import Moment

if TYPE_CHECKING:
    from corec.config import Config

_here = click.option("--here", is_flag=True, help="Do it in this process, not by a worker.")
WAIT_S = 3600


@click.command(short_help="Judge stored windows anew.", epilog=EXIT_CODES)
@config_option
@click.option("--since", type=Moment(), default="1d", help="From then on: 10m, 2h, 1d ago, or a time.  [default: 1d]")
@click.option("--umbral", type=click.FloatRange(0, 1000), help="Least score of an anomaly.  [default: auditoria.umbral]")
@click.option("--ventanas", type=click.IntRange(16, 1_000_000), help="Half-life of the peak, windows.  [default: auditoria.ventanas]")
@data_option
@_here
def rescore(config: Path | None, since: int, umbral: float | None, ventanas: int | None, data: Path, here: bool) -> None:
    """Which blocks would have raised anomalies with other settings of `auditoria`?  Nothing is changed.

    \b
    corec rescore --since 2h --umbral 4
    """
    from corec.common.times import wall_ms
    from corec.workers import analysis

    wanted = {"since": since, "until": wall_ms(), "umbral": umbral, "ventanas": ventanas}
    _answer(load_config(config), "corec.rescore", wanted, here, lambda loaded: analysis.rescore(loaded, **wanted, data=data))


@click.command(short_help="Fit auditoria to stored windows.", epilog=EXIT_CODES)
@config_option
@click.option("--since", type=Moment(), default="7d", help="From then on: 2h, 7d ago, or a time.  [default: 7d]")
@click.option("--per-day", type=click.FloatRange(0, 1_000_000), default=1.0, help="Anomalies that a day may have.  [default: 1]")
@data_option
@_here
def train(config: Path | None, since: int, per_day: float, data: Path, here: bool) -> None:
    """Which `umbral` of `auditoria` would have raised so many anomalies a day and no more?

    Its "auditoria" is what corec_config.json takes; `corec reload` has node and workers take it over.

    \b
    corec train --since 7d --per-day 2 > auditoria.json
    """
    from corec.common.times import wall_ms
    from corec.workers import analysis

    wanted = {"since": since, "until": wall_ms(), "por_dia": per_day}
    _answer(load_config(config), "corec.train", wanted, here, lambda loaded: analysis.train(loaded, **wanted, data=data))


@click.command(short_help="Plan fusions of a fleet.", epilog=EXIT_CODES)
@config_option
@click.option("--since", type=Moment(), default="10m", help="By the windows from then on.  [default: 10m]")
@click.option("--dry-run", is_flag=True, help="Say what would be proposed; send nothing.")
@_here
def plan(config: Path | None, since: int, dry_run: bool, here: bool) -> None:
    """Have weak blocks fused into strong ones of their channel and shard, by the stored windows of all shards.

    The same rules as those of the module `sincronizacion`; the worker that has the shard decides.

    \b
    corec plan --since 10m --dry-run
    """
    from corec.common.times import wall_ms
    from corec.workers import fusions

    wanted = {"since": since, "until": wall_ms(), "dry_run": dry_run}
    _answer(load_config(config), "corec.plan", wanted, here, lambda loaded: fusions.plan(loaded, **wanted))


@click.command(short_help="Old months to a row a minute.", epilog=EXIT_CODES)
@config_option
@click.option("--days", type=click.FloatRange(0, 36_500), default=2.0, help="Months that ended so many days ago.  [default: 2]")
@_here
def compact(config: Path | None, days: float, here: bool) -> None:
    """Put a row a minute in the place of finer ones, in months of `bloques` that are over.  Needs a db_config.

    \b
    corec compact --days 7
    """
    from corec.errors import ConfigError
    from corec.workers import analysis

    loaded = load_config(config)
    if loaded.db_config is None:
        raise ConfigError("expected a db_config, got none", hint="an embedded node rolls its windows up by itself")
    _answer(loaded, "corec.compact", {"days": days}, here, lambda given: analysis.compact(given, days))


def _answer(config: "Config", task: str, arguments: dict[str, Any], here: bool, work: "Callable[[Config], Any]") -> None:
    done = work(config) if here or config.celery_config is None else _by_worker(config, task, arguments)
    click.echo(json.dumps(done, indent=2, ensure_ascii=False))


def _by_worker(config: "Config", task: str, arguments: dict[str, Any]) -> Any:
    from corec.errors import ServerError
    from corec.workers.celery_app import app_of

    app = app_of(config)
    if app.conf.result_backend is None:
        raise ServerError("expected a broker that keeps answers, got one that does not", hint="use --here, or a Redis as broker")
    click.echo("waiting for a worker whose `rol` is analisis: corec workers --rol analisis", err=True)
    return app.send_task(task, kwargs=arguments).get(timeout=WAIT_S)
