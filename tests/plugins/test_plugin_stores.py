"""A job store of 3.x on a database whose connections may not change threads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("store_program.py")
METHODS = [
    "add_job",
    "get_all_jobs",
    "get_due_jobs",
    "get_next_run_time",
    "lookup_job",
    "remove_all_jobs",
    "remove_job",
    "shutdown",
    "start",
    "update_job",
]
#: What the thread of the scheduler itself asks, and what both do.
OF_HOST = ("get_due_jobs", "get_next_run_time")
OF_BOTH = ("remove_job", "update_job")

IN_ONE_THREAD = [f"{method} main" for method in METHODS]
IN_TWO_THREADS = [
    f"{method} " + ("host" if method in OF_HOST else "host main" if method in OF_BOTH else "main")
    for method in METHODS
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "callers"),
    [
        (["blocking"], IN_ONE_THREAD),
        (["on_an_event_loop"], IN_ONE_THREAD),
        (["background", "per_thread"], IN_TWO_THREADS),
    ],
)
def test_a_store_is_asked_in_the_threads_of_the_host_and_of_the_caller_only_as_in_3x(
    start_python: Callable[..., Any], arguments: list[str], callers: list[str]
) -> None:
    status, printed, errors = start_python(PROGRAM, *arguments).finish()
    assert (status, errors) == (0, "")
    assert printed == callers


@pytest.mark.slow
def test_a_connection_that_the_thread_of_the_host_may_not_use_stops_neither_it_nor_the_caller(
    start_python: Callable[..., Any],
) -> None:
    status, printed, errors = start_python(PROGRAM, "background_that_fails").finish()
    assert (status, errors) == (0, "")
    assert printed[:2] == [
        "Error getting due jobs from job store 'default': SQLite ob",
        "3 True",
    ]
