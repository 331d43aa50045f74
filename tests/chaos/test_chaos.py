"""Schedulers that share a store keep their promises, whatever is done to them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from benchmarks.libraries import incumbent

from chaos.checker import check
from chaos.figures import figures
from chaos.nemesis import TO_FILES, TO_NODES, TO_SERVERS, blows
from chaos.trial import Settings, Trial
from servers.servers import MissingServerError

#: For how long harm is done, in seconds. `scripts/chaos` does it for as long as one likes.
SECONDS = 40.0
KINDS = {"sqlite": TO_NODES + TO_FILES, "postgresql": TO_NODES + TO_SERVERS}


@pytest.fixture(scope="session")
def incumbent_python() -> Path:
    try:
        return incumbent().python
    except (OSError, subprocess.CalledProcessError) as error:
        if "CI" in os.environ:
            raise
        pytest.skip(f"NOT tested beside 3.11.3, which could not be installed: {error}")


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(("store", "seed"), [("sqlite", "2"), ("postgresql", "5")])
def test_whatever_is_done_each_slot_is_started_once_and_no_edit_is_lost(
    store: str, seed: str, incumbent_python: Path, tmp_path: Path
) -> None:
    settings = Settings(store, seed, SECONDS, incumbent_python)
    try:
        history = Trial(settings, tmp_path).run()
    except MissingServerError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(f"NOT tested: {error}")

    violations = check(history)
    assert not violations, "\n".join(map(str, violations[:20]))
    # It was no idle time.
    assert {strike.kind for strike in history.strikes} == set(KINDS[store])
    told = figures(history)
    assert told["runs started"] > 10 * SECONDS
    assert told["edits confirmed"] > 10 * SECONDS
    assert told["  by 3.11.3"] > SECONDS
    assert told["runs lost"] > 0
    assert told["recoveries"] > 0


@pytest.mark.parametrize("store", KINDS)
def test_a_seed_says_what_is_done_and_each_kind_of_harm_comes_first(store: str) -> None:
    kinds = KINDS[store]
    planned = blows("seed", 100, kinds, lease=2)
    assert planned == blows("seed", 100, kinds, lease=2)
    assert planned != blows("another", 100, kinds, lease=2)
    assert {blow.kind for blow in planned[: len(kinds)]} == set(kinds)
    assert all(blow.seconds > 2 for blow in planned if blow.kind == "freeze")
