"""Why the compiled modules cannot be imported."""
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from corec.errors import NotBuilt

HERE = Path(__file__).resolve().parent


def explained(error: ImportError, folder: Path = HERE) -> NotBuilt:
    """A NotBuilt for the failed import of the modules of *folder*: they are not there, were built for another Python, or do not load."""
    built = sorted(file.name for file in folder.glob("arena.*.so"))
    python = "Python {}.{}".format(*sys.version_info)
    if f"arena{EXTENSION_SUFFIXES[0]}" in built or "arena.abi3.so" in built:
        return NotBuilt(f"corec's compiled modules in {folder} do not load: {error}",
                        hint="in a source folder `make clean build` makes them anew; else install CoreC again: pip install corec")
    got = f"those of another: {', '.join(built)}" if built else "none: this source folder is not built"
    return NotBuilt(f"expected corec's compiled modules for {python} in {folder}, got {got}",
                    hint="run `make build` in the source folder, and then .venv/bin/corec, or .venv/bin/python in the place of python")
