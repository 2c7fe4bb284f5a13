"""A wall clock of its own for a server that a test starts."""
import subprocess
import tempfile
from pathlib import Path

import pytest

from corec.storage import disk

SOURCE = Path(__file__).with_suffix(".c")


class WallClock:
    """As this machine's until it is set.  `environment` is what the server is started with, which may run as somebody else."""

    def __init__(self, folder: Path) -> None:
        library, self._ahead = folder / "wall_clock.so", folder / "ahead"
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
        self.environment = {"LD_PRELOAD": str(library), "COREC_CLOCK_FILE": str(self._ahead)}
        self.set(0)

    def set(self, ahead_s: int) -> None:
        """Set it so far ahead of this machine's."""
        disk.replace_text(self._ahead, f"{ahead_s}")
        self._ahead.chmod(0o644)


@pytest.fixture
def wall_clock():
    with tempfile.TemporaryDirectory(prefix="corec-clock-") as folder:
        Path(folder).chmod(0o755)
        yield WallClock(Path(folder))
