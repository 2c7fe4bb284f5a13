"""Puts db_config and redis_config into a configuration, and their passwords into files of their own.

    python3 deploy/sections.py configs/corec_config.json secrets
    python3 deploy/sections.py configs/corec_config.json secrets --get db_config.port

What is there already stays: a section is added where there is none, a password that stands in one moves into its file, and
a file is filled at random where there is none.  Needs nothing but Python.
"""
import json
import os
import re
import secrets
import sys
from pathlib import Path
from typing import Any

#: What a section is where there is none, and the file of its password.
SECTIONS = {
    "db_config": ({"dbname": "corec_db", "user": "corec_writer", "host": "localhost", "port": 5432}, "db_writer"),
    "redis_config": ({"host": "localhost", "port": 6379, "username": ""}, "redis"),
}
FILES = ("db_admin", "db_writer", "db_reader", "db_replica", "redis")
#: Hosts whose servers this machine's owner can give a password to.
OWN = ("localhost", "127.0.0.1", "::1", "redis-cluster")
PLACEHOLDER = re.compile(r"your_[a-z_]+")


def main(words: list[str]) -> None:
    """See above."""
    if len(words) == 4 and words[2] == "--get":
        print(value(load(Path(words[0])), words[3]))
    elif len(words) == 2:
        arrange(Path(words[0]), Path(words[1]))
    else:
        sys.exit(__doc__)


def arrange(config: Path, folder: Path) -> None:
    """Both sections with their passwords in files; says what was done."""
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    tree = load(config)
    before = json.dumps(tree)
    for name, (default, file) in SECTIONS.items():
        section = tree.setdefault(name, dict(default))
        take_password(section, folder / file, os.path.relpath(folder / file, config.parent))
    if json.dumps(tree) != before:
        replace(config, json.dumps(tree, indent=4, ensure_ascii=False) + "\n")
        say(f"{config}: its server sections name files of passwords")
    if tree["db_config"].get("user") == "postgres":    # who is the administrator: one password
        share(folder / "db_writer", folder / "db_admin")
    for file in FILES:
        keep(folder / file, secrets.token_hex(24))


def load(config: Path) -> dict[str, Any]:
    """The configuration, or an exit that says what is wrong with it."""
    try:
        return json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"expected a configuration in {config}: {error}\nHINT: corec init writes one")


def value(tree: dict[str, Any], path: str) -> str:
    """What stands at a path of keys; the default where the section does not say."""
    section, key = path.split(".")
    return str(tree.get(section, {}).get(key, SECTIONS[section][0].get(key, "")))


def take_password(section: dict[str, Any], file: Path, named: str) -> None:
    """Have a section name *file* instead of holding a password; one of the environment, or of a server elsewhere, stays."""
    password = section.get("password", "")
    unknown = not password or PLACEHOLDER.fullmatch(password)
    elsewhere = section.get("host", "localhost") not in OWN
    if "password_file" in section or "${" in password or (unknown and elsewhere):
        return
    section.pop("password", None)
    section["password_file"] = named
    if not unknown:
        file.unlink(missing_ok=True)
        keep(file, password)


def share(file: Path, other: Path) -> None:
    """One file under two names."""
    keep(file, secrets.token_hex(24))
    if not other.exists() or not other.samefile(file):
        other.unlink(missing_ok=True)
        os.link(file, other)


def keep(file: Path, password: str) -> None:
    """Write a file of a password unless it is there.

    Only its owner gets into the folder; the file itself is open to all, because in a container its reader is somebody else.
    """
    if not file.exists():
        replace(file, password + "\n")
        file.chmod(0o644)
        say(f"{file}: written")


def replace(file: Path, text: str) -> None:
    """Write a file in one step."""
    new = file.with_name(f".{file.name}.new")
    new.write_text(text, encoding="utf-8")
    if file.exists():
        new.chmod(file.stat().st_mode)
    new.replace(file)


def say(text: str) -> None:
    """A line of progress."""
    print(f"[sections.py] {text}")


if __name__ == "__main__":
    main(sys.argv[1:])
