"""Where things of the checkout are."""
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: The plugins of the original documentation, as printed.
DOCUMENTED = ROOT / "tests" / "seed"
