"""Runs Python functions later, and again: at a date, every so often, or by the calendar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apscheduler.executors._invoke import current_run as current_run

release = __version__ = version = "3.20.0"
version_info = tuple(map(int, version.split(".")))

__all__ = ("__version__", "current_run", "release", "version", "version_info")


def __getattr__(name: str) -> Any:
    # Looked up on first use, so that `import apscheduler` alone costs next to nothing.
    if name == "current_run":
        from apscheduler.executors._invoke import current_run

        return current_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
