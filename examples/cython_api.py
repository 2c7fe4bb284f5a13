"""The C-level API: builds cython_api.pyx against the .pxd files that ship with CoreC, and folds a device's own format.

Needs Cython, setuptools and a C compiler: pip install "corec[test]".
"""
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import corec
from corec._core.block import Outlet

SETUP = """
from setuptools import Extension, setup
from Cython.Build import cythonize
import corec
setup(ext_modules=cythonize([Extension("cython_api", ["cython_api.pyx"], include_dirs=[corec.get_include()])], quiet=True))
"""


def built(folder):
    """The module of cython_api.pyx, built in *folder*."""
    source = Path(__file__).with_suffix(".pyx")
    (folder / source.name).write_text(source.read_text())
    (folder / "setup.py").write_text(SETUP)
    subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=folder, check=True, capture_output=True)
    sys.path.insert(0, str(folder))
    sys.modules.pop("cython_api", None)
    import cython_api

    return cython_api


engine = corec.Engine({"bloques": [{"id": "a", "canal": 1, "entidades": 1000, "limites": {"alto": 30.0}}]})
outlet = Outlet(1)
start = 1_700_000_000_000
with tempfile.TemporaryDirectory() as folder:
    gateway = built(Path(folder))
for second in range(3):
    celsius = 20 + np.arange(500) / 100 + (8 * second if second else 0)
    engine.arena.advance(start + second * 1000, 2000)
    folded = gateway.fold_centidegrees(engine.arena, outlet, (celsius * 100).astype("<u2").tobytes(), start + second * 1000)
    rows, messages, alerts = outlet.take()
    print(f"second {second}: {folded} folded, {len(messages)} messages, {len(alerts)} alerts")
print(f"entity 499 at {engine.entity(499)['valor']:.2f}, ledger {engine.ledger['in']} in")

# It prints:
#
#     second 0: 500 folded, 500 messages, 0 alerts
#     second 1: 500 folded, 500 messages, 299 alerts
#     second 2: 500 folded, 500 messages, 201 alerts
#     entity 499 at 40.99, ledger 1500 in
