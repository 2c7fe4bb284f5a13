"""CoreC: watches fleets of sensors from a gateway.

    engine = corec.Engine("configs/corec_config.json")
    outcome = engine.feed(frames, at=1_700_000_000_000)

`python -m corec` runs a node.  Names are loaded on first use: `import corec` alone costs next to nothing.
"""
from importlib import import_module

from corec.version import VERSION as __version__

TYPE_CHECKING = False  # type checkers take it for True; the module `typing` is not loaded for it
if TYPE_CHECKING:
    from corec.engine import Engine
    from corec.engine.outcome import Outcome
    from corec.publish import Publisher

__all__ = ["Engine", "Outcome", "Publisher", "__version__", "get_include", "publish"]

_HOMES = {"Engine": "corec.engine", "Outcome": "corec.engine.outcome", "Publisher": "corec.publish"}


def get_include() -> str:
    """Folder of the C headers, for building Cython code that cimports `corec._core`."""
    from pathlib import Path

    return str(Path(__file__).parent / "_core")


def __getattr__(name: str) -> object:
    if name == "publish":
        return import_module("corec.publish")  # a module that can be called
    if name not in _HOMES:
        raise AttributeError(f"module 'corec' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
