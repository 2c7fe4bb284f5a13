"""The compiled engine room: no I/O, no clock, no Python object in a loop.

Plugin authors want `corec.core`; gateway programs want `corec.Engine`.  The .pxd files here are the C-level
API and ship with the package.
"""
try:
    from corec._core import arena, block, calls, wire  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"corec's compiled part does not load: {error}\n"
        "HINT: install a wheel (pip install corec), or build in place with `make build`"
    ) from error
