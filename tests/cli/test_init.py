"""`corec init`: what it writes, and the systemd unit."""
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from corec.cli import init, main, service
from corec.config import load
from corec.config.schema import schemas
from corec.errors import ExitCode

pytestmark = pytest.mark.slow


@pytest.fixture(params=["without passwords", "with passwords"])
def folder(request, tmp_path):
    """A folder that `corec init` wrote."""
    if request.param == "with passwords":
        (tmp_path / "secrets").mkdir()
    done = CliRunner().invoke(main, ["init", str(tmp_path)])
    assert done.exit_code == 0, done.output
    return tmp_path


def unit(folder):
    """Key -> values of a systemd unit."""
    lines = [line.partition("=") for line in (folder / "corec.service").read_text().splitlines() if "=" in line]
    return {key: [value for name, _, value in lines if name == key] for key, _, _ in lines}


def test_configuration_loads_and_its_schemas_lie_beside_it(folder):
    assert load(folder / "configs").instance_id == "corec1"
    assert {name: (folder / "configs" / name).read_text() for name in schemas()} == schemas()


def test_what_is_there_stays_as_it_is(folder):
    # Given a configuration that somebody changed
    (folder / "configs" / "corec_config.json").write_text('{"bloques": [], "max_ram_mb": 100}')
    (folder / "corec.service").unlink()
    # When `corec init` runs again
    done = CliRunner().invoke(main, ["init", str(folder)])
    # Then it is kept, and what is written anew goes by it
    assert "configs/corec_config.json                kept" in done.output
    assert unit(folder)["MemoryMax"] == [f"{100 + service.SPARE_MB}M"]


def test_plugins_of_a_checkout_are_copied_without_what_python_made(monkeypatch, tmp_path):
    for name in ("hello/main.py", "hello/__pycache__/main.pyc", "hello/.hidden", "hello/data/table.bin"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\xff")
    monkeypatch.setattr(init, "bundled_plugins", lambda: tmp_path)
    assert sorted(map(str, init.plugins())) == ["plugins/hello/data/table.bin", "plugins/hello/main.py"]


def test_unit_names_this_folder_and_starts_a_node(folder):
    (start,) = unit(folder)["ExecStart"]
    assert f"-m corec run --config {folder}/configs --plugins {folder}/plugins --data /var/lib/corec" in start


def test_unit_does_not_restart_what_a_restart_cannot_put_right(folder):
    # A lost fence (8) and a wrong configuration (3) among them, a full disk (9) and a crash (1) not
    (codes,) = unit(folder)["RestartPreventExitStatus"]
    assert {"3", "8"} <= set(codes.split()) and not {"0", "1", "9"} & set(codes.split())


@pytest.mark.parametrize(("path", "word"), [
    ("/opt/corec", "/opt/corec"),
    ("/opt/my corec", '"/opt/my corec"'),
    ("/opt/50%/$x", '"/opt/50%%/$$x"'),
    ('/opt/a"b', '"/opt/a\\"b"'),
])  # fmt: skip
def test_path_is_one_word_of_a_command_line(path, word):
    assert service.word(Path(path)) == word


def test_unit_runs_as_its_own_user_unless_something_lies_in_a_home(monkeypatch):
    monkeypatch.setattr(service.sys, "prefix", "/opt/corec/env")
    monkeypatch.setattr(service.sys, "base_prefix", "/usr")
    assert "DynamicUser=yes" in service.account(Path("/opt/corec"), Path("/home/ana"))
    assert "User=" in service.account(Path("/home/ana/corec"), Path("/home/ana"))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here to verify units with: install systemd")
@pytest.mark.parametrize("name", ["corec.service", "corec-worker@.service"])
def test_systemd_finds_the_unit_sound_and_hardened(folder, name):
    unit = folder / name
    verified = subprocess.run(["systemd-analyze", "verify", unit], text=True, capture_output=True)
    assert name.partition(".")[0] not in verified.stderr, verified.stderr
    judged = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=30", unit], text=True, capture_output=True)
    assert judged.returncode == 0, judged.stdout[-500:]


def test_unit_sees_the_passwords_it_needs_and_no_other(folder):
    # Given a folder of passwords that only its owner gets into, or none
    text = (folder / "corec.service").read_text()
    # Then the unit has one of its own, without the administrator's
    assert (f"TemporaryFileSystem={folder}/secrets:ro" in text) == (folder / "secrets").is_dir()
    assert (f"-{folder}/secrets/db_writer" in text) == (folder / "secrets").is_dir() and "db_admin" not in text


def test_each_worker_has_a_name_of_its_own(folder):
    text = (folder / "corec-worker@.service").read_text()
    assert "--app corec.core.celery_app worker" in text and "worker%i@%%h" in text


def test_folder_that_cannot_be_written_is_said_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(main, ["init", str(tmp_path / "file" / "here")])
    assert done.exit_code == ExitCode.USAGE
    assert "expected a folder that can be written to, got not a directory" in done.output and "HINT: name another one" in done.output
