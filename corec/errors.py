"""Every error CoreC raises on purpose, and the exit code each one gives.

    CoreCError
    ├── InputError             yours to put right: what you gave, or the machine it runs on
    │   ├── UsageError           a command or a call that cannot be carried out as given
    │   ├── NotBuilt             a source folder whose compiled modules are missing; also an ImportError
    │   ├── ConfigError          either configuration file, or a file that one of them names
    │   ├── ServerError          a server that the configuration names, and what it refuses
    │   │   ├── ServerAway         it cannot be reached; the work waits until it can
    │   │   └── BackPressure       a sender is ahead of its server and has no room left to wait in
    │   ├── PluginError          a plugin that cannot be loaded or breaks its contract
    │   ├── FrameError           bytes that are no readings
    │   │   ├── PartialFrame       a length that is no multiple of 10
    │   │   └── DamagedBatch       an envelope whose bytes are not what its producer wrote
    │   ├── CapacityError        more than `max_ram_mb` or a block's `max_size` allows
    │   └── StorageError         the data folder
    │       ├── DamagedFile        a checksum that does not match
    │       ├── FolderInUse        another node runs on it, or reads the same streams
    │       ├── DiskFull           no room left to write
    │       └── FenceLost          another node took over; this one has to stop
    └── Bug                    ours: please report it
        ├── InternalError        a promise of CoreC to itself that does not hold
        └── UnfoldableEntry      folding failed at one entry of the log, which is put aside

An `InputError` is shown as its text; a `Bug` is shown with its traceback.
"""

from enum import IntEnum
from typing import ClassVar

__all__ = [
    "BackPressure",
    "Bug",
    "CapacityError",
    "ConfigError",
    "CoreCError",
    "DamagedBatch",
    "DamagedFile",
    "DiskFull",
    "ExitCode",
    "FenceLost",
    "FolderInUse",
    "FrameError",
    "InputError",
    "InternalError",
    "NotBuilt",
    "PartialFrame",
    "PluginError",
    "ServerAway",
    "ServerError",
    "StorageError",
    "UnfoldableEntry",
    "UsageError",
    "exit_code",
]


class ExitCode(IntEnum):
    """What a `corec` command tells the shell and the supervisor."""

    OK = 0
    BUG = 1
    USAGE = 2  # click's own code for a command line it cannot read
    CONFIG = 3
    DATA = 4  # damaged bytes: a frame, a batch, a file
    CAPACITY = 5  # RAM
    IN_USE = 6
    SERVER = 7
    FENCE_LOST = 8  # a supervisor must not restart: the shard has another owner
    DISK_FULL = 9
    PLUGIN = 10


class CoreCError(Exception):
    """Base of all errors. The text says what was expected, what came and where; the hint says what to do."""

    exit_code: ClassVar[ExitCode] = ExitCode.BUG

    def __init__(self, text: str, *, detail: str | None = None, hint: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.text]
        if self.detail:
            lines.append(f"DETAIL: {self.detail}")
        if self.hint:
            lines.append(f"HINT: {self.hint}")
        return "\n".join(lines)


class InputError(CoreCError):
    """Caused by what the user gave, or by the machine. Shown as its text, without a traceback."""

    exit_code = ExitCode.USAGE


class UsageError(InputError):
    """A command that cannot be carried out as typed."""


class NotBuilt(InputError, ImportError):
    """The compiled modules, or the packages that CoreC needs, are missing or do not load."""

    @classmethod
    def without(cls, package: str | None) -> "NotBuilt":
        """The error where the Python that runs does not have *package*."""
        import sys

        return cls(f"expected the package {package} in {sys.executable}, got none: CoreC is not installed there",
                   hint="in a source folder run `make build`, and then .venv/bin/corec; else pip install corec")  # fmt: skip


class ConfigError(InputError):
    """Either configuration file, or a file that one of them names."""

    exit_code = ExitCode.CONFIG


class ServerError(InputError):
    """A server that the configuration names, and what it refuses."""

    exit_code = ExitCode.SERVER

    def __init__(self, text: str, *, detail: str | None = None, hint: str | None = None, away: str | None = None) -> None:
        """away: the server, by kind and address, where it is the connection that failed: it passes when the server is back."""
        super().__init__(text, detail=detail, hint=hint)
        self.away = away


class ServerAway(ServerError):
    """The server cannot be reached. The work waits until it can."""


class BackPressure(ServerError):
    """A sender is ahead of its server and has no room left to wait in."""


class PluginError(InputError):
    """A plugin that cannot be loaded or breaks its contract."""

    exit_code = ExitCode.PLUGIN


class FrameError(InputError):
    """Bytes that are no readings."""

    exit_code = ExitCode.DATA


class PartialFrame(FrameError):
    """A length that is no multiple of a frame's 10 bytes."""


class DamagedBatch(FrameError):
    """An envelope whose bytes are not what its producer wrote."""


class CapacityError(InputError):
    """More than `max_ram_mb` allows; the text carries the arithmetic."""

    exit_code = ExitCode.CAPACITY


class StorageError(InputError):
    """An error of the data folder or of the store."""

    exit_code = ExitCode.DATA


class DamagedFile(StorageError):
    """A file whose checksum does not match."""


class FolderInUse(StorageError):
    """Another node runs on this data folder, or reads these streams."""

    exit_code = ExitCode.IN_USE


class DiskFull(StorageError):
    """No room left to write."""

    exit_code = ExitCode.DISK_FULL


class FenceLost(StorageError):
    """Another node took over; this one has to stop and stay stopped."""

    exit_code = ExitCode.FENCE_LOST


class Bug(CoreCError):
    """An error of CoreC itself. Shown with its traceback."""

    def __init__(self, text: str, *, detail: str | None = None, hint: str | None = None) -> None:
        hint = hint or "this is a bug in CoreC; please report it with the lines above"
        super().__init__(text, detail=detail, hint=hint)


class InternalError(Bug):
    """An internal assumption of CoreC does not hold."""


class UnfoldableEntry(Bug):
    """Folding failed at one entry of the log, which is put aside."""


def exit_code(error: BaseException) -> ExitCode:
    """The exit code for an error that ends a command. Any error that is not a CoreCError counts as a bug."""
    return error.exit_code if isinstance(error, CoreCError) else ExitCode.BUG
