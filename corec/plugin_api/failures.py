"""Errors that the code of a plugin may raise, and their text."""
from pathlib import Path
from traceback import walk_tb

from corec.errors import CoreCError

#: Module names of plugins begin so.
PREFIX = "corec_plugins."


class LeftBehind(BaseException):
    """Raised in plugin code that blocks its thread for too long.  No Exception, since such code may swallow those."""


#: What a plugin's code may raise without harm to others.
WHATEVER = (Exception, SystemExit, LeftBehind)


def describe_error(error: BaseException) -> str:
    """The text of an error, with file and line of the plugin's code that raised it."""
    lines = [(Path(frame.f_code.co_filename).name, line) for frame, line in walk_tb(error.__traceback__)
              if str(frame.f_globals.get("__name__")).startswith(PREFIX)]  # fmt: skip
    where = " ({}:{})".format(*lines[-1]) if lines else ""
    if isinstance(error, CoreCError):
        first, *rest = str(error).split("\n", 1)
        return "\n".join([first + where, *rest])
    return f"{type(error).__name__}: {error}{where}"
