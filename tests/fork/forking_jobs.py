"""Jobs, and what they start in other processes: a worker process has to import them."""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import Any


def pid() -> int:
    return os.getpid()


def say_and_exit(code: int) -> None:
    """Use what a child may have of the parent's scheduler, and end."""
    scheduler: Any = getattr(sys.modules["__main__"], "scheduler", None)
    print("a child has", scheduler and scheduler.running, flush=True)
    sys.exit(code)


def child_by(method: str) -> int | None:
    """Let multiprocessing start a process, and return how it ended."""
    process = multiprocessing.get_context(method).Process(target=say_and_exit, args=(3,))
    process.start()
    process.join(30)
    return process.exitcode
