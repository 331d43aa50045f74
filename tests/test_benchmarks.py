"""The benchmarks measure what they say, and every one of their programs runs."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.__main__ import chosen
from benchmarks.catalog import ROWS, Limit, Ratio, Row, Size
from benchmarks.compare import Comparison, compare
from benchmarks.libraries import Library, ScenarioError, ours
from benchmarks.measure import Figure, percentile
from benchmarks.report import document, line, quantity, times

RATE = Row("a rate", "add", "/s", Ratio(4), Size(1000, 100, 10), {"trigger": "interval"})
COST = Row("a cost", "idle", "ms", Limit(5), Size(10, 5, 1))


def compared(row: Row, *pairs: tuple[float, float]) -> Comparison:
    figures = [(Figure(our, 10.0), Figure(their, 30.0)) for our, their in pairs]
    return Comparison(row, row.size.full, figures)


@pytest.fixture(scope="module")
def our_library() -> Library:
    return ours()


def test_a_rate_is_better_when_it_is_higher_and_a_cost_when_it_is_lower() -> None:
    assert RATE.advantage(ours=200, theirs=50) == 4
    assert COST.advantage(ours=50, theirs=200) == 4


def test_the_ratio_is_the_median_of_the_ratios_of_the_pairs_not_of_all_figures() -> None:
    slow_spell_in_the_second_pair = compared(RATE, (400, 100), (50, 10), (300, 100))

    assert slow_spell_in_the_second_pair.ratios == [3, 4, 5]
    assert slow_spell_in_the_second_pair.ratio == 4


def test_processor_time_is_compared_only_where_both_sides_counted_operations() -> None:
    assert compared(RATE, (400, 100)).cpu_ratio == 3
    assert Comparison(RATE, 10, [(Figure(400), Figure(100, 30.0))]).cpu_ratio is None


@pytest.mark.parametrize(
    ("our_rate", "verdict"), [(400, "pass"), (399, "half"), (200, "half"), (199, "FAIL")]
)
def test_a_ratio_passes_at_what_is_asked_and_fails_below_half_of_it(
    our_rate: float, verdict: str
) -> None:
    assert compared(RATE, (our_rate, 100)).verdict == verdict


@pytest.mark.parametrize(
    ("our_cost", "verdict"), [(5, "pass"), (5.1, "half"), (10, "half"), (10.1, "FAIL")]
)
def test_a_limit_passes_up_to_its_value_whatever_the_other_side_needs(
    our_cost: float, verdict: str
) -> None:
    assert compared(COST, (our_cost, 0.001)).verdict == verdict


def test_a_row_without_figures_is_an_error_and_shows_why(our_library: Library) -> None:
    broken = replace(RATE, options={"no_such_option": 1})
    comparison = compare(broken, 1, 3, (our_library, our_library), announce=str)

    assert comparison.verdict == "error"
    assert comparison.pairs == []
    assert "error: exit status 1: TypeError" in line(comparison)


def test_both_sides_are_measured_in_turn(our_library: Library) -> None:
    announced: list[str] = []
    other = replace(our_library, name="theirs")
    compare(RATE, 1, 2, (our_library, other), announced.append)

    assert [text.rsplit(", ")[-1] for text in announced] == ["ours", "theirs"] * 2


def test_a_process_that_finds_another_version_is_not_measured(our_library: Library) -> None:
    mistaken = replace(our_library, version="3.11.3")

    with pytest.raises(ScenarioError, match=r"does not find apscheduler 3\.11\.3"):
        mistaken.measure(RATE.scenario, 1, RATE.options)


def test_a_percentile_is_one_of_the_values_and_enough_of_them_lie_below() -> None:
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile([7], 0.99) == 7
    assert percentile([1, 2], 0.0) == 1


def test_figures_are_printed_to_about_three_digits_with_their_unit() -> None:
    assert quantity(26_712.4, "/s") == "26,712/s"
    assert quantity(12.34, "ms") == "12.3 ms"
    assert quantity(0.284, "ms") == "0.28 ms"
    assert times(3.456) == "3.46x"
    assert times(34.56) == "34.6x"
    assert times(345.6) == "346x"
    assert times(None) == ""


def test_a_line_shows_both_figures_the_ratio_its_spread_and_what_is_asked() -> None:
    words = line(compared(RATE, (300, 100), (400, 100), (500, 100))).split()

    assert words[2:] == (
        ["1,000", "400/s", "100/s", "4.00x", "3.00x-5.00x", "3.00x", "4x", "2x", "pass"]
    )


def test_the_document_holds_every_figure_and_the_versions(our_library: Library) -> None:
    written = document([compared(RATE, (400, 100))], [our_library])

    assert written["versions"] == {"ours": our_library.version}
    assert written["rows"][0]["pairs"] == [
        {"ours": {"value": 400, "cpu": 10.0}, "theirs": {"value": 100, "cpu": 30.0}}
    ]


def test_rows_are_chosen_by_any_text_in_their_title() -> None:
    titles = {row.title for row in chosen(["construct", "idle minute, 0"])}

    assert titles == {"construct, keywords", "construct, from_crontab", "idle minute, 0 jobs"}
    assert chosen(["no such row"]) == []
    assert chosen(None) == list(ROWS)


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.title}, {row.size.full}")
def test_every_scenario_runs_and_gives_a_figure(row: Row, our_library: Library) -> None:
    figure = our_library.measure(row.scenario, row.size.tiny, row.options)

    assert figure.value > 0
    assert figure.cpu is None or figure.cpu > 0
