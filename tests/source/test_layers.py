"""The shape of the source: imports go downward only, folders make no loop, and nothing heavy is loaded for nothing."""
import ast
import subprocess
import sys
from collections import Counter
from graphlib import CycleError, TopologicalSorter

import pytest

from corec.config.modules import fold_accents
from tests.support.paths import ROOT

PACKAGE = ROOT / "corec"
FILES = {".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts): file for file in sorted(PACKAGE.rglob("*.py"))}
LONGEST = 420
#: Python modules at the root of the package, and in a folder below it.
MOST_AT_ROOT, MOST_IN_FOLDER = 8, 20

#: From the bottom up, as docs/architecture.md has it: the folders of corec/, and the modules beside them.  Each stands alone in
#: its layer and imports from itself and from those before it; so no folders make a loop.
LAYERS = ("errors", "version", "common", "_core", "config", "entities", "engine", "blocks", "storage", "streams", "sources", "pipeline",
          "control", "plugin_api", "workers", "modules", "plugins", "publish", "core", "node", "nucleus", "simulation", "cli", "__main__",
          "__init__")  # fmt: skip

#: What decides results: no clock, no dice, no I/O and no thread of its own.
DETERMINISTIC = [name for name in FILES if name.startswith("corec.engine.")]
FORBIDDEN = {"time", "datetime", "random", "secrets", "uuid", "threading", "asyncio", "socket", "sqlite3", "subprocess", "logging"}
#: Names with an underscore that are public all the same: of NamedTuple.
PUBLIC = {"_asdict", "_fields", "_make", "_replace"}


def layer_of(module):
    """The layer of a module, by its first name below `corec`."""
    name = (module.split(".") + ["__init__"])[1]
    assert name in LAYERS, f"corec.{name} has no layer: give it one in tests/source/test_layers.py and in docs/architecture.md"
    return LAYERS.index(name)


def imports_of(file, *, running=False):
    """Modules that a file imports, in functions too; *running*: not those that only type checkers see."""
    tree = ast.parse(file.read_text())
    typing = {node for block in ast.walk(tree) if is_type_checking(block) for node in ast.walk(block)}
    for node in ast.walk(tree):
        if running and node in typing:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: an import that is not absolute"
            yield from (module_of(node.module, alias.name) for alias in node.names)


def is_type_checking(node):
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def module_of(package, name):
    """`from package import name`: the module of that name where there is one, else the package."""
    extension = PACKAGE.parent.joinpath(*package.split("."), f"{name}.pyx")
    return f"{package}.{name}" if f"{package}.{name}" in FILES or extension.exists() else package


def own_imports(file, *, running=False):
    return {name for name in imports_of(file, running=running) if name.split(".")[0] == "corec"}


@pytest.mark.parametrize("module", FILES)
def test_imports_go_downward_only(module):
    # Given a file, then it imports from its own folder and from those below, for annotations too
    above = [name for name in own_imports(FILES[module]) if layer_of(name) > layer_of(module)]
    assert above == []


def test_imports_make_no_cycle():
    # Given which file imports which, annotations included
    graph = {module: {name if name in FILES else f"{name}.__init__" for name in own_imports(file)} for module, file in FILES.items()}
    # Then there is an order in which each comes after what it needs
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise AssertionError(" imports ".join(reversed(error.args[1]))) from None


@pytest.mark.parametrize("module", FILES)
def test_nothing_outside_a_class_touches_its_names(module):
    # Given a file, then whatever begins with an underscore is used through `self`, `cls`, what `cls` made, or `super()` only
    tree = ast.parse(FILES[module].read_text())
    foreign = {alias.asname or alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    foreign |= {node.targets[0].id for node in ast.walk(tree) if isinstance(node, ast.Assign) and is_made_by_cls(node)}
    found = [f"{ast.unparse(node)} in line {node.lineno}" for node in ast.walk(tree) if is_private_use(node, foreign)]
    assert found == []


def is_made_by_cls(node):
    """`made = cls(...)` or `made = cls.__new__(cls)`: what a class method gives."""
    return isinstance(node.targets[0], ast.Name) and ast.unparse(node.value).startswith(("cls(", "cls.__new__("))


def is_private_use(node, foreign):
    """An attribute of somebody else's; *foreign*: libraries and what `cls` made, whose names may be used."""
    if not isinstance(node, ast.Attribute) or not node.attr.startswith("_") or node.attr.startswith("__") or node.attr in PUBLIC:
        return False
    owner = node.value
    if isinstance(owner, ast.Call):
        return not (isinstance(owner.func, ast.Name) and owner.func.id == "super")
    return not (isinstance(owner, ast.Name) and (owner.id in ("self", "cls") or owner.id in foreign))


def test_folders_can_be_taken_in_at_a_look():
    # Given how many Python modules stand in each folder; those of the compiled core are not counted
    counts = Counter(file.parent for file in FILES.values() if file.parent.name != "_core")
    assert counts.pop(PACKAGE) <= MOST_AT_ROOT
    assert {folder.name: count for folder, count in counts.items() if count > MOST_IN_FOLDER} == {}


def test_modules_of_the_nucleus_do_not_import_each_other():
    # Given the organs of the nucleus, then all that one may know of the others is their base
    siblings = [name for name in FILES if name.startswith("corec.modules.")]
    found = {name: own_imports(FILES[name]) - {"corec.modules.base", fold_accents(name)} for name in siblings}
    assert {name: others for name, others in found.items() if any(other.startswith("corec.modules") for other in others)} == {}


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_engine_has_no_clock_no_dice_and_no_io(name):
    roots = {found.split(".")[0] for found in imports_of(FILES[name], running=True)}
    assert roots & FORBIDDEN == set()


def test_files_hold_one_idea():
    # Given every file of ours, then none has grown beyond what one reads in a sitting
    sources = [*FILES.values(), *PACKAGE.rglob("*.pyx")]
    long = {file.name: lines for file in sources if (lines := file.read_text().count("\n")) > LONGEST}
    assert long == {}


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("corec", ("numpy", "msgspec", "corec.engine", "corec.config")),
        ("corec.config", ("numpy", "corec.common.zstandard", "sqlite3", "asyncio")),
        ("corec.engine", ("celery", "sklearn", "torch", "redis", "psycopg2", "rich", "click", "sqlite3", "asyncio", "scipy", "pandas")),
    ],
)
def test_import_loads_nothing_heavy(module, absent):
    # Given a fresh interpreter, when one thing is imported, then what it does not need is not
    code = f"import sys, {module}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
