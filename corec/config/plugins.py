"""plugins_config.json, and the config.json of each plugin.

CoreC reads the keys of `PluginSection`; all others are passed to the plugin unchanged.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from corec.config.document import Document, KeyPath, kind, read_document
from corec.config.problem import problem, suggestion
from corec.config.types import PluginFile, PluginSection

OWN_KEYS = frozenset(PluginSection.__struct_fields__)
#: How alike a plugin's key must be to one of CoreC's before it counts as a likely typo.
_TYPO_LIKENESS = 0.8
_OWN_HINT = 'the keys of this one plugin, as in {"intervalo": 2.0}'
_SECTION_HINT = 'each key names a plugin, as in {"alerts": {"enabled": true}}'


def load_plugins(file: Path) -> tuple[PluginFile, tuple[str, ...]]:
    """(the sections of plugins_config.json by plugin, warnings about probable typos)."""
    document = _read(file, _SECTION_HINT)
    sections = {name: section for name, section in document.tree.items() if name != "$schema"}
    for name, section in sections.items():
        if not isinstance(section, dict):
            raise document.error(
                (name,), "an object of a plugin's keys", kind(section), hint=_SECTION_HINT
            )
        _check_own_keys(document, (name,))
    return sections, tuple(_warnings(document, sections))


def load_plugin_config(file: Path) -> dict[str, Any]:
    """The config.json of a plugin; {} when it does not exist."""
    document = _read(file, _OWN_HINT)
    _check_own_keys(document, ())
    return document.tree


def settings_of(config: Mapping[str, Any]) -> PluginSection:
    """CoreC's own keys of a plugin's configuration, with defaults."""
    return msgspec.convert(dict(config), PluginSection)


def merge_plugin_config(overrides: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration that the plugin gets. plugins_config.json wins key by key, but either file can disable the plugin."""
    merged = {**own, **overrides}
    if own.get("enabled") is False:
        merged["enabled"] = False
    return merged


def _read(file: Path, hint: str) -> Document:
    document = read_document(file, missing={})
    if not isinstance(document.tree, dict):
        raise document.error((), "an object", kind(document.tree), hint=hint)
    return document


def _check_own_keys(document: Document, path: KeyPath) -> None:
    try:
        msgspec.convert(document.value(path), PluginSection)
    except msgspec.ValidationError as error:
        raise problem(document, error, PluginSection, path) from None


def _warnings(document: Document, sections: PluginFile) -> Iterator[str]:
    for name, section in sections.items():
        for key in section.keys() - OWN_KEYS:
            near = suggestion(key, OWN_KEYS, cutoff=_TYPO_LIKENESS)
            if near and near not in section:
                yield (
                    f'{document.source}: "{key}" of plugin "{name}" passes to the plugin;'
                    f' did you mean "{near}"?'
                )
