"""Measure this library against APScheduler 3.11.3 and print ratios.

The exit status is 0 if every row reaches at least half of what is asked of it, else 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.catalog import ROWS, Row
from benchmarks.compare import Comparison, compare
from benchmarks.libraries import incumbent, ours
from benchmarks.report import document, heading, line


def positive(text: str) -> int:
    """Read a number that counts something."""
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller sizes and a single pair")
    parser.add_argument(
        "--pairs", type=positive, help="how often each side is measured (default: 5)"
    )
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="rows whose title holds a TEXT")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there too")
    parser.add_argument("--list", action="store_true", help="print the titles and stop")
    options = parser.parse_args()
    options.rows = chosen(options.only)
    if not options.rows:
        parser.error(f"no title holds any of {options.only}; --list shows them all")
    return options


def chosen(texts: list[str] | None) -> list[Row]:
    """Return the rows whose title holds one of ``texts``; all of them without any."""
    return [row for row in ROWS if texts is None or any(text in row.title for text in texts)]


def announce(text: str) -> None:
    """Show on a terminal what is being measured, on a line that the next one overwrites."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def main() -> int:
    """Measure what is asked for; return the exit status."""
    options = arguments()
    if options.list:
        print("\n".join(dict.fromkeys(row.title for row in options.rows)))
        return 0

    pairs = options.pairs or (1 if options.quick else 5)
    libraries = ours(), incumbent()
    comparisons: list[Comparison] = []
    print(heading(libraries))
    for row in options.rows:
        size = row.size.quick if options.quick else row.size.full
        comparisons.append(compare(row, size, pairs, libraries, announce))
        announce("")
        print(line(comparisons[-1]), flush=True)

    if options.quick:
        print("Quick: smaller sizes and few pairs. A sign of life, not something to claim.")
    if options.json:
        options.json.write_text(json.dumps(document(comparisons, libraries), indent=2) + "\n")
    return 0 if all(each.verdict in ("pass", "half") for each in comparisons) else 1


if __name__ == "__main__":
    sys.exit(main())
