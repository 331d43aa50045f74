"""The table that people read and the JSON that programs read."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from benchmarks.compare import Comparison
from benchmarks.libraries import Library

COLUMNS = "{:30}{:>9}{:>13}{:>13}{:>8}{:>15}{:>8}{:>8}{:>8}  {}"


def quantity(value: float, unit: str) -> str:
    """Return a figure with its unit, to about three digits."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    number = f"{value:,.{digits}f}"
    return number + unit if unit == "/s" else f"{number} {unit}"


def times(ratio: float | None) -> str:
    """Return a ratio in the form in which it is claimed; nothing if there is none."""
    if ratio is None:
        return ""
    return f"{ratio:.0f}x" if ratio >= 100 else f"{ratio:.1f}x" if ratio >= 10 else f"{ratio:.2f}x"


def heading(libraries: tuple[Library, Library]) -> str:
    """Return the first line of the table."""
    us, them = libraries
    names = ("scenario", "n", us.name, them.name, "ratio", "spread", "CPU", "must", "half")
    return COLUMNS.format(*names, "verdict")


def line(comparison: Comparison) -> str:
    """Return one line of the table; the reason, where a scenario gave no figure."""
    row = comparison.row
    if comparison.verdict == "error":
        return f"{row.title:30}{comparison.size:>9,}  error: {comparison.failure}"

    lowest, highest = comparison.ratios[0], comparison.ratios[-1]
    return COLUMNS.format(
        row.title,
        f"{comparison.size:,}",
        quantity(comparison.ours, row.unit),
        quantity(comparison.theirs, row.unit),
        times(comparison.ratio),
        f"{times(lowest)}-{times(highest)}",
        times(comparison.cpu_ratio),
        str(row.must),
        str(row.must.halved()),
        comparison.verdict,
    )


def document(comparisons: Iterable[Comparison], libraries: Sequence[Library]) -> dict[str, Any]:
    """Return everything measured, and on what, as values that JSON can hold."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "cpus": os.cpu_count(),
        },
        "versions": {library.name: library.version for library in libraries},
        "rows": [
            {
                "title": comparison.row.title,
                "scenario": comparison.row.scenario,
                "their_scenario": comparison.row.theirs or comparison.row.scenario,
                "options": dict(comparison.row.options),
                "their_options": dict(comparison.row.their_options),
                "size": comparison.size,
                "unit": comparison.row.unit,
                "must": str(comparison.row.must),
                "verdict": comparison.verdict,
                "failure": comparison.failure,
                "pairs": [
                    {"ours": asdict(ours), "theirs": asdict(theirs)}
                    for ours, theirs in comparison.pairs
                ],
            }
            for comparison in comparisons
        ],
    }
