"""`corec init`: a configuration of your own, a folder for plugins, systemd units."""

from collections.abc import Iterator
from pathlib import Path

import click

from corec.cli.common.base import EXIT_CODES, PACKAGED
from corec.errors import UsageError

NEXT = """
corec check     is it right, and does it fit?
corec run       run it here, with data in ./data
as a service    sudo cp corec.service /etc/systemd/system/ && sudo systemctl enable --now corec"""


@click.command(short_help="Write a configuration, plugins/ and systemd units.", epilog=EXIT_CODES)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path("."))
def init(folder: Path) -> None:
    """Write configs/, plugins/, corec.service and corec-worker@.service into FOLDER, this one by default.

    A file that is there already stays as it is.

    \b
    corec init
    corec init /opt/corec
    """
    files = {**configs(), **plugins(), **units(folder.resolve())}
    try:
        (folder / "plugins").mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            click.echo(f"{path!s:<40} {'written' if write(folder / path, content) else 'kept, it was there'}")
    except OSError as error:
        if error.filename is None:
            raise
        got = (error.strerror or "an error").lower()
        raise UsageError(f"expected a folder that can be written to, got {got} - at {error.filename}",
                         hint="name another one: corec init FOLDER") from None  # fmt: skip
    click.echo(f"{'plugins/':<40} a plugin is a folder in here with a main.py\n{NEXT}")


def write(path: Path, content: bytes) -> bool:
    """Write a file unless it exists; returns whether it was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


def configs() -> dict[Path, bytes]:
    """Both configuration files, and the schemas by which editors check them."""
    from corec.config.schema import schemas

    files = {file.name: file.read_bytes() for file in sorted(PACKAGED.glob("*.json"))}
    files |= {name: text.encode() for name, text in schemas().items()}
    return {Path("configs", name): content for name, content in files.items()}


def plugins() -> dict[Path, bytes]:
    """The files of the plugins that come with CoreC."""
    folder = bundled_plugins()
    return {Path("plugins", file.relative_to(folder)): file.read_bytes() for file in _visible(folder)}


def bundled_plugins() -> Path:
    """The folder of the plugins that come with CoreC: in the installed package, or beside it in a checkout."""
    installed = PACKAGED / "plugins"
    return installed if installed.is_dir() else PACKAGED.parents[2] / "plugins"


def _visible(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        hidden = any(part == "__pycache__" or part.startswith(".") for part in file.relative_to(folder).parts)
        if file.is_file() and not hidden:
            yield file


def units(folder: Path) -> dict[Path, bytes]:
    """The systemd units of a node that is configured in *folder*, and of its workers."""
    from string import Template

    from corec.cli.service import values

    known = values(folder)
    templates = {file.name: Template(file.read_text(encoding="utf-8")) for file in sorted(PACKAGED.glob("*.service"))}
    return {Path(name): template.substitute(known).encode() for name, template in templates.items()}
