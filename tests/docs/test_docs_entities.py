"""docs/entities-and-blocks.md: every program runs and prints what stands below it."""
import re
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

PROGRAMS = re.findall(r"```python\n(.*?)```\n```\n(.*?)```", (ROOT / "docs/entities-and-blocks.md").read_text(), re.DOTALL)


def test_every_program_has_its_output():
    assert len(PROGRAMS) == (ROOT / "docs/entities-and-blocks.md").read_text().count("```python") == 4


@pytest.mark.parametrize(("program", "output"), PROGRAMS)
def test_program_prints_what_the_page_says(program, output):
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == output, done.stderr
