"""What an installation holds, and that its stubs say what its compiled modules do."""
import ast
import importlib
import importlib.metadata
import inspect
import os
from pathlib import Path

import numpy as np
import pytest

import corec

PACKAGE = Path(corec.__file__).parent
MODULES = sorted(file.stem for file in (PACKAGE / "_core").glob("*.pyi"))
installed = pytest.mark.skipif("COREC_INSTALLED" not in os.environ, reason="a checkout is no installation: see `make wheels-test`")


@installed
def test_the_package_is_the_installed_one_and_of_its_version():
    found = importlib.metadata.distribution("corec")
    assert Path(found.locate_file("corec")).samefile(PACKAGE)
    assert found.version == corec.__version__


@installed
def test_nothing_is_generated_and_nothing_lies_beside_the_package():
    files = [str(file) for file in importlib.metadata.files("corec")]
    assert not [file for file in files if file.endswith((".c", ".pyx", ".html"))]
    assert {file.split("/")[0] for file in files if not file.startswith("..")} <= {"corec", f"corec-{corec.__version__}.dist-info"}


def test_types_and_the_c_level_api_ship():
    assert (PACKAGE / "py.typed").is_file()
    assert {file.name for file in Path(corec.get_include()).glob("*.h")} >= {"layout.h", "core.h", "kernels.h", "wire.h"}
    assert {file.name for file in Path(corec.get_include()).glob("*.pxd")} >= {"layout.pxd", "arena.pxd", "block.pxd"}


@pytest.mark.parametrize("name", MODULES)
def test_stub_names_what_the_module_has(name):
    module, stub = importlib.import_module(f"corec._core.{name}"), _stub(name)
    assert sorted(stub) == sorted(_public(module)), f"corec/_core/{name}.pyi"


@pytest.mark.parametrize("name", MODULES)
def test_stub_gives_functions_the_parameters_they_have(name):
    module = importlib.import_module(f"corec._core.{name}")
    for path, node in _functions(_stub(name)):
        function = module
        for part in path.split("."):
            function = getattr(function, part)
        if callable(function) and not path.endswith("__init__"):
            said = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            assert said == list(inspect.signature(function).parameters), f"{path} in corec/_core/{name}.pyi"


def test_memory_of_an_engine_is_a_view():
    engine = corec.Engine({"bloques": [{"id": "a", "canal": 1, "entidades": 3000}]})
    assert engine.entities.base is not None
    assert engine.entities.shape == (3, 125)
    assert not np.any(engine.entities["state"])


def _public(module):
    """What a module defines itself: what it imported is another's."""
    return [name for name, value in vars(module).items() if not (name.startswith("_") or _imported(module, value))]


def _imported(module, value):
    return inspect.ismodule(value) or (callable(value) and value.__module__ != module.__name__)


def _stub(name):
    """Name -> node of all that a stub declares."""
    tree = ast.parse((PACKAGE / "_core" / f"{name}.pyi").read_text(encoding="utf-8"))
    declared = {}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign):
            declared[node.target.id] = node
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            declared[node.name] = node
    return declared


def _functions(nodes, prefix=""):
    for name, node in nodes.items():
        if isinstance(node, ast.FunctionDef):
            yield prefix + name, node
        elif isinstance(node, ast.ClassDef):
            yield from _functions({item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}, f"{name}.")
