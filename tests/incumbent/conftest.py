"""3.11.3 itself, in an environment of its own, and this package beside it."""

from __future__ import annotations

import os
import subprocess

import pytest
from sides import Library, Side, incumbent, ours


@pytest.fixture(scope="session")
def incumbent_library() -> Library:
    """3.11.3 as an interpreter that finds it; the environment is made if need be."""
    try:
        return incumbent()
    except (OSError, subprocess.CalledProcessError) as error:
        if "CI" in os.environ:
            raise
        pytest.skip(f"NOT compared with 3.11.3, which could not be installed: {error}")


@pytest.fixture(scope="session")
def there(incumbent_library: Library) -> Side:
    return Side(incumbent_library)


@pytest.fixture(scope="session")
def here() -> Side:
    return Side(ours())
