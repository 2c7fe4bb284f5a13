"""The names in `modules`, with or without accents, and the modules that can be loaded."""

from pathlib import Path
from unicodedata import combining, normalize

from corec.config.document import Document, show
from corec.config.problem import did_you_mean

#: Modules of the design. Those that this version does not have yet are accepted and skipped.
DESIGNED = ("registro", "ejecucion", "sincronizacion", "auditoria")
_NO_MODULES = ("__init__", "base")


def fold_accents(name: str) -> str:
    """The name without accents, so that every spelling of `sincronización` is the same module."""
    return "".join(letter for letter in normalize("NFKD", name) if not combining(letter))


def resolve_modules(names: tuple[str, ...]) -> tuple[str, ...]:
    """The modules that run, each once. `registro` always runs."""
    folded = dict.fromkeys(fold_accents(name) for name in names)
    return tuple(folded) if "registro" in folded else ("registro", *folded)


def check_modules(document: Document, names: tuple[str, ...]) -> None:
    """Raise ConfigError for a name that no installed module has."""
    for index, name in enumerate(names):
        if fold_accents(name) not in DESIGNED and fold_accents(name) not in (known := installed_modules()):
            hint = did_you_mean(fold_accents(name), known)
            hint = hint or f"there are {', '.join(known)}; put others into corec/modules, or offer them at the entry point corec.modules"
            raise document.error(("modules", index), "the name of a module", show(name), hint=hint)


def installed_modules() -> list[str]:
    """All names that `modules` may contain on this machine."""
    from importlib.metadata import entry_points  # 20 ms, and only a name that is not of the design needs it

    files = {fold_accents(file.stem) for file in (Path(__file__).parents[1] / "modules").glob("*.py")}
    offered = {fold_accents(point.name) for point in entry_points(group="corec.modules")}
    return sorted({*DESIGNED, *files, *offered} - set(_NO_MODULES))
