"""Makes the hand-made CT of the conversion's tests and the servers of this folder importable."""

import sys
from pathlib import Path

sys.path += [str(Path(__file__).parents[1] / name) for name in ("convert", "retrieve")]
