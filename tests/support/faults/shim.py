"""Builds iotrace.c with the C compiler at hand, and gives the environment that preloads it."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.support.paths import ROOT

HERE = Path(__file__).parent


def compiler() -> str | None:
    return next((name for name in (os.environ.get("CC"), "cc", "gcc", "clang") if name and shutil.which(name)), None)


def build(folder: Path) -> Path:
    library = folder / "iotrace.so"
    flags = ["-O2", "-Wall", "-Werror", "-shared", "-fPIC"]
    subprocess.run([compiler() or "cc", *flags, "-o", str(library), str(HERE / "iotrace.c"), "-ldl"], check=True)
    return library


def environment(library: Path) -> dict[str, str]:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
