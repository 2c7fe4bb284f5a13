"""Values that several keys of the configuration take."""

from typing import Annotated

from msgspec import Meta

MAX_WIRE_ID = 2**32 - 1
#: Largest magnitude the engine's 32-bit floats hold.
MAX_FLOAT32 = 3.4e38

Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        # `(?!\n)`: Python's `$` alone would let a line break pass at the end
        pattern=r"^[^\x00-\x20/]([^\x00-\x1f/]*[^\x00-\x20/])?$(?!\n)",
        extra={"expected": "a name of 1 to 64 characters, without '/' and no space at its ends"},
    ),
]
WireId = Annotated[int, Meta(ge=0, le=MAX_WIRE_ID)]
Limit = Annotated[float, Meta(ge=-MAX_FLOAT32, le=MAX_FLOAT32)]
#: Keeps every value of a native function, a counter's 2**24 steps included, below the engine's bound of 1e18.
Coefficient = Annotated[float, Meta(ge=-1e10, le=1e10)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Weight = Annotated[float, Meta(ge=0, le=1000)]
Text = Annotated[str, Meta(min_length=1)]
