"""Where tests of the SQL job store find what others have written down."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "triggers"))
