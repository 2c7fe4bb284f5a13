"""What a source distribution and a wheel hold, built here once; `make wheels wheels-test` is the long form."""
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

CHECK = ROOT / "packaging" / "check_wheel.py"
NO_SOURCES = (".*", "build", "wheelhouse", "dist", "data", "__pycache__", "*.egg-info", "*.so")
PLUGIN = 'def inicializar(nucleus, config):\n    """Nothing."""\n'


def run(*command, cwd, **env):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment | env, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def unpacked(archive, into):
    shutil.unpack_archive(archive, into)
    return next(into.iterdir())


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The source distribution of a checkout with a bundled plugin, unpacked."""
    folder = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT, folder / "checkout", ignore=shutil.ignore_patterns(*NO_SOURCES))
    plugin = folder / "checkout" / "plugins" / "hello" / "main.py"
    plugin.parent.mkdir(parents=True)
    plugin.write_text(PLUGIN)
    run(sys.executable, "setup.py", "-q", "sdist", cwd=folder / "checkout")
    return unpacked(next((folder / "checkout" / "dist").glob("*.tar.gz")), folder / "unpacked")


@pytest.fixture(scope="module")
def wheel(source):
    """The wheel that it builds, in a hurry."""
    run(sys.executable, "setup.py", "-q", "build", "--parallel", os.cpu_count() or 1, "bdist_wheel", cwd=source, COREC_OPTIMIZE="0")
    return next((source / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """The wheel unpacked, with the tests that ship for it, where nothing of the checkout is near."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "packages")
    shutil.copytree(ROOT / "tests" / "installed", folder / "installed")
    return folder


def test_source_distribution_holds_all_that_was_written_and_nothing_that_was_made(source):
    core = source / "corec" / "_core"
    held = {path.name for path in core.iterdir() if path.suffix in (".c", ".h", ".pyx", ".pxd", ".pyi")}
    own = {path.name for path in (ROOT / "corec" / "_core").iterdir() if path.suffix in (".c", ".h", ".pyx", ".pxd", ".pyi")}
    made = {path.with_suffix(".c").name for path in (ROOT / "corec" / "_core").glob("*.pyx")}
    assert held - made == own - made
    assert held & made <= {path.name for path in (source / "build").glob("**/*.c")} | made
    assert (source / "tests" / "installed" / "test_package.py").is_file()
    assert (source / "configs" / "demo" / "corec_config.json").is_file()
    assert all((source / name).is_file() for name in ("LICENSE", "CONTRIBUTING.md", "CHANGELOG.md"))


def test_what_shipped_tests_import_ships_too():
    # Given the tests that an installed CoreC is tried by
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]["test-sources"]
    files = [file for name in shipped for file in ((ROOT / name).rglob("*.py") if (ROOT / name).is_dir() else [ROOT / name])]
    # Then what they import of tests/ is among them
    imported = {name for file in files for name in re.findall(r"^(?:from|import) (tests[.\w]+)", file.read_text(), re.MULTILINE)}
    assert {ROOT / f"{name.replace('.', '/')}.py" for name in imported} - set(files) == set()


def test_wheel_is_as_it_should_be(wheel):
    assert "sound" in run(sys.executable, CHECK, wheel, cwd=wheel.parent)


def test_wheel_runs_where_the_checkout_is_not(wheel, site):
    said = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "installed", cwd=site,
               PYTHONPATH=str(site / "packages"), COREC_INSTALLED="1")  # fmt: skip
    assert "passed" in said and "failed" not in said


def test_init_copies_the_bundled_plugins(site, tmp_path):
    run(sys.executable, "-m", "corec", "init", cwd=tmp_path, PYTHONPATH=str(site / "packages"))
    assert (tmp_path / "plugins" / "hello" / "main.py").read_text() == PLUGIN
    own = {folder.name for folder in (ROOT / "plugins").iterdir() if (folder / "main.py").is_file()}
    assert {folder.name for folder in (tmp_path / "plugins").iterdir()} == own | {"hello"}


@pytest.mark.parametrize(("name", "problem"), [
    ("corec/_core/arena.c", "generated"),
    ("tests/engine/test_engine.py", "got tests"),
    ("corec/_core/other.cpython-311-x86_64-linux-gnu.so", "expected corec/_core/other.pyi"),
])  # fmt: skip
def test_a_wheel_with_what_should_not_be_in_it_is_refused(wheel, tmp_path, name, problem):
    # Given a wheel with one file too many
    bad = shutil.copy(wheel, tmp_path)
    with zipfile.ZipFile(bad, "a") as archive:
        archive.writestr(name, b"\0" * 64)
    # When it is checked, then the file is named
    assert problem in refused(bad)


def test_a_wheel_without_its_licence_is_refused(wheel, tmp_path):
    # Given a wheel with everything but the licence
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(tmp_path / wheel.name, "w") as bad:
        for name in whole.namelist():
            if not name.endswith("/LICENSE"):
                bad.writestr(name, whole.read(name))
    # When it is checked, then that is said
    assert "expected the licence in it" in refused(tmp_path / wheel.name)


def test_a_wheel_of_another_machine_is_refused(wheel, tmp_path):
    bad = shutil.copy(wheel, tmp_path / wheel.name.replace("x86_64", "aarch64"))
    said = refused(bad)
    assert "expected ELF machine 183" in said
    assert "to load at pages of 65,536 bytes" in said


def refused(wheel):
    done = subprocess.run([sys.executable, CHECK, wheel], text=True, capture_output=True)
    assert done.returncode == 1
    return done.stdout


def test_packaged_configuration_is_the_one_in_configs():
    for name in ("corec_config.json", "plugins_config.json"):
        assert (ROOT / "corec" / "cli" / "default" / name).read_bytes() == (ROOT / "configs" / name).read_bytes(), name
