"""The two configuration files, read into typed values with every default filled in.

    config = load("configs")                 # a folder, or corec_config.json itself
    config = parse({"bloques": [...]})       # a mapping, or JSON text

`types` says what the files may hold.  `document` finds the line of a mistake, `problem` describes it.  `blocks` resolves the
entries, `servers` the passwords.  `plugins` reads what the plugins get.
"""

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any
from unicodedata import normalize

import msgspec
from msgspec.structs import asdict, replace

from corec.config.advice import advice
from corec.config.blocks import BlockEntry, EntryIndex, check_entry, next_wire_id, resolve_entries, resolve_entry
from corec.config.digest import ConfigDigest
from corec.config.document import Document, read_document, show
from corec.config.modules import check_modules, fold_accents, resolve_modules
from corec.config.plugins import load_plugin_config, load_plugins, merge_plugin_config
from corec.config.problem import did_you_mean, problem
from corec.config.servers import (
    SECTIONS,
    CeleryServer,
    DbServer,
    RedisServer,
    Secret,
    require_celery,
    resolve_celery,
    resolve_db,
    resolve_redis,
    without_servers,
)
from corec.config.types import ROLES, CoreFile, FuenteHost, FuenteSimulada, PluginFile
from corec.errors import ConfigError

__all__ = [
    "BlockEntry",
    "CeleryServer",
    "Config",
    "DbServer",
    "FuenteHost",
    "FuenteSimulada",
    "RedisServer",
    "Secret",
    "fold_accents",
    "load",
    "load_plugin_config",
    "merge_plugin_config",
    "next_wire_id",
    "parse",
    "parse_entry",
    "wire_ranges",
]

CORE_FILE = "corec_config.json"
PLUGINS_FILE = "plugins_config.json"

#: Shards of a fleet that Celery workers share, if the configuration does not say.
SHARDS = 16
#: What of the top level changes the engine's results, beside `auditoria` and `bloques`.
_ENGINE_KEYS = ("fragmentos", "max_adelanto", "max_skew", "retraso_max")
_NO_MAPPING_KEYS = {"schema_url", *SECTIONS}


class Config(CoreFile, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """A node's whole configuration: the keys as the files name them, every default filled in."""

    db_config: DbServer | None
    redis_config: RedisServer | None
    celery_config: CeleryServer | None
    flota: str
    fragmentos: int
    bloques: tuple[BlockEntry, ...]
    fuentes: tuple[FuenteHost | FuenteSimulada, ...]
    plugins: PluginFile  # plugins_config.json, by plugin
    source: str  # what errors call it
    folder: Path  # what its relative paths start from
    file: Path | None  # where a reload reads it again; None: a program gave it
    embedded: bool  # its server sections were ignored
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        entities = sum(entry.entidades for entry in self.bloques)
        return f"<Config {self.source}: {len(self.bloques)} entries, {entities:,} entities>"

    @property
    def audits(self) -> bool:
        """Whether blocks get an anomaly score: the module `auditoria` runs."""
        return "auditoria" in self.modules and self.rol != "sensor"

    @cached_property
    def digest(self) -> str:
        """Hash of all that changes what the engine computes, however it is spelled."""
        return self.begin_digest().hexdigest()

    def begin_digest(self) -> ConfigDigest:
        """The state of the digest computation. Entries may be added to it."""
        settings = {key: getattr(self, key) for key in _ENGINE_KEYS}
        return ConfigDigest(self.auditoria if self.audits else None, settings, self.bloques)

    def to_mapping(self) -> dict[str, Any]:
        """corec_config.json without its servers, as JSON that `parse` reads on any machine."""
        keys = [key for key in CoreFile.__struct_fields__ if key not in _NO_MAPPING_KEYS]
        mapping = {key: msgspec.to_builtins(getattr(self, key)) for key in keys if key != "bloques"}
        return mapping | {"bloques": [entry.to_mapping() for entry in self.bloques]}


def load(path: str | os.PathLike[str], *, embedded: bool = False) -> Config:
    """The configuration in a folder, or in a file and the plugins_config.json beside it."""
    file = Path(path)
    if file.is_dir():
        file /= CORE_FILE
    document = read_document(file)
    plugins, warnings = load_plugins(file.with_name(PLUGINS_FILE))
    config = _resolve(document, file, embedded, plugins=plugins)
    if not embedded:
        require_celery(document, config)
    check_modules(document, tuple(document.tree.get("modules", ())))
    worth_a_word = (f"{file}: {line}" for line in advice(config, config.bloques))
    return replace(config, warnings=(*warnings, *worth_a_word))


def parse(
    content: Mapping[str, Any] | str | bytes, *, source: str = "<mapping>", embedded: bool = False
) -> Config:
    """The configuration in a mapping or in JSON text; its relative paths start from here."""
    return _resolve(Document(_plain(content, source), source), None, embedded)


def parse_entry(content: Mapping[str, Any], *, source: str, earlier: EntryIndex) -> BlockEntry:
    """One more entry of `bloques`, to stand behind the *earlier* ones."""
    document, path = Document({"bloques": [content]}, source), ("bloques", 0)
    (spec,) = _typed(document, embedded=False).bloques
    entry = resolve_entry(document, path, spec, Path(), earlier.following)
    check_entry(document, path, entry, earlier)
    return entry


def wire_ranges(config: Config) -> list[tuple[int, int, int]]:
    """(index in `bloques`, first wire id, count) of the entries whose ids are contiguous.

    The others have a device table, `entry.table`, instead.
    """
    return [
        (index, entry.first_id, entry.entidades)
        for index, entry in enumerate(config.bloques)
        if entry.first_id is not None
    ]


def _plain(content: Any, source: str) -> Any:
    if isinstance(content, Mapping):
        return dict(content)
    try:
        return content.decode() if isinstance(content, bytes | bytearray) else content
    except UnicodeDecodeError as error:
        raise ConfigError(f"{source}: expected text in UTF-8, got {error}") from None


def _resolve(
    document: Document,
    file: Path | None,
    embedded: bool,
    *,
    plugins: PluginFile | None = None,
) -> Config:
    core, folder = _typed(document, embedded), file.parent if file else Path()
    celery = None if embedded else resolve_celery(document, core, folder)
    entries = resolve_entries(document, core.bloques, folder)
    resolved = {
        "bloques": entries,
        "fuentes": tuple(
            _source(document, index, core, entries) for index in range(len(core.fuentes))
        ),
        "modules": resolve_modules(core.modules),
        "rol": _role(document, core.rol),
        "db_config": resolve_db(document, core.db_config, folder),
        "redis_config": resolve_redis(document, core.redis_config, folder),
        "celery_config": celery,
        "flota": core.flota or core.instance_id,
        "fragmentos": core.fragmentos or (SHARDS if celery else 1),
    }
    own = {
        "plugins": plugins or {},
        "source": document.source,
        "folder": folder,
        "file": file,
        "embedded": embedded,
        "warnings": (),
    }
    return Config(**asdict(core) | resolved | own)


def _typed(document: Document, embedded: bool) -> CoreFile:
    tree = without_servers(document.tree) if embedded else document.tree
    try:
        return msgspec.convert(tree, CoreFile)
    except msgspec.ValidationError as error:
        raise problem(document, error, CoreFile) from None


def _source(
    document: Document, index: int, core: CoreFile, entries: tuple[BlockEntry, ...]
) -> FuenteHost | FuenteSimulada:
    source = core.fuentes[index]
    if isinstance(source, str):
        source = FuenteHost() if source == "host" else FuenteSimulada()
    if not entries:
        hint = 'name at least one entry in "bloques"'
        raise document.error(("fuentes", index), "a block for its readings", "none", hint=hint)
    return _host(document, index, source, entries) if isinstance(source, FuenteHost) else source


def _host(
    document: Document, index: int, source: FuenteHost, entries: tuple[BlockEntry, ...]
) -> FuenteHost:
    known = [entry.id for entry in entries]
    name = normalize("NFC", source.bloque or known[0])
    if name not in known:
        hint = did_you_mean(name, known) or f"the entries are {', '.join(known)}"
        path = ("fuentes", index, "bloque")
        raise document.error(path, "the id of an entry of bloques", show(name), hint=hint)
    return replace(source, bloque=name)


def _role(document: Document, role: str) -> str:
    folded = fold_accents(role)
    if folded not in ROLES:
        expected = "one of " + ", ".join(f'"{name}"' for name in ROLES)
        raise document.error(("rol",), expected, show(role), hint=did_you_mean(role, ROLES))
    return folded
