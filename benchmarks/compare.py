"""Turn figures of both sides into ratios and a verdict."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.catalog import Limit, Ratio, Row
from benchmarks.databases import MissingDatabaseError
from benchmarks.libraries import Library, ScenarioError
from benchmarks.measure import Figure


@dataclass
class Comparison:
    """What the pairs of one row have given.

    :param row: the row
    :param size: the size that was measured
    :param pairs: our figure and that of 3.11.3, for each pair
    :param failure: why there is no (further) pair
    """

    row: Row
    size: int
    pairs: list[tuple[Figure, Figure]] = field(default_factory=list)
    failure: str | None = None

    @property
    def ours(self) -> float:
        return statistics.median(ours.value for ours, _ in self.pairs)

    @property
    def theirs(self) -> float:
        return statistics.median(theirs.value for _, theirs in self.pairs)

    @property
    def ratios(self) -> list[float]:
        """How many times better we are, for each pair, in rising order."""
        return sorted(self.row.advantage(ours.value, theirs.value) for ours, theirs in self.pairs)

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def cpu_ratio(self) -> float | None:
        """How many times less processor time an operation takes, where that was measured."""
        ratios = [theirs.cpu / ours.cpu for ours, theirs in self.pairs if ours.cpu and theirs.cpu]
        return statistics.median(ratios) if ratios else None

    def meets(self, demand: Ratio | Limit) -> bool:
        if isinstance(demand, Ratio):
            return self.ratio >= demand.times
        return self.ours <= demand.value

    @property
    def verdict(self) -> str:
        """``pass``, ``half`` if only half of what is asked is there, ``FAIL`` or ``error``."""
        if self.failure is not None or not self.pairs:
            return "error"
        if self.meets(self.row.must):
            return "pass"
        return "half" if self.meets(self.row.must.halved()) else "FAIL"


def compare(
    row: Row,
    size: int,
    pairs: int,
    libraries: tuple[Library, Library],
    announce: Callable[[str], object],
) -> Comparison:
    """Measure one row with both libraries in turn.

    :param pairs: how often each is measured
    :param libraries: ours and 3.11.3
    :param announce: told before each measurement what comes next
    """
    comparison = Comparison(row, size)
    us, them = libraries if row.against is None else (libraries[0], libraries[0])
    for number in range(1, pairs + 1):
        try:
            announce(f"{row.title}: pair {number} of {pairs}, {us.name}")
            ours = us.measure(row.scenario, size, row.options)
            announce(f"{row.title}: pair {number} of {pairs}, {them.name}")
            theirs = them.measure(row.theirs or row.scenario, size, row.their_options)
        except (ScenarioError, MissingDatabaseError) as failure:
            comparison.failure = str(failure)
            break
        comparison.pairs.append((ours, theirs))
    return comparison
