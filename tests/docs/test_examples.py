"""examples/: each file runs, prints what stands at its end, and is short enough to be read as documentation."""
import os
import re
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

FOLDER = ROOT / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))
LONGEST = 60


def printed_by(example):
    """What the comment at its end says."""
    comment = example.read_text().split("\n# It prints:\n#\n")[1]
    return "".join(line.removeprefix("#").removeprefix("     ") for line in comment.splitlines(keepends=True))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_example_prints_what_it_says(example, tmp_path):
    # Given an example, When it is run, in a folder that is not its own
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
    done = subprocess.run([sys.executable, example], cwd=tmp_path, env=environment, capture_output=True, text=True)
    # Then it prints its last comment, and leaves nothing behind
    assert done.stdout == printed_by(example), done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_example_reads_as_documentation(example):
    assert len(example.read_text().splitlines()) <= LONGEST


def test_page_lists_every_example_once():
    listed = re.findall(r"^\| \[(\w+\.py)\]", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == [example.name for example in EXAMPLES]


def test_recording_is_what_its_maker_makes(tmp_path):
    # Given the maker of the recording, When it is run elsewhere, Then it makes the file that ships, to the byte
    (tmp_path / "make.py").write_text((FOLDER / "data" / "make_cold_room.py").read_text())
    subprocess.run([sys.executable, "make.py"], cwd=tmp_path, check=True)
    assert (tmp_path / "cold_room.csv").read_bytes() == (FOLDER / "data" / "cold_room.csv").read_bytes()
