"""corec.errors: what an error says, what code it gives, and that its tree is as drawn."""

import pickle
import re

import pytest

from corec import errors
from corec.errors import (
    BackPressure,
    Bug,
    CapacityError,
    ConfigError,
    CoreCError,
    DamagedBatch,
    DamagedFile,
    DiskFull,
    ExitCode,
    FenceLost,
    FolderInUse,
    InputError,
    InternalError,
    PartialFrame,
    PluginError,
    ServerAway,
    ServerError,
    UsageError,
    exit_code,
)

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, CoreCError)
}


def test_text_alone_is_the_whole_message():
    # Given an error with neither detail nor hint, when it is shown, then no label stands there
    assert str(ConfigError("expected a, got b")) == "expected a, got b"


def test_detail_and_hint_follow_the_text_on_lines_of_their_own():
    # Given an error with both
    error = ConfigError("expected a, got b", detail="a + b", hint="try a")
    # When it is shown, then it reads text, detail, hint
    assert str(error) == "expected a, got b\nDETAIL: a + b\nHINT: try a"
    assert (error.text, error.detail, error.hint) == ("expected a, got b", "a + b", "try a")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (UsageError, ExitCode.USAGE),
        (ConfigError, ExitCode.CONFIG),
        (PartialFrame, ExitCode.DATA),
        (DamagedBatch, ExitCode.DATA),
        (DamagedFile, ExitCode.DATA),
        (CapacityError, ExitCode.CAPACITY),
        (FolderInUse, ExitCode.IN_USE),
        (ServerError, ExitCode.SERVER),
        (ServerAway, ExitCode.SERVER),
        (BackPressure, ExitCode.SERVER),
        (FenceLost, ExitCode.FENCE_LOST),
        (DiskFull, ExitCode.DISK_FULL),
        (PluginError, ExitCode.PLUGIN),
        (InternalError, ExitCode.BUG),
    ],
)
def test_each_class_has_its_exit_code(kind, code):
    # Given an error that ends a command, when the command exits, then its code names the cause
    assert exit_code(kind("text")) is code


def test_foreign_error_counts_as_a_bug():
    # Given an error nobody expected, when the command exits, then its code says bug
    assert exit_code(KeyError("x")) is ExitCode.BUG


def test_exit_codes_are_the_documented_numbers():
    # Supervisors' unit files hold these numbers: they never change.
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0,
        "BUG": 1,
        "USAGE": 2,
        "CONFIG": 3,
        "DATA": 4,
        "CAPACITY": 5,
        "IN_USE": 6,
        "SERVER": 7,
        "FENCE_LOST": 8,
        "DISK_FULL": 9,
        "PLUGIN": 10,
    }


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES.keys())
def test_every_error_is_of_exactly_one_family(kind):
    # Given any class but the base, then it is your input or our bug, never both
    if kind is not CoreCError:
        assert issubclass(kind, InputError) != issubclass(kind, Bug)


def test_bug_asks_for_a_report():
    # Given a bug raised without a hint, when shown, then it says what to do; a given hint stays
    assert "HINT: this is a bug in CoreC; please report" in str(InternalError("lost count"))
    assert str(InternalError("lost count", hint="restart")).endswith("HINT: restart")


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES.keys())
def test_errors_cross_process_borders(kind):
    # Given an error in a child process, when it is pickled over, then nothing of it is lost
    error = pickle.loads(pickle.dumps(kind("text", detail="d", hint="h")))
    assert type(error) is kind
    assert (error.text, error.detail, error.hint) == ("text", "d", "h")


def test_docstring_draws_the_tree_as_it_is():
    # Given the drawing at the head of the file
    drawn = {}
    trail = []
    for indent, name in re.findall(r"^ {4}([│ ]*(?:[├└]── )?)(\w+)\b.*$", errors.__doc__, re.M):
        if name in CLASSES:
            depth = len(indent) // 4
            trail[depth:] = [name]
            drawn[name] = trail[depth - 1] if depth else None
    # Then every class stands in it, under its own parent
    assert drawn.keys() == CLASSES.keys()
    for name, parent in drawn.items():
        assert parent == (CLASSES[name].__bases__[0].__name__ if name != "CoreCError" else None)


def test_all_lists_what_is_public():
    public = {*CLASSES, "ExitCode", "exit_code"}
    assert set(errors.__all__) == public
