"""The pages that a newcomer looks for at the root: they are there, and say what is so."""
import re
import tomllib

from corec.version import VERSION
from tests.support.paths import ROOT


def test_the_licence_is_there_and_named_where_packages_name_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (project["license"], project["license-files"]) == ("MIT", ["LICENSE"])
    assert (ROOT / "LICENSE").read_text().startswith("MIT License\n\nCopyright (c) 2025-2026 the CoreC maintainers\n")


def test_the_changelog_begins_with_this_version_or_what_is_not_released():
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] in ("Unreleased", VERSION) and VERSION in headings


def test_contributors_find_every_folder_of_the_source():
    # Given the table of paths
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = {path.rstrip("/") for row in re.findall(r"^\| (`.+?) \|", text, re.MULTILINE) for path in re.findall(r"`([^`]+)`", row)}
    # Then each folder of the package is in it, and nothing that is not there
    folders = {f"corec/{folder.parent.name}" for folder in (ROOT / "corec").glob("*/__init__.py")}
    assert folders <= named
    assert [path for path in named if not (ROOT / path).exists()] == []
