"""What is decided about a Run: how it ends, what follows from that, and what it stood for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from zoneinfo import ZoneInfo

import pytest

from apscheduler import _engine
from apscheduler.runs import (
    Live,
    NewId,
    Outcome,
    Run,
    RunKind,
    RunState,
    Transition,
    TransitionError,
    replace,
)
from apscheduler.triggers.interval import IntervalTrigger
from job_kit import at, make_job, make_run, slots

BERLIN = ZoneInfo("Europe/Berlin")
REFUSED = Outcome(RunState.FAILED, reason="it was not submitted", refused=True)


def new_ids() -> NewId:
    numbers = count(1)
    return lambda: f"new{next(numbers)}"


def settle(run: Run, outcome: Outcome) -> Transition:
    return _engine.settle(at(10), run, outcome, new_ids())


# -- settle -------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [state for state in RunState if state.ended])
def test_a_running_run_ends_as_its_outcome_says(end: RunState) -> None:
    run = make_run()
    outcome = Outcome(end, started_at=at(1), ended_at=at(3), reason="why")
    assert settle(run, outcome) == Transition(run, end, at(3), at(1), "why")


def test_an_outcome_that_knows_no_end_ends_now() -> None:
    assert settle(make_run(), Outcome(RunState.LOST)).ended_at == at(10)


@pytest.mark.parametrize("state", [state for state in RunState if state.ended])
def test_a_run_that_has_ended_does_not_end_again(state: RunState) -> None:
    with pytest.raises(TransitionError):
        settle(make_run(state=state), Outcome(RunState.SUCCEEDED))


def test_a_run_that_has_not_begun_cannot_succeed() -> None:
    with pytest.raises(TransitionError):
        settle(make_run(state=RunState.WAITING), Outcome(RunState.SUCCEEDED))


def test_nothing_follows_from_the_failure_of_a_function() -> None:
    run = make_run(definition=make_job())
    failed = Outcome(RunState.FAILED, exception=ValueError("no"))
    assert settle(run, failed).follow_up is None


def test_a_refused_run_of_a_stored_job_is_not_repeated() -> None:
    # Its job comes to its next slot by itself.
    assert settle(make_run(), REFUSED).follow_up is None


def test_a_refused_run_whose_job_is_gone_is_opened_again() -> None:
    job = make_job()
    run = make_run(
        scheduled_at=at(2), first_scheduled_at=at(0), count=3, definition=job, started_at=at(9)
    )
    follow_up = settle(run, REFUSED).follow_up
    assert follow_up is not None
    assert follow_up == replace(
        run,
        id="new1",
        batch="new1",
        state=RunState.WAITING,
        kind=RunKind.RECOVERY,
        attempt=2,
        opened_at=at(10),
        started_at=None,
        attention_at=at(11),
    )
    assert follow_up.definition is job


@pytest.mark.parametrize(
    ("attempt", "seconds"),
    [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 60), (8, 60), (100_000, 60)],
)
def test_submissions_that_fail_are_tried_again_ever_later_up_to_a_minute(
    attempt: int, seconds: float
) -> None:
    run = make_run(kind=RunKind.RECOVERY, attempt=attempt, definition=make_job())
    follow_up = settle(run, REFUSED).follow_up
    assert follow_up is not None
    assert follow_up.attempt == attempt + 1
    assert follow_up.attention_at == at(10 + seconds)


# -- the text of an error -----------------------------------------------------------------------


def error_of(exception: BaseException, traceback: str | None = None) -> str:
    outcome = Outcome(RunState.FAILED, exception=exception, traceback=traceback)
    error = settle(make_run(), outcome).error
    assert error is not None
    return error


def test_a_run_without_an_exception_has_no_error() -> None:
    assert settle(make_run(), Outcome(RunState.SUCCEEDED)).error is None


def test_an_error_ends_with_its_exception() -> None:
    frames = '  File "a.py", line 1, in f\n'
    assert error_of(ValueError("no such file"), frames) == f"{frames}ValueError: no such file"
    assert error_of(ValueError("no such file")) == "ValueError: no such file"


def test_of_a_long_traceback_the_end_is_kept() -> None:
    error = error_of(ValueError("no"), "first" + "x" * 5000 + "last")
    assert len(error) == 4000
    assert error.startswith("xxx")
    assert error.endswith("lastValueError: no")


def test_of_a_long_message_the_beginning_is_kept_and_nothing_of_the_traceback() -> None:
    error = error_of(ValueError("first" + "x" * 5000), "traceback")
    assert len(error) == 4000
    assert error.startswith("ValueError: firstxxx")


def test_an_exception_that_cannot_be_shown_is_named() -> None:
    class ShyError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("not even this")

    assert error_of(ShyError(), "frames\n") == "frames\nShyError"


# -- attend, start, cancel ----------------------------------------------------------------------


def test_a_waiting_run_whose_time_has_come_begins() -> None:
    run = make_run(state=RunState.WAITING)
    assert _engine.attend(at(10), run, make_job()) == Transition(run, RunState.RUNNING)


def test_a_waiting_run_of_a_removed_job_is_cancelled() -> None:
    run = make_run(state=RunState.WAITING)
    expected = Transition(run, RunState.CANCELLED, at(10), reason="its job was removed")
    assert _engine.attend(at(10), run, None) == expected


def test_a_run_that_runs_does_not_begin_again() -> None:
    with pytest.raises(TransitionError):
        _engine.start(make_run())


@pytest.mark.parametrize("state", [RunState.WAITING, RunState.RUNNING])
def test_a_run_can_be_cancelled_before_its_end(state: RunState) -> None:
    run = make_run(state=state)
    cancelled = _engine.cancel(at(10), run, "enough")
    assert cancelled == Transition(run, RunState.CANCELLED, at(10), reason="enough")


# -- manual runs --------------------------------------------------------------------------------


def test_a_manual_run_begins_at_once() -> None:
    job = make_job(name="wash", executor="pool", max_instances=2)
    run = _engine.plan_manual(
        at(5), job, "life", Live(1, at(0)), _engine.Site("store", "node", new_ids())
    )
    assert run == Run(
        id="new1",
        job_id="j",
        state=RunState.RUNNING,
        kind=RunKind.MANUAL,
        scheduled_at=at(5),
        first_scheduled_at=at(5),
        opened_at=at(5),
        batch="new1",
        job_name="wash",
        jobstore="store",
        executor="pool",
        node="node",
        incarnation="life",
    )


def test_a_manual_run_that_would_overlap_is_skipped() -> None:
    run = _engine.plan_manual(
        at(5), make_job(), "life", Live(1, at(0)), _engine.Site("store", "node", new_ids())
    )
    assert (run.state, run.ended_at) == (RunState.SKIPPED, at(5))
    assert run.reason == "maximum number of running instances reached (1)"


# -- the slots that a Run stands for ------------------------------------------------------------


def standing_for(first: datetime, last: datetime) -> Run:
    return make_run(scheduled_at=last, first_scheduled_at=first, opened_at=at(1e8))


def test_a_run_of_one_slot_stands_for_that() -> None:
    run = standing_for(at(0), at(0))
    assert _engine.slots_between(slots(0, 10), run, 5) == [at(0)]


def test_a_gap_stands_for_every_slot_from_its_first_to_its_last() -> None:
    run = standing_for(at(0), at(20))
    assert _engine.slots_between(slots(0, 10, 20, 30), run, 5) == [at(0), at(10), at(20)]


def test_of_too_many_slots_the_first_are_listed_and_the_last() -> None:
    run = standing_for(at(0), at(900))
    trigger = slots(*range(1000))
    assert _engine.slots_between(trigger, run, 3) == [at(0), at(1), at(2), at(900)]


def test_as_many_slots_as_may_be_listed_are_listed_without_one_more() -> None:
    run = standing_for(at(0), at(2))
    assert _engine.slots_between(slots(0, 1, 2, 3), run, 3) == [at(0), at(1), at(2)]


def test_slots_are_listed_as_far_as_the_trigger_goes() -> None:
    run = standing_for(at(0), at(30))
    assert _engine.slots_between(slots(0, 10), run, 5) == [at(0), at(10)]


def test_slots_of_a_fold_are_listed_in_the_order_of_time() -> None:
    # In Berlin 02:30 comes twice, and 02:00 for the second time between the two.
    first = datetime(2026, 10, 25, 2, 0, tzinfo=BERLIN)
    last = datetime(2026, 10, 25, 2, 0, tzinfo=BERLIN, fold=1)
    trigger = IntervalTrigger(minutes=30, start_date=first, timezone=BERLIN)
    found = _engine.slots_between(trigger, standing_for(first, last), 5)
    start = first.astimezone(UTC)
    assert [slot.astimezone(UTC) - start for slot in found] == [
        timedelta(0),
        timedelta(minutes=30),
        timedelta(minutes=60),
    ]
