"""The shape of the tests: what they share is in tests/support, and no file of tests needs another."""
import re

from tests.support.paths import ROOT


def test_no_test_imports_from_another():
    # Given every file under tests/, Then none imports a file of tests
    of_tests = re.compile(r"^\s*(?:from|import) tests[\w.]*\.test_\w+", re.MULTILINE)
    files = sorted((ROOT / "tests").rglob("*.py"))
    assert {file.name: found for file in files if (found := of_tests.findall(file.read_text()))} == {}


#: A node, a server of one's own or the session's.
STARTS = re.compile(r"CoreCNucleus\(|from tests\.support\.nodes import [^\n]*\brunning\b|plugin_nodes import [^\n]*\bNode\b"
                    r"|\b(?:redis_server|own_redis|redis_cluster|shared_redis|database|postgres)[,)]")  # fmt: skip


def test_files_that_start_nodes_or_servers_are_marked():
    # Given every file of tests, Then `make test-fast` leaves out those that start nodes or servers, for it has a minute
    files = [file for file in (ROOT / "tests").rglob("test_*.py") if file.parent.name not in ("installed", "source")]
    texts = {file.name: file.read_text() for file in files}
    assert [name for name, text in texts.items() if STARTS.search(text) and not re.search(r"\bmark\.(?:slow|alone)\b", text)] == []
