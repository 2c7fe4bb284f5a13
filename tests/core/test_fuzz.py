"""The fuzz targets for a few seconds, from a fixed seed.  `make sanitize` is the long form."""
import os
import re
import subprocess
import sys

import pytest

from tests.support.fuzz.targets import SOURCES, Target, compiler, release_flags
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

SECONDS = {"fuzz_wire": 1.0, "fuzz_fold": 4.0}


@pytest.mark.parametrize("name", SOURCES)
def test_c_code_holds_under_sanitizers(name, tmp_path):
    if not compiler():
        missing = "no C compiler here has a working AddressSanitizer and UBSan: install gcc with libasan, or clang"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    # Given a target built with sanitizers, when it is fuzzed
    found = Target(name, "driver").run(SECONDS[name], seed=1, corpus=tmp_path / "corpus")
    # Then no check fails and no sanitizer reports
    assert found.clean, found.text
    assert found.inputs > 50


def test_the_long_form_knows_how_the_shipped_core_is_compiled():
    assert {"-O3", "-ffp-contract=off"} <= set(release_flags())


def test_readers_refuse_damage_and_never_give_other_content():
    # Given mutated envelopes, journals and snapshots, when they are read
    command = [sys.executable, "-m", "tests.support.fuzz.fuzz_readers", "--plain", "--seconds", "5", "--seed", "1"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120)
    # Then each gave the documented error or what was written
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^(?:envelopes|journals|snapshot \w+): \d", done.stdout, re.MULTILINE)) == 4, done.stdout
