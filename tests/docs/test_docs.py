"""The documents say what is there: programs run and give their output, links lead somewhere, keys are documented."""
import re
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_first_program_is_in_the_readme_with_its_output():
    # Given the README's first program
    program, output = re.findall(r"```(?:python)?\n(import numpy.*?)```\n+```\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
    # Then it is the example, and prints what the README says
    assert program == (ROOT / "examples/first_program.py").read_text().split("\n# It prints:")[0]
    done = subprocess.run([sys.executable, ROOT / "examples/first_program.py"], capture_output=True, text=True, cwd=ROOT,
                          env={"PYTHONPATH": str(ROOT), "PATH": ""})
    assert done.stdout == output, done.stderr


def parts(page):
    """What two languages have in common: depth of headings, code blocks, links, and how many rows and cells the tables have."""
    text = (ROOT / page).read_text()
    blocks = re.findall(r"^```.*?^```", text, re.DOTALL | re.MULTILINE)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return {
        "headings": re.findall(r"^#+", prose, re.MULTILINE),
        "code": blocks,
        "links": [target for target in re.findall(r"\]\(([^)]+)\)", prose) if not target.startswith("README")],
        "tables": [line.count("|") for line in prose.splitlines() if line.startswith("|")],
        "names": sorted(name for name in re.findall(r"`([^`]+)`", prose)),
    }


@pytest.mark.parametrize("part", parts("README.md"))
def test_readme_and_its_spanish_twin_say_the_same(part):
    assert parts("README.es.md")[part] == parts("README.md")[part]


def test_first_screen_of_the_readme_is_what_a_node_shows():
    # Given the picture of a status in the README, and a status as it is shown today
    from corec.cli.output.status_text import as_text
    from tests.support.status_samples import status

    picture = next(block for block in parts("README.md")["code"] if "ledger" in block).splitlines()[1:-1]
    # Then its lines begin with the same words, in 80 columns
    def labels(lines):
        return [line[:11].rstrip() for line in lines if line[:1].isalpha() and not line.startswith("CoreC")]

    shown = status(ledger={"in": 3, "stored": 1, "filtered": 2})
    assert labels(picture) == labels(as_text(shown).splitlines())
    assert max(map(len, picture)) <= 80


def test_each_decision_has_a_number_of_its_own():
    numbers = [(page.name[:4], page.read_text().split(".")[0]) for page in sorted(ROOT.glob("docs/decisions/*.md"))]
    assert len({number for number, _ in numbers}) == len(numbers)
    assert [title for _, title in numbers] == [f"# {int(number)}" for number, _ in numbers]
