"""The C-level API: what ships is enough to build a gateway's own Cython against it."""
import os
import subprocess
import sys
from pathlib import Path

import corec

SETUP = """
from setuptools import Extension, setup
from Cython.Build import cythonize
import corec
setup(ext_modules=cythonize([Extension("gateway", ["gateway.pyx"], include_dirs=[corec.get_include()])], quiet=True))
"""

USE = """
import gateway, corec
from corec._core.block import Outlet
engine = corec.Engine({"bloques": [{"id": "a", "canal": 1, "entidades": 2000}]})
outlet = Outlet(2)
engine.arena.advance(1_700_000_000_000, 2000)
assert gateway.fold_ramp(engine.arena, outlet, 1_700_000_000_000, 500) == 500
rows, messages, alerts = outlet.take()
assert messages["valor"].tolist() == list(range(500)), messages
assert engine.entity(499)["valor"] == 499.0
print("folded", engine.ledger["in"])
"""


def test_cython_outside_the_package_folds_readings(tmp_path):
    # Given a module of another project that cimports corec
    (tmp_path / "gateway.pyx").write_text((Path(__file__).parent / "c_api" / "gateway.pyx").read_text())
    (tmp_path / "setup.py").write_text(SETUP)
    env = {**os.environ, "PYTHONPATH": str(Path(corec.__file__).parent.parent)}
    # When it is built and used
    subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=tmp_path, env=env, check=True, capture_output=True)
    done = subprocess.run([sys.executable, "-c", USE], cwd=tmp_path, env=env, capture_output=True, text=True)
    # Then it folds
    assert done.stdout == "folded 500\n", done.stderr
