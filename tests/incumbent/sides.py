"""A library in an interpreter of its own, behind calls that are the same for both."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
sys.path.append(str(Path(__file__).resolve().parent.parent / "triggers"))

from benchmarks.libraries import CHECKOUT, Library, incumbent, ours

__all__ = ("CHECKOUT", "PATIENCE", "Library", "Side", "incumbent", "ours")

DRIVER = CHECKOUT / "tests" / "incumbent" / "row_driver.py"
#: Seconds after which an answer is given up.
PATIENCE = 120


@dataclass(frozen=True)
class Side:
    """A library that rows can be written and read with: ``side.read(rows, nows)``."""

    library: Library

    def __getattr__(self, operation: str) -> Any:
        return partial(self._ask, operation)

    def _ask(self, operation: str, *arguments: object) -> Any:
        done = subprocess.run(
            [self.library.python, DRIVER, operation],
            input=pickle.dumps(arguments),
            env={**os.environ, "PYTHONPATH": "", **self.library.environment},
            capture_output=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr.decode().strip().splitlines()[-1:]
        return pickle.loads(done.stdout)
