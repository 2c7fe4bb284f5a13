"""Errors of msgspec as ConfigError: expected, got, where, and a hint."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import inspect

from corec.config.document import Document, KeyPath, kind, show
from corec.errors import ConfigError

_MESSAGE = re.compile(r"(?P<what>.*?)(?: - at `(?P<path>\$.*)`)?", re.DOTALL)
_STEP = re.compile(r"\.(?P<key>[^.\[]+)|\[(?P<index>\d+)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)


def problem(
    document: Document, error: msgspec.ValidationError, root: type, base: KeyPath = ()
) -> ConfigError:
    """The ConfigError for msgspec's error in *document*, decoded as *root* from path *base* on."""
    if " - at `key` in `" in str(error):
        return document.error(base, "keys that are strings", "another type")
    what, path = _split(str(error))
    found = _find(inspect.type_info(root), path, document.value(base))
    path = base + path
    if unknown := _UNKNOWN.fullmatch(what):
        return _unknown_key(document, path, unknown[1], _keys(found, document.value(path)))
    if missing := _MISSING.fullmatch(what):
        return _missing_key(document, path, found, missing[1])
    value = document.value(path)
    got = kind(value) if _extra(found, "secret") else show(value)
    return document.error(path, describe(found), got, hint=_hint(found, value))


def suggestion(word: Any, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known word that *word* is probably a typo of; None when none is close."""
    from difflib import get_close_matches  # 15 ms, and only a mistake needs it

    near = get_close_matches(str(word).lower(), sorted(known), n=1, cutoff=cutoff)
    return near[0] if near else None


def did_you_mean(word: Any, known: Iterable[str]) -> str | None:
    """`did you mean "word"?` as a hint; None when no known word is close."""
    near = suggestion(word, known)
    return near and f'did you mean "{near}"?'


def describe(found: inspect.Type) -> str:
    """What a type accepts, such as `an integer from 0 to 127`."""
    if expected := _extra(found, "expected"):
        return expected
    if isinstance(found, inspect.Metadata):
        return describe(found.type)
    if isinstance(found, inspect.UnionType):
        return " or ".join(describe(each) for each in found.types)
    return _describe_bare(found)


def _describe_bare(found: inspect.Type) -> str:
    match found:
        case inspect.IntType():
            return f"an integer{_range(found)}"
        case inspect.FloatType():
            return f"a number{_range(found)}"
        case inspect.StrType():
            return "a string that is not empty" if found.min_length else "a string"
        case inspect.BoolType():
            return "true or false"
        case inspect.NoneType():
            return "null"
        case inspect.LiteralType():
            return "one of " + ", ".join(f'"{value}"' for value in found.values)
        case inspect.VarTupleType():
            return "a list"
        case inspect.StructType() if found.tag:
            return f'an object with "{found.tag_field}": "{found.tag}"'
        case _:
            return "an object"


def _range(found: inspect.IntType | inspect.FloatType) -> str:
    if found.gt is not None:
        return f" above {_number(found.gt)}, at most {_number(found.le)}"
    return f" from {_number(found.ge)} to {_number(found.le)}"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _split(message: str) -> tuple[str, KeyPath]:
    parts = _MESSAGE.fullmatch(message)
    steps = _STEP.finditer(parts["path"] or "")
    return parts["what"], tuple(int(s["index"]) if s["index"] else s["key"] for s in steps)


def _unknown_key(document: Document, path: KeyPath, key: str, known: set[str]) -> ConfigError:
    absent = known - document.value(path).keys()  # a key that is there was not meant a second time
    hint = did_you_mean(key, absent) or did_you_mean(key, known)
    hint = hint or f"the keys here are {', '.join(sorted(known))}"
    return document.error((*path, key), "a key that CoreC knows", show(key), hint=hint)


def _missing_key(document: Document, path: KeyPath, found: inspect.Type, key: str) -> ConfigError:
    fields = [field for each in _bare(found) if (field := _field(each, key, None))]
    hint = _hint(fields[0].type, None) if fields else None
    return document.error(path, f'the key "{key}"', "none", hint=hint)


def _find(here: inspect.Type, path: KeyPath, value: Any) -> inspect.Type:
    """The type that applies to the value at *path*."""
    for step in path:
        here = _descend(_bare(here), step, value)
        value = value[step]
    return here


def _descend(options: list[inspect.Type], step: str | int, value: Any) -> inspect.Type:
    for option in options:
        if isinstance(option, inspect.VarTupleType) and isinstance(step, int):
            return option.item_type
        if option_field := _field(option, step, value):
            return option_field.type
    tags = tuple(o.tag for o in options if isinstance(o, inspect.StructType) and o.tag)
    return inspect.LiteralType(tags) if tags else inspect.AnyType()


def _field(option: inspect.Type, name: str | int, value: Any) -> inspect.Field | None:
    if not isinstance(option, inspect.StructType) or not _chosen(option, value):
        return None
    return next((field for field in option.fields if field.encode_name == name), None)


def _chosen(option: inspect.StructType, value: Any) -> bool:
    """Whether *value* selects this tagged *option*."""
    return not option.tag or not value or value.get(option.tag_field) == option.tag


def _keys(found: inspect.Type, value: Any) -> set[str]:
    structs = [each for each in _bare(found) if isinstance(each, inspect.StructType)]
    chosen = [each for each in structs if _chosen(each, value)]
    tags = {each.tag_field for each in chosen if each.tag}
    return {field.encode_name for each in chosen for field in each.fields} | tags


def _bare(found: inspect.Type) -> list[inspect.Type]:
    """The alternatives of a type, without descriptions."""
    if isinstance(found, inspect.Metadata):
        return _bare(found.type)
    if isinstance(found, inspect.UnionType):
        return [each for option in found.types for each in _bare(option)]
    return [found]


def _extra(found: inspect.Type, name: str) -> Any:
    while isinstance(found, inspect.Metadata):
        if found.extra and name in found.extra:
            return found.extra[name]
        found = found.type
    return None


def _hint(found: inspect.Type, value: Any) -> str | None:
    options = [
        str(v)
        for each in _bare(found)
        if isinstance(each, inspect.LiteralType)
        for v in each.values
    ]
    near = did_you_mean(value, options)
    if hint := near or _extra(found, "hint"):
        return hint
    while isinstance(found, inspect.Metadata):
        if description := (found.extra_json_schema or {}).get("description"):
            return description
        found = found.type
    return None
