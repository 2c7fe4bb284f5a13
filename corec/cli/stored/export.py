"""`corec export`: windows and alerts as CSV or NumPy file, readings as .frames."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from corec.cli.common.base import EXIT_CODES
from corec.cli.common.row_options import row_options
from corec.cli.output.whole_file import whole_file
from corec.common.text import counted
from corec.errors import DiskFull, UsageError
from corec.storage.disk import explain


@click.command(short_help="Stored windows, alerts or readings to a file.", epilog=EXIT_CODES)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@row_options
def export(file: Path, data: Path, config: Path | None, embedded: bool, blocks: str, since: int | None, until: int | None,
           alerts: bool) -> None:  # fmt: skip
    """Write what a node has stored to FILE: .csv (or -, standard output), .npy (a structured array), or .frames (the
    readings that its journal still holds, for `corec replay`).

    \b
    corec export today.csv --since 24h
    corec export alerts.npy --alerts && python -c "import numpy; print(numpy.load('alerts.npy')[:3])"
    corec export readings.frames --since 1h
    """
    kind = ".csv" if str(file) == "-" else file.suffix.lower()
    if kind == ".frames":
        done = _export_readings(file, data, blocks, since, until, alerts)
    elif kind in (".csv", ".npy"):
        done = _export_rows(file, kind, data, config, embedded, blocks, since, until, alerts)
    else:
        raise UsageError(
            f"expected a file that ends in .csv, .npy or .frames, got {file}", hint="- is CSV on standard output"
        )
    if str(file) != "-":
        click.echo(f"{done} in {file}", err=True)


def _export_rows(file: Path, kind: str, data: Path, config: Path | None, embedded: bool, blocks: str, since: int | None,
                 until: int | None, alerts: bool) -> str:  # fmt: skip
    from corec.cli.output.rows_out import named_rows, save_npy, write_csv
    from corec.cli.stored.history import entity_names, opened, read_rows

    with opened(data, config, embedded) as reader:
        rows = read_rows(reader, blocks, since, until, alerts)
        ids = {block.index: block.id for block in reader.blocks()}
    named = named_rows(rows, ids, entity_names(data, config) if alerts else None)
    with _explained(file), whole_file(file) as target:
        (write_csv if kind == ".csv" else save_npy)(target, named)
    return counted(len(rows), "alert" if alerts else "window")


def _export_readings(file: Path, data: Path, blocks: str, since: int | None, until: int | None, alerts: bool) -> str:
    from corec.cli.output.journal_out import envelopes
    from corec.sources.recordings.frames_recording import write_frames

    if alerts or blocks != "*":
        raise UsageError("a .frames file holds all readings of a span of time", hint="leave out --alerts and --blocks")
    with _explained(file), whole_file(file) as target:
        return counted(write_frames(target, envelopes(data, since, until)), "batch")


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    """An error of the system as one of CoreC: DiskFull where there is no room, else UsageError."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if isinstance(full := explain(error, "write", file), DiskFull):
            raise DiskFull(full.text, detail=full.detail, hint="free some space on this disk, or name a file on another") from None
        raise UsageError(f"expected a file that can be written, got {(error.strerror or 'an error').lower()} - at {file}") from None
