"""Show that what a job costs does not depend on how many there are.

``python -m benchmarks.growth`` adds, fires and weighs a thousand jobs, then ten times as many, and
so on up to a million, each time in a fresh process. The exit status is 0 if adding and firing one
of a million costs at most twice what one of ten thousand does, and a job takes less than 1,000
bytes, else 1.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.libraries import Library, ours

SIZES = (1_000, 10_000, 100_000, 1_000_000)
REFERENCE = 10_000
"""The number of jobs to whose costs those of all larger numbers are compared."""
MOST_TIMES = 2.0
MOST_BYTES = 1000
COLUMNS = "{:>10}{:>16}{:>16}{:>16}{:>14}"


@dataclass(frozen=True)
class Cost:
    """What one job costs among so many: microseconds, and bytes.

    :param fire_date: of one-shots, which are gone afterwards
    :param fire_interval: of intervals, which stay
    """

    jobs: int
    add: float
    fire_date: float
    fire_interval: float
    memory: float

    def times(self, other: Cost) -> float:
        """Return how many times more than with ``other`` number of jobs one costs at worst."""
        return max(
            self.add / other.add,
            self.fire_date / other.fire_date,
            self.fire_interval / other.fire_interval,
        )


@dataclass
class Growth:
    """The costs at each size, and what is wrong with them."""

    costs: list[Cost] = field(default_factory=list)

    @property
    def complaints(self) -> list[str]:
        known = {cost.jobs: cost for cost in self.costs}
        found = [
            f"a job takes {cost.memory:,.0f} bytes among {cost.jobs:,}"
            for cost in self.costs
            if cost.jobs >= REFERENCE and cost.memory >= MOST_BYTES
        ]
        if REFERENCE in known:
            found += [
                f"a job costs {times:.1f} times as much among {cost.jobs:,}"
                for cost in self.costs
                if cost.jobs > REFERENCE and (times := cost.times(known[REFERENCE])) > MOST_TIMES
            ]
        return found


def measured(library: Library, jobs: int, repeats: int) -> Cost:
    """Measure everything at one size; of several repeats the median counts."""

    def microseconds(scenario: str, **options: object) -> float:
        return statistics.median(
            1e6 / library.measure(scenario, jobs, options).value for _ in range(repeats)
        )

    return Cost(
        jobs,
        microseconds("add", trigger="interval"),
        microseconds("fire_threads", trigger="date"),
        microseconds("fire_threads", trigger="interval"),
        library.measure("memory_per_job", jobs, {"trigger": "interval"}).value,
    )


def line(cost: Cost) -> str:
    """Return one line of the table."""
    times = (f"{value:.1f} us" for value in (cost.add, cost.fire_date, cost.fire_interval))
    return COLUMNS.format(f"{cost.jobs:,}", *times, f"{cost.memory:,.0f} B")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="JOBS")
    parser.add_argument("--repeats", type=int, default=3, help="default: 3")
    options = parser.parse_args(arguments)

    library, growth = ours(), Growth()
    print(COLUMNS.format("jobs", "add one", "fire, date", "fire, interval", "memory of one"))
    for jobs in options.sizes:
        growth.costs.append(measured(library, jobs, options.repeats))
        print(line(growth.costs[-1]), flush=True)
    for complaint in growth.complaints:
        print(complaint)
    return 1 if growth.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
