"""`corec bench`: all benchmarks of a checkout, or a quick look where there are none."""

import sys
from importlib.util import find_spec
from pathlib import Path

import click

from corec.cli.common.base import EXIT_CODES

CHECKOUT = Path(__file__).resolve().parents[2]


@click.command(short_help="Measure this machine.", epilog=EXIT_CODES)
@click.option("--quick", is_flag=True, help="Only the quick look.")
def bench(quick: bool) -> None:
    """Measure this machine: each figure beside a yardstick timed in the same run.

    In a checkout with pytest-benchmark, all of benchmarks/; else a quick look of a few seconds.

    \b
    corec bench
    corec bench --quick
    """
    benchmarks = CHECKOUT / "benchmarks"
    if quick or not benchmarks.is_dir() or find_spec("pytest_benchmark") is None:
        from corec.cli.quick_bench import report

        click.echo(report())
        return
    import subprocess

    command = [
        sys.executable,
        "-m",
        "pytest",
        str(benchmarks),
        "-o",
        "testpaths=benchmarks",
        "-o",
        "python_files=bench_*.py",
    ]
    click.get_current_context().exit(subprocess.run(command, cwd=CHECKOUT, check=False).returncode)
