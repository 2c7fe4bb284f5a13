"""The words of the source: a docstring says something, and names that meant several things do not come back."""
import ast
import re
import tokenize

import pytest

from tests.support.paths import ROOT

FILES = sorted(file for folder in ("corec", "plugins", "examples") for file in (ROOT / folder).rglob("*.py"))
#: A public docstring has more words than this, or is left out.
TOO_FEW_WORDS = 3
#: Names that meant several things.
GONE = {"told", "_told", "organism", "PLACES", "Desk", "Planner", "PluginDoor"}
#: Where a seed is the start of random numbers; what the project began with is called the original documentation.
RANDOM_SEEDS = {"corec/config/types.py", "corec/sources/simulated.py"}


def docstrings(tree):
    """(name, docstring) of each module, class and function that has one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (text := ast.get_docstring(node)):
            yield getattr(node, "name", ""), text


def too_short(source):
    """Names of what has a public docstring that says too little."""
    return [name for name, text in docstrings(ast.parse(source)) if not name.startswith("_") and len(text.split()) <= TOO_FEW_WORDS]


def names_in(file):
    with tokenize.open(file) as source:
        return {token.string for token in tokenize.generate_tokens(source.readline) if token.type == tokenize.NAME}


@pytest.mark.parametrize("source, found", [
    ('def stop():\n    """Stop listening."""', ["stop"]), ('class Part:\n    """Frames for one stream."""', []), ("def stop(): pass", []),
    ('def _stop():\n    """Stop."""', [])])  # fmt: skip
def test_short_docstrings_are_found(source, found):
    # Given a source, When it is looked through, Then public docstrings of three words are found, and nothing else
    assert too_short(source) == found


def test_docstrings_say_something():
    # Given all modules, Then no public docstring has three words or fewer
    assert {str(file.relative_to(ROOT)): short for file in FILES if (short := too_short(file.read_text()))} == {}


def test_names_that_meant_several_things_do_not_come_back():
    # Given all modules, Then none of them has such a name
    assert {str(file.relative_to(ROOT)): found for file in FILES if (found := names_in(file) & GONE)} == {}


def test_the_original_documentation_is_called_so():
    # Given all modules, Then only those that draw random numbers speak of a seed
    speak = {str(file.relative_to(ROOT)) for file in FILES if re.search(r"\bseeds?\b", file.read_text(), re.IGNORECASE)}
    assert speak == RANDOM_SEEDS
