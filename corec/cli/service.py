"""What the systemd units that `corec init` writes say about this machine."""

import getpass
import sys
from pathlib import Path

from corec.cli.common.base import PACKAGED
from corec.config import load
from corec.errors import ExitCode

#: A supervisor must not restart after these.
HOPELESS = (ExitCode.USAGE, ExitCode.CONFIG, ExitCode.CAPACITY, ExitCode.IN_USE, ExitCode.FENCE_LOST, ExitCode.PLUGIN)
#: Room above max_ram_mb: what the kernel counts to a service besides its own pages.
SPARE_MB = 512
#: What a node opens servers with; the administrator's is not among them.
PASSWORDS = ("redis", "db_writer", "db_reader")
IN_A_HOME = "# What it needs lies in this user's home; with Python and configs/ elsewhere, DynamicUser=yes is the better choice."


def values(folder: Path) -> dict[str, str]:
    """The places of the unit by name; *folder* is where configs/ and plugins/ are."""
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
    """Where `setup.sh` made passwords: their folder is its owner's alone, so the unit gets another with these files in it."""
    if not folder.is_dir():
        return ""
    files = " ".join("-" + word(folder / name) for name in PASSWORDS)
    return f"TemporaryFileSystem={word(folder)}:ro,mode=0755\nBindReadOnlyPaths={files}\n"


def word(path: Path) -> str:
    """A path as one word of a unit's command line."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if text != str(path) or " " in text else text


def account(folder: Path, home: Path) -> str:
    """Whom it runs as: a user made for it alone, or this one where something it needs lies in this one's home."""
    needed = (folder, Path(sys.prefix), Path(sys.base_prefix))
    if any(path.resolve().is_relative_to(home) for path in needed):
        return f"{IN_A_HOME}\nUser={getpass.getuser()}\nProtectHome=read-only"
    return "DynamicUser=yes\nProtectHome=yes"
