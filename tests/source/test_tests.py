"""The shape of the tests: what they share is in tests/support, and no file of tests needs another."""
import re

from tests.support.paths import ROOT


def test_no_test_imports_from_another():
    # Given every file under tests/, Then none imports a file of tests
    of_tests = re.compile(r"^\s*(?:from|import) tests[\w.]*\.test_\w+", re.MULTILINE)
    files = sorted((ROOT / "tests").rglob("*.py"))
    assert {file.name: found for file in files if (found := of_tests.findall(file.read_text()))} == {}
