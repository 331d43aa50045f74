"""Importing this leaves nothing to chance: jitter always comes to the same part of itself.

It has to come before anybody takes the name over.
"""

from __future__ import annotations

import random

from row_specs import CHANCE


def uniform(low: float, high: float) -> float:
    return low + (high - low) * CHANCE


random.uniform = uniform
