"""The values of this machine in the systemd units that `corec init` writes."""

import getpass
import sys
from pathlib import Path

from corec.cli.common.base import PACKAGED
from corec.config import load
from corec.errors import ExitCode

#: Exit codes after which a supervisor must not restart the node.
HOPELESS = (ExitCode.USAGE, ExitCode.CONFIG, ExitCode.CAPACITY, ExitCode.IN_USE, ExitCode.FENCE_LOST, ExitCode.PLUGIN)
#: MB above max_ram_mb for what the kernel counts to a service besides its own pages.
SPARE_MB = 512
#: Files of the passwords that a node needs; the administrator's is not among them.
PASSWORDS = ("redis", "db_writer", "db_reader")
IN_USER_HOME = "# What it needs lies in this user's home; with Python and configs/ elsewhere, DynamicUser=yes is the better choice."


def values(folder: Path) -> dict[str, str]:
    """Placeholder of the unit -> text.  folder: holds configs/ and plugins/."""
    own = folder / "configs" / "corec_config.json"
    memory = load(own if own.is_file() else PACKAGED, embedded=True).max_ram_mb + SPARE_MB
    return {
        "folder": str(folder).replace("%", "%%"),
        "python": word(Path(sys.executable)),
        "configs": word(folder / "configs"),
        "plugins": word(folder / "plugins"),
        "account": account(folder, Path.home()),
        "hopeless": " ".join(str(code.value) for code in HOPELESS),
        "memory": str(memory),
        "hardening": (PACKAGED / "hardening.conf").read_text(encoding="utf-8").rstrip(),
        "secrets": secrets(folder / "secrets"),
    }


def secrets(folder: Path) -> str:
    """Lines that show the service its password files only; only the owner may read their folder.  "" without a folder."""
    if not folder.is_dir():
        return ""
    files = " ".join("-" + word(folder / name) for name in PASSWORDS)
    return f"TemporaryFileSystem={word(folder)}:ro,mode=0755\nBindReadOnlyPaths={files}\n"


def word(path: Path) -> str:
    """A path quoted as one word of a unit's command line."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if text != str(path) or " " in text else text


def account(folder: Path, home: Path) -> str:
    """The lines that name the service's user: a dynamic one, or the current user where files are in that user's home."""
    needed = (folder, Path(sys.prefix), Path(sys.base_prefix))
    if any(path.resolve().is_relative_to(home) for path in needed):
        return f"{IN_USER_HOME}\nUser={getpass.getuser()}\nProtectHome=read-only"
    return "DynamicUser=yes\nProtectHome=yes"
