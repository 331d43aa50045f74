"""What the table of growth says of the costs of one job among many."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.growth import Cost, Growth, line, main

TEN_THOUSAND = Cost(10_000, add=10.0, fire_date=20.0, fire_interval=30.0, memory=700.0)
A_MILLION = replace(TEN_THOUSAND, jobs=1_000_000, add=20.0, memory=999.0)


def test_twice_the_cost_among_a_hundred_times_as_many_is_all_right() -> None:
    assert Growth([TEN_THOUSAND, A_MILLION]).complaints == []


@pytest.mark.parametrize(
    ("worse", "complaint"),
    [
        ({"add": 21.0}, "a job costs 2.1 times as much among 1,000,000"),
        ({"fire_date": 60.0}, "a job costs 3.0 times as much among 1,000,000"),
        ({"fire_interval": 75.0}, "a job costs 2.5 times as much among 1,000,000"),
        ({"memory": 1000.0}, "a job takes 1,000 bytes among 1,000,000"),
    ],
)
def test_what_grows_is_named(worse: dict[str, float], complaint: str) -> None:
    assert Growth([TEN_THOUSAND, replace(A_MILLION, **worse)]).complaints == [complaint]


def test_few_jobs_may_cost_more_than_many() -> None:
    few = replace(TEN_THOUSAND, jobs=1_000, add=99.0, memory=5000.0)
    assert Growth([few, TEN_THOUSAND]).complaints == []


def test_a_line_shows_the_costs_of_one_job() -> None:
    assert line(TEN_THOUSAND).split() == [
        "10,000",
        "10.0",
        "us",
        "20.0",
        "us",
        "30.0",
        "us",
        "700",
        "B",
    ]


@pytest.mark.slow
def test_the_program_measures_each_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--sizes", "20", "40", "--repeats", "1"]) == 0
    assert [row.split()[0] for row in capsys.readouterr().out.splitlines()] == ["jobs", "20", "40"]
