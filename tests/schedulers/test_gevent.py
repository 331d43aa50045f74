"""Schedulers among greenlets, with the standard library as it is and patched."""

from __future__ import annotations

from pathlib import Path

import pytest

from gevent_kit import WAYS, StartPython, names_in, run

PROGRAMS = Path(__file__).with_name("gevent_programs.py")


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", names_in(PROGRAMS))
def test_among_greenlets(start_python: StartPython, name: str, way: str) -> None:
    run(start_python, way, PROGRAMS, name)


@pytest.mark.parametrize("module", ["schedulers", "executors"])
def test_without_gevent_the_way_to_install_it_is_named(
    start_python: StartPython, module: str
) -> None:
    script = f"import sys; sys.modules['gevent'] = None; import apscheduler.{module}.gevent"
    status, _, errors = start_python("-c", script).finish()
    assert status == 1
    assert "ImportError: gevent is needed" in errors
    assert "pip install apscheduler[gevent]" in errors
