"""The environment that `make` builds into, where Python is too old, and a source folder that nobody has built."""
import os
import shutil
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    return tmp_path


def python_of(path, version):
    """A program that says it is this version, and that fails at whatever asks for a newer one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "Python {version}" && exit 0\nexit 1\n')
    path.chmod(0o755)
    return path


def make(folder, *words):
    return subprocess.run(["make", *map(str, words)], cwd=folder, capture_output=True, text=True, timeout=120)


def test_an_environment_of_an_older_python_is_made_anew(folder):
    # Given a .venv that an older Python has made
    python_of(folder / ".venv/bin/python", "3.9.2")
    (folder / ".venv/pyvenv.cfg").write_text("")
    (folder / ".venv/.built").write_text("")
    # When something is made with a new one, Then that is said, and the environment is a new one
    done = make(folder, ".venv/bin/python", f"PYTHON={sys.executable}")
    assert ".venv has Python 3.9.2 and CoreC needs 3.11 or newer: made anew" in done.stdout, done.stderr
    version = subprocess.run([folder / ".venv/bin/python", "--version"], capture_output=True, text=True).stdout
    assert version.split()[1] == sys.version.split()[0] and not (folder / ".venv/.built").exists()
    # And the next time it stays
    assert "made anew" not in make(folder, ".venv/bin/python", f"PYTHON={sys.executable}").stdout


def test_a_python_that_is_too_old_is_named(folder):
    # Given only an older Python, and an environment of it
    old = python_of(folder / "python3.9", "3.9.2")
    python_of(folder / ".venv/bin/python", "3.9.2")
    (folder / ".venv/pyvenv.cfg").write_text("")
    # When something is made, Then the error says what is needed and how to name it, and nothing is removed
    done = make(folder, "build", f"PYTHON={old}")
    assert done.returncode == 2 and "expected Python 3.11 or newer, got Python 3.9.2" in done.stderr
    assert "make PYTHON=python3.11 build" in done.stderr and (folder / ".venv/bin/python").exists()
    # And help and clean need no Python
    assert make(folder, "help", f"PYTHON={old}").returncode == 0


@pytest.fixture
def unbuilt(tmp_path):
    """The source folder, without compiled modules."""
    shutil.copytree(ROOT / "corec", tmp_path / "corec", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    return tmp_path


def corec(folder, *words, options=()):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([sys.executable, *options, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def test_a_source_folder_that_is_not_built_says_so(unbuilt):
    # Given a source folder that nobody has built, When a node is started, Then it says so, without a traceback
    done = corec(unbuilt, "-m", "corec", "run", "--embedded")
    assert done.returncode == 2 and "this source folder is not built" in done.stderr and "make build" in done.stderr
    assert "Traceback" not in done.stderr and "circular" not in done.stderr
    # And a program that imports it has the same as its error
    done = corec(unbuilt, "-c", "import corec\ntry: corec.Engine\nexcept ImportError as error: print(error)")
    assert "this source folder is not built" in done.stdout
    # And where it was built by another Python alone, that is said
    (unbuilt / "corec/_core/arena.cpython-38-x86_64-linux-gnu.so").touch()
    assert "got those of another: arena.cpython-38" in corec(unbuilt, "-m", "corec", "run", "--embedded").stderr


def test_compiled_modules_that_do_not_load_say_why(unbuilt):
    # Given a compiled module that is damaged
    for name in ("arena", "block", "calls", "wire"):
        built = next((ROOT / "corec/_core").glob(f"{name}.cpython-{sys.version_info[0]}{sys.version_info[1]}-*.so"))
        (unbuilt / "corec/_core" / built.name).write_bytes(b"no library " * 500)
    # When a node is started, Then the reason stands there
    done = corec(unbuilt, "-m", "corec", "run", "--embedded")
    assert done.returncode == 2 and "do not load: " in done.stderr and "make clean build" in done.stderr, done.stderr


def test_a_folder_that_is_not_installed_names_the_package_that_is_missing(unbuilt):
    # Given a Python without any packages (-S), When a node is started, Then the missing one is named
    done = corec(unbuilt, "-m", "corec", options=["-S"])
    assert done.returncode == 2 and "expected the package click" in done.stderr and "make build" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_table_of_documented_figures_needs_no_package_of_the_tests(tmp_path):
    # Given a Python in which the packages of the tests cannot be imported
    for name in ("pytest", "hypothesis", "_pytest"):
        (tmp_path / f"{name}.py").write_text("raise ModuleNotFoundError(__name__)")
    # When the command is asked what it does, Then all that it needs was imported
    command = [sys.executable, "-m", "tests.test_corec", "--help"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "The documented figures" in done.stdout, done.stderr
    assert subprocess.run([*command[:1], "-m", "pytest", "--version"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)},
                          capture_output=True).returncode != 0  # fmt: skip
