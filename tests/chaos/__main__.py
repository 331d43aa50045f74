"""``python -m chaos``: a trial for as long as one likes, or another look at one that was kept."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.libraries import incumbent

from chaos.checker import check
from chaos.figures import figures
from chaos.history import History
from chaos.stores import KINDS
from chaos.trial import Settings, Trial


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if nothing was found that must not be."""
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="for how long harm is done")
    parser.add_argument("--store", choices=KINDS, default="sqlite")
    parser.add_argument("--seed", default=None, help="repeats what another trial was to do")
    parser.add_argument("--nodes", type=int, default=4, help="how many schedulers, at least 3")
    parser.add_argument("--lease", type=float, default=2.0, help="seconds")
    parser.add_argument("--check", type=Path, metavar="FOLDER", help="check what was kept there")
    given = parser.parse_args(arguments)
    if given.nodes < 3:
        parser.error("--nodes must be at least 3: two are always left alone")

    if given.check is not None:
        return report(History.read(given.check), given.check)
    folder = Path(tempfile.mkdtemp(prefix="apscheduler-chaos-"))
    seed = given.seed or str(random.randrange(10**6))
    print(
        f"{given.store}, {given.nodes} nodes, a lease of {given.lease:g} s, harmed for "
        f"{given.minutes:g} min; seed {seed}; in {folder}",
        flush=True,
    )
    settings = Settings(
        given.store, seed, given.minutes * 60, incumbent().python, given.nodes, given.lease
    )
    status = report(Trial(settings, folder).run(), folder)
    if status == 0:
        shutil.rmtree(folder)
    return status


def report(history: History, folder: Path) -> int:
    """Print the figures of a history, and what must not be in it."""
    for name, figure in figures(history).items():
        print(f"{name:<50} {figure:>10,}")
    violations = check(history)
    if violations:
        print(f"\n{len(violations)} things that must not be; all journals are kept in {folder}")
        for violation in violations:
            print(f"- {violation}")
        return 1
    print("\nNothing that must not be.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
