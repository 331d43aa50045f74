"""Rows that 3.11.3 writes are read here, and ours there, and the jobs fire at the same times."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from golden import GOLDEN
from row_layout import layout, value, without
from row_rules import (
    depends_on_clock_changes,
    differences,
    instants,
    is_changed_between,
    is_due_to_clocks,
    jitter_of,
    put_off,
    required,
    required_by_clocks,
    shown,
)
from row_specs import Report, Spec, draw
from sides import Side

# The first test that needs it makes the environment.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SPECS = draw(660)
FIRST = ("next_run_time", "start_date")
START = ("trigger", "start_date")
NOWS = [spec.now for spec in SPECS]


@pytest.fixture(scope="module")
def their_rows(there: Side) -> list[bytes]:
    return there.write(SPECS)


@pytest.fixture(scope="module")
def our_rows(here: Side) -> list[bytes]:
    return here.write(SPECS)


@pytest.fixture(scope="module", params=["there", "here"])
def rows(request: pytest.FixtureRequest, their_rows: list[bytes], our_rows: list[bytes]) -> Any:
    """The rows that either of the two has written."""
    return their_rows if request.param == "there" else our_rows


@pytest.fixture(scope="module")
def seen_there(there: Side, rows: list[bytes]) -> list[Report]:
    """What 3.11.3 makes of the rows."""
    return there.read(rows, NOWS)


@pytest.fixture(scope="module")
def seen_here(here: Side, rows: list[bytes]) -> list[Report]:
    """What we make of the rows."""
    return here.read(rows, NOWS)


def without_times(report: Report) -> Report:
    return report._replace(fire_times=[], without_jitter=[], by_rule=[])


def texts(moments: Sequence[datetime]) -> list[str]:
    return [f"{moment.isoformat()} {moment.tzinfo}" for moment in moments]


def as_they_exist(moments: Sequence[datetime]) -> list[datetime]:
    """Return the moments, those of 3.11.3 that do not exist as what they come to."""
    return [moment.astimezone(UTC).astimezone(moment.tzinfo) for moment in moments]


def first_not_past(spec: Spec, seen: Report) -> datetime | None:
    """Return the first fire time of a calendar interval that is not past when the job is added."""
    for moment in instants(seen.without_jitter):
        if moment >= spec.now:
            return put_off(moment, jitter_of(spec))
    return None


def test_the_lot_holds_every_kind_of_job_and_both_sides_of_every_rule() -> None:
    kinds = Counter(spec.trigger[0] for spec in SPECS)
    assert kinds.keys() == {
        "date", "interval", "cron", "crontab", "calendarinterval", "or", "and"
    }  # fmt: skip
    assert min(kinds.values()) >= 50
    for kind in "interval", "cron", "calendarinterval":
        jitters = [bool(jitter_of(spec)) for spec in SPECS if spec.trigger[0] == kind]
        assert 10 < sum(jitters) < len(jitters) - 10
    assert sum(map(depends_on_clock_changes, SPECS)) > 100


def test_the_two_libraries_are_two(here: Side, there: Side) -> None:
    assert there.version() == "3.11.3"
    assert here.version() != "3.11.3"


def test_what_is_written_here_is_laid_out_as_it_is_there(
    here: Side, their_rows: list[bytes], our_rows: list[bytes]
) -> None:
    seen_here = here.read(our_rows, NOWS)
    for spec, theirs, ours, seen in zip(SPECS, their_rows, our_rows, seen_here, strict=True):
        assert ours[1] == theirs[1] == spec.protocol
        if layout(ours) == layout(theirs):
            continue
        # The first run may differ by the rules, and nothing else.
        assert without(layout(ours), *FIRST) == without(layout(theirs), *FIRST), spec
        if spec.trigger[0] == "interval":
            our_start, their_start = (value(row, *START) for row in (ours, theirs))
            passed = value(ours, "trigger", "interval")
            assert "start_date" not in spec.trigger[1]
            assert is_changed_between(spec, spec.now, spec.now + passed), spec
            assert our_start.astimezone(UTC) == spec.now + passed, spec
            assert their_start == spec.now.astimezone(their_start.tzinfo) + passed, spec
            continue
        next_run_time = value(ours, "next_run_time")
        first = next_run_time and next_run_time.astimezone(UTC)
        if spec.trigger[0] == "calendarinterval":
            assert value(theirs, "next_run_time") < spec.now, spec
            assert first == first_not_past(spec, seen), spec
        else:
            assert depends_on_clock_changes(spec), spec
            assert first == instants(seen.fire_times)[0], spec


def test_a_row_that_goes_there_and_back_again_and_again_stays_the_same(
    here: Side, there: Side, their_rows: list[bytes], our_rows: list[bytes]
) -> None:
    for first, second, rows in ((here, there, their_rows), (there, here, our_rows)):
        again = first.write_again(rows)
        assert [layout(row) for row in again] == [layout(row) for row in rows]
        for side in second, first, second:
            assert side.write_again(again) == again


def test_a_job_looks_the_same_whoever_has_written_and_whoever_reads_it(
    seen_there: list[Report], seen_here: list[Report]
) -> None:
    for theirs, ours in zip(seen_there, seen_here, strict=True):
        assert without_times(ours) == without_times(theirs)


def test_a_job_fires_here_as_it_does_there_or_by_the_rule(
    seen_there: list[Report], seen_here: list[Report]
) -> None:
    same = 0
    for spec, theirs, ours in zip(SPECS, seen_there, seen_here, strict=True):
        wanted = required(spec, theirs)
        if wanted is not None:
            assert instants(ours.fire_times) == wanted, spec
        if instants(ours.fire_times) == instants(theirs.fire_times):
            assert texts(ours.fire_times) == texts(as_they_exist(theirs.fire_times))
            same += 1
    assert same > len(SPECS) * 0.6


def test_where_clocks_are_set_each_local_time_fires_once_and_elapsed_time_rules(
    there: Side, rows: list[bytes], seen_there: list[Report], seen_here: list[Report]
) -> None:
    chosen = [
        (spec, row, theirs, ours, shown(spec, ours))
        for spec, row, theirs, ours in zip(SPECS, rows, seen_there, seen_here, strict=True)
        if depends_on_clock_changes(spec)
    ]
    matching = there.matching(
        [(row, [stretch[:2] for stretch in stretches]) for _, row, _, _, stretches in chosen]
    )
    differing = 0
    for (spec, _, theirs, ours, stretches), walls in zip(chosen, matching, strict=True):
        assert instants(ours.fire_times) == required_by_clocks(spec, stretches, walls), spec
        for at in differences(spec, ours, theirs):
            assert is_due_to_clocks(spec, ours, at), spec
            differing += 1
    assert differing > 20


def test_golden_rows_that_were_written_again_here_fire_the_same_there(
    here: Side, there: Side
) -> None:
    rows = [base64.b64decode(golden.blob) for golden in GOLDEN]
    again = here.write_again(rows)
    assert again == there.write_again(rows)
    nows = [datetime(2029, 12, 1, tzinfo=UTC)] * len(rows)
    for golden, seen in zip(GOLDEN, there.read(again, nows), strict=True):
        assert seen.texts[2:] == (golden.text, golden.representation)
        times = [moment.isoformat() for moment in seen.without_jitter[:3]]
        assert times == [text for text in golden.fire_times if text is not None]
