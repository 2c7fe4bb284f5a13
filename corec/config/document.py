"""A JSON document that can find the line of each key, for error messages."""

import json
import re
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any

from corec.errors import ConfigError, InternalError

KeyPath = tuple[str | int, ...]

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_GOT_LENGTH = 60
_KINDS = {
    dict: "an object",
    list: "a list",
    tuple: "a list",
    str: "a string",
    bool: "true or false",
    type(None): "null",
}


class Document:
    """The tree of a JSON text, or of a mapping from a program, and the name of its source."""

    def __init__(self, content: Any, source: str) -> None:
        self.source = source
        self.text = content.removeprefix("\ufeff") if isinstance(content, str) else None
        self.tree = content if self.text is None else _read(self.text, self)
        self._check_values()

    def error(
        self,
        path: KeyPath,
        expected: str,
        got: str,
        *,
        hint: str | None = None,
        occurrence: int = 0,
    ) -> ConfigError:
        """A ConfigError for the value at *path*. occurrence: which one of duplicate keys."""
        where = f"{render_path(path)}{self._line_note(path, occurrence)}"
        return ConfigError(f"{self.source}: expected {expected}, got {got} - at {where}", hint=hint)

    def value(self, path: KeyPath) -> Any:
        here = self.tree
        for key in path:
            here = here[key]
        return here

    def _line_note(self, path: KeyPath, occurrence: int) -> str:
        if self.text is None:
            return ""
        offsets = [offset for found, offset in value_offsets(self.text) if found == path]
        if not offsets:
            return ""
        return f" (line {_line(self.text, offsets[occurrence])})"

    def _check_values(self) -> None:
        for path, value in _leaves(self.tree):
            if isinstance(value, float) and not isfinite(value):
                raise self.error(path, "a finite number", show(value), hint="leave the key out, or write null where there is no limit")
            if isinstance(value, str) and not _encodable(value):
                raise self.error(path, "text in Unicode", show(value))


def read_document(file: Path, *, missing: Any = None) -> Document:
    """The JSON *file*. When it does not exist: *missing*, or ConfigError when that is None."""
    try:
        return Document(file.read_text(encoding="utf-8"), str(file))
    except FileNotFoundError:
        if missing is not None:
            return Document(missing, str(file))
        raise ConfigError(
            f"{file}: expected a configuration file, got none",
            hint="name its folder with --config, or have one written by `corec init`",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or f"bytes that are not: {error}"
        raise ConfigError(
            f"{file}: expected a readable file in UTF-8, got {reason.lower()}"
        ) from None


def render_path(path: KeyPath) -> str:
    """`('bloques', 0, 'canal')` as `$.bloques[0].canal`."""
    return "$" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)


def show(value: Any) -> str:
    """A value as JSON, short enough for a line of text."""
    if isinstance(value, dict | list | tuple):
        return kind(value)
    text = json.dumps(value, ensure_ascii=False, default=repr)
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= _GOT_LENGTH else text[: _GOT_LENGTH - 3] + "..."


def kind(value: Any) -> str:
    """The JSON type of a value in words, for values that must not be shown."""
    return _KINDS.get(type(value), "a number")


def value_offsets(text: str) -> Iterator[tuple[KeyPath, int]]:
    """The path and offset of every key and list item of a valid JSON *text*, in order."""
    path: list[str | int | None] = []  # None: an object's next key is not read yet
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark in "}]":
            path.pop()
        elif mark == ",":
            path[-1] = path[-1] + 1 if isinstance(path[-1], int) else None
        elif mark != ":":
            yield from _value_offset(path, token)


def _value_offset(path: list, token: re.Match) -> Iterator[tuple[KeyPath, int]]:
    if path and path[-1] is None:
        path[-1] = json.loads(token[0])
        yield tuple(path), token.start()
        return
    if path and isinstance(path[-1], int):
        yield tuple(path), token.start()
    if token[0] in "{[":
        path.append(None if token[0] == "{" else 0)


class _Duplicate(Exception):
    pass


def _read(text: str, document: Document) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except _Duplicate:
        raise _duplicate_error(text, document) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ConfigError(
            f"{document.source}: expected valid JSON, got a mistake - at {where}",
            hint=_syntax_hint(error, text),
        ) from None
    except (RecursionError, ValueError) as error:
        raise ConfigError(f"{document.source}: expected valid JSON, got {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise _Duplicate
    return mapping


def _duplicate_error(text: str, document: Document) -> ConfigError:
    seen: dict[KeyPath, int] = {}
    for path, offset in value_offsets(text):
        if path in seen:
            hint = f"the first one stands in line {_line(text, seen[path])}; keep one of the two"
            return document.error(
                path, "each key once", f'"{path[-1]}" twice', hint=hint, occurrence=1
            )
        seen[path] = offset
    raise InternalError("the JSON reader saw a duplicate key that its tokens do not show")


def _syntax_hint(error: json.JSONDecodeError, text: str) -> str:
    before = text[: error.pos].rstrip()
    if not before:
        return f"a configuration begins with {{, this with {show(text.strip()[:20])}" if text.strip() else "the file is empty"
    if error.msg.startswith("Expecting property name") and before.endswith(","):
        return "a comma before } is one too many"
    if error.msg.startswith("Expecting value") and before.endswith(","):
        return "a comma before ] is one too many"
    return error.msg[0].lower() + error.msg[1:]


def _line(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


def _leaves(tree: Any) -> Iterator[tuple[KeyPath, Any]]:
    """(path, value) of every key and every value that is not a container."""
    stack: list[tuple[KeyPath, Any]] = [((), tree)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, dict):
            yield from ((path, str(key)) for key in value)
            stack.extend(((*path, key), item) for key, item in value.items())
        elif isinstance(value, list | tuple):
            stack.extend(((*path, index), item) for index, item in enumerate(value))
        else:
            yield path, value


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
