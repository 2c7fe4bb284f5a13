"""An arm64 Python to run under qemu: Debian's packages unpacked into a folder, no chroot, nothing installed here."""
import os
import shutil
import subprocess
from pathlib import Path

from tools import WORK, run, say

QEMU = "qemu-aarch64-static"
#: Debian release whose python3 is this minor version of CPython; other versions have no arm64 Python to be had so.
RELEASES = {11: "bookworm", 13: "trixie", 14: "forky"}
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
MIRROR = "http://deb.debian.org/debian"
PACKAGES = ("python3.{minor}-minimal", "libpython3.{minor}-stdlib", "libgcc-s1", "libstdc++6")
APT = """
APT::Architecture "arm64";
APT::Architectures {{ "arm64"; }};
APT::Sandbox::User "root";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "-";
Dir::State "{folder}/state";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
"""
#: A script in place of the interpreter, also where Python starts itself: it gives qemu its own name as that of the program.
WRAPPER = """#!/bin/sh
exec {qemu} -L {root} -0 {wrapper} {root}/usr/bin/python3.{minor} "$@"
"""


def missing() -> str:
    """What this machine lacks to run arm64 programs, as a sentence; empty when nothing.  As root it is installed."""
    if not shutil.which(QEMU) and shutil.which("apt-get") and os.geteuid() == 0:
        say("installing qemu-user-static")
        subprocess.run(["apt-get", "--quiet", "--yes", "install", "qemu-user-static"], capture_output=True)
    lacking = [name for name in (QEMU, "apt-get", "dpkg") if not shutil.which(name)]
    if not os.path.exists(KEYRING):
        lacking.append(KEYRING)
    return f"{', '.join(lacking)} not found; HINT: apt-get install qemu-user-static, on Debian or Ubuntu" if lacking else ""


def interpreter(minor: int) -> Path | None:
    """A script that runs CPython 3.*minor* for arm64; None where Debian has none."""
    if minor not in RELEASES:
        return None
    root = WORK / "arm64" / RELEASES[minor]
    wrapper = root / "usr" / "bin" / "corec-python"
    if not wrapper.is_file():
        say(f"unpacking Debian {RELEASES[minor]}'s arm64 Python 3.{minor}")
        root.mkdir(parents=True, exist_ok=True)
        for package in download(RELEASES[minor], minor):
            run("dpkg", "-x", package, root)
        _merge_usr(root)
        wrapper.write_text(WRAPPER.format(qemu=shutil.which(QEMU), root=root, wrapper=wrapper, minor=minor))
        wrapper.chmod(0o755)
    return wrapper


def download(release: str, minor: int) -> list[Path]:
    """The packages of that Python and of all it needs, by an apt with folders of its own."""
    folder = WORK / "apt" / release
    for part in ("lists/partial", "cache/archives/partial", "state"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {MIRROR} {release} main\n")
    (folder / "apt.conf").write_text(APT.format(folder=folder))
    env = {**os.environ, "APT_CONFIG": str(folder / "apt.conf")}
    packages = [name.format(minor=minor) for name in PACKAGES]
    run("apt-get", "--quiet", "update", env=env)
    run("apt-get", "--quiet", "--yes", "--no-install-recommends", "--download-only", "install", *packages, env=env)
    return sorted((folder / "cache" / "archives").glob("*.deb"))


def _merge_usr(root: Path) -> None:
    """/lib is /usr/lib in Debian: the loader's path says /lib."""
    for name in ("lib", "bin", "sbin"):
        plain, merged = root / name, root / "usr" / name
        if plain.is_dir() and not plain.is_symlink():
            shutil.copytree(plain, merged, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(plain)
        if not plain.exists():
            plain.symlink_to(f"usr/{name}")


def page_size(python: Path, wanted: dict[str, str]) -> int:
    """The page size that Python sees where qemu is asked for *wanted*: older qemus know only the host's.  0: it does not start."""
    command = [python, "-c", "import mmap; print(mmap.PAGESIZE)"]
    done = subprocess.run(command, text=True, capture_output=True, env={**os.environ, **wanted})
    return int(done.stdout) if done.returncode == 0 else 0
