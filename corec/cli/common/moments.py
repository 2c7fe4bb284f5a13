"""Times on the command line: `10m`, `2h`, `2026-01-31 12:00`, `1700000000`."""

import math
import re
from typing import Any

import click

from corec.common.units import DAY_MS

_AGO = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)")
_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}
FORMS = "10m, 2h, 3d ago; 2026-01-31 12:00 (UTC) or with +01:00; s or ms since 1970"


class Seconds(click.ParamType):
    """A span of time, as seconds."""

    name = "SECONDS"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        """Seconds as a float; the command fails where *value* is no span of time."""
        span = _AGO.fullmatch(str(value).strip())
        try:
            seconds = float(span[1]) * _UNIT_MS[span[2]] / 1000 if span else float(value)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            self.fail(f"expected seconds, 0 or more, got {value!r}.\nHINT: 90, 0.5, 10m, 2h", parameter, context)
        return seconds


class Moment(click.ParamType):
    """A time, as ms since 1970."""

    name = "TIME"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        """ms since 1970; the command fails where *value* is no time."""
        if isinstance(value, int):
            return value
        from corec.common.times import detect, wall_ms

        ago = _AGO.fullmatch(value.strip())
        if ago:
            return wall_ms() - round(float(ago[1]) * _UNIT_MS[ago[2]])
        format = detect(value)
        if format is None:
            self.fail(f"expected a time, got {value!r}.\nHINT: {FORMS}", parameter, context)
        return format.read(value)
