"""The documents say what is there: programs run and give their output, links lead somewhere, keys are documented."""
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
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
