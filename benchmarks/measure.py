"""What the scenario programs share: two clocks, a figure, and the way to report it."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Figure:
    """What one process has measured.

    :param value: the figure itself, in the unit of its scenario
    :param cpu: processor time per operation in microseconds, where the scenario counts operations
    """

    value: float
    cpu: float | None = None


class Stopwatch:
    """Wall time and processor time, in seconds, spent inside a ``with`` block."""

    wall: float
    cpu: float

    def __enter__(self) -> Stopwatch:
        self._cpu_before = time.process_time()
        self._wall_before = time.perf_counter()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.wall = time.perf_counter() - self._wall_before
        self.cpu = time.process_time() - self._cpu_before

    def cpu_per(self, operations: int) -> float:
        """Return the processor time of one of so many operations, in microseconds."""
        return self.cpu / operations * 1e6

    def rate(self, operations: int) -> Figure:
        """Return so many operations as operations per second."""
        return Figure(operations / self.wall, self.cpu_per(operations))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` (0 to 1) of all do not exceed."""
    rank = max(1, math.ceil(share * len(values)))
    return sorted(values)[rank - 1]


def program(measure: Callable[..., Figure]) -> None:
    """Run ``measure`` with the keyword arguments given as JSON on the command line; print JSON."""
    figure = measure(**json.loads(sys.argv[1]))

    from apscheduler import __version__

    print(json.dumps({"version": __version__, **asdict(figure)}))
