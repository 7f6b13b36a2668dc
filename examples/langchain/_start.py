"""`start`, which all examples share: see `examples/_cli.py`."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from _cli import start  # noqa: F401
