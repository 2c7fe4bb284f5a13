"""The compiled engine room: no I/O, no clock, no Python object in a loop.

Plugin authors want `corec.core`; gateway programs want `corec.Engine`.  The .pxd files here are the C-level
API and ship with the package.
"""
try:
    from corec._core import arena, block, calls, wire  # noqa: F401
except ImportError as error:
    from corec._core.missing import explained

    raise explained(error) from None
