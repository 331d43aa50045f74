"""What holds for every decision, whatever the slots, the moments and the policy."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import count
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from apscheduler import _engine
from apscheduler.runs import (
    LIVE_STATES,
    TRANSITIONS,
    Due,
    Live,
    Outcome,
    Plan,
    Presence,
    Run,
    RunState,
    TransitionError,
    moved,
)
from job_kit import At, make_job, make_run

# Two hours before the clocks of Berlin go back.
START = datetime(2026, 10, 24, 23, 0, tzinfo=UTC)
END = 4 * 3600

# How long an example takes says nothing on a machine that does other things beside.
at_leisure = settings(deadline=None)

quarters_of_an_hour = st.integers(0, END // 900).map(lambda number: number * 900)
offsets = quarters_of_an_hour | st.integers(0, END)


@dataclass
class Given:
    """A job whose trigger fires at ``slots``, and the turns that look after it."""

    zone: tzinfo
    slots: list[datetime]
    turns: list[tuple[datetime, Presence, int]]
    born: datetime | None
    coalesce: bool
    grace: int | None
    max_instances: int


def moment(offset: float) -> datetime:
    return START + timedelta(seconds=offset)


@st.composite
def a_job_and_its_turns(draw: st.DrawFn) -> Given:
    zone = draw(st.sampled_from([UTC, ZoneInfo("Europe/Berlin")]))
    spread = draw(st.lists(offsets, min_size=1, max_size=12, unique=True))
    first = draw(offsets)
    dense = range(first, first + draw(st.sampled_from([0, 0, 90, 130, 250])))
    turns = []
    for offset in sorted(draw(st.lists(offsets, min_size=1, max_size=5))):
        since = moment(draw(st.integers(-3600, offset)))
        turns.append((moment(offset), Presence(since, "it was off"), draw(st.integers(0, 2))))
    born = draw(st.none() | st.integers(-END, 0))
    return Given(
        zone,
        sorted({moment(offset).astimezone(zone) for offset in (*spread, *dense)}, key=_instant),
        turns,
        None if born is None else turns[0][0] + timedelta(seconds=born),
        draw(st.booleans()),
        draw(st.none() | st.integers(1, 7200)),
        draw(st.integers(1, 2)),
    )


def _instant(slot: datetime) -> datetime:
    return slot.astimezone(UTC)


def decisions(case: Given) -> list[tuple[datetime, Presence, Plan]]:
    """Let a job be decided about at each turn until it is no longer due."""
    job = make_job(
        At(case.slots),
        coalesce=case.coalesce,
        misfire_grace_time=case.grace,
        max_instances=case.max_instances,
    )
    numbers = count()
    site = _engine.Site("store", "node", lambda: f"r{next(numbers)}")
    slot: datetime | None = case.slots[0]
    last_slot = opened_until = None
    made: list[tuple[datetime, Presence, Plan]] = []
    for now, presence, instances in case.turns:
        live = Live(instances, opened_until if instances else None)
        while slot is not None and slot <= now:
            due = Due(job, slot, "life", case.born, last_slot, live)
            plan = _engine.plan(now, due, site, presence=presence)
            if plan is None:
                break
            made.append((now, presence, plan))
            assert len(made) < 2 * len(case.slots), "the same slot is decided again and again"
            slot, last_slot = plan.next_run_time, plan.last_slot
            if plan.opened:
                opened_until = now
    return made


def slots_of(run: Run, case: Given) -> list[datetime]:
    first, last = _instant(run.first_scheduled_at), _instant(run.scheduled_at)
    return [slot for slot in map(_instant, case.slots) if first <= slot <= last]


@at_leisure
@given(a_job_and_its_turns())
def test_every_slot_that_was_decided_has_exactly_one_answer(case: Given) -> None:
    made = decisions(case)
    answers = [run for _, _, plan in made for run in (*plan.opened, *plan.closed)]
    answered = Counter(slot for run in answers for slot in slots_of(run, case))
    last = max((_instant(plan.last_slot) for _, _, plan in made), default=START)
    assert answered == Counter(slot for slot in map(_instant, case.slots) if slot <= last)
    assert all(run.count == len(slots_of(run, case)) for run in answers)


@at_leisure
@given(a_job_and_its_turns())
def test_only_slots_that_are_due_are_decided_and_none_of_them_is_left(case: Given) -> None:
    for now, _, plan in decisions(case):
        assert plan.last_slot <= now
        following = [slot for slot in case.slots if _instant(slot) > _instant(plan.last_slot)]
        assert plan.next_run_time == (following[0] if following else None)


@at_leisure
@given(a_job_and_its_turns())
def test_the_next_run_time_is_later_than_the_last_slot_that_was_decided(case: Given) -> None:
    for _, _, plan in decisions(case):
        if plan.next_run_time is not None:
            assert _instant(plan.next_run_time) > _instant(plan.last_slot)


@at_leisure
@given(a_job_and_its_turns())
def test_a_plan_opens_one_run_or_a_batch_of_at_most_a_hundred(case: Given) -> None:
    for _, _, plan in decisions(case):
        assert len(plan.opened) <= (1 if case.coalesce else 100)
        assert len({run.batch for run in plan.opened}) <= 1
        states = [run.state for run in plan.opened]
        assert states == [RunState.RUNNING, *[RunState.WAITING] * len(states)][: len(states)]


@at_leisure
@given(a_job_and_its_turns())
def test_only_absence_makes_a_slot_missed(case: Given) -> None:
    for _, presence, plan in decisions(case):
        for gap in plan.closed:
            if gap.state is RunState.MISSED:
                assert case.grace is not None
                since = max([presence.since, *([case.born] if case.born else [])], key=_instant)
                late = _instant(since) - _instant(gap.scheduled_at)
                assert late > timedelta(seconds=case.grace)


@at_leisure
@given(a_job_and_its_turns())
def test_decisions_depend_on_nothing_but_what_they_are_given(case: Given) -> None:
    assert decisions(case) == decisions(case)


outcomes = st.builds(
    Outcome,
    st.sampled_from([state for state in RunState if state.ended]),
    started_at=st.none() | offsets.map(moment),
    ended_at=st.none() | offsets.map(moment),
    exception=st.none() | st.text().map(ValueError),
    traceback=st.none() | st.text(max_size=5000),
    refused=st.booleans(),
)


@at_leisure
@given(st.sampled_from(RunState), st.booleans(), outcomes)
def test_an_end_is_reached_once_and_never_left(
    state: RunState, has_definition: bool, outcome: Outcome
) -> None:
    run = make_run(state=state, definition=make_job() if has_definition else None)
    try:
        transition = _engine.settle(START, run, outcome, lambda: "new")
    except TransitionError:
        assert outcome.state not in TRANSITIONS[state]
        return
    assert state in LIVE_STATES
    assert moved(run, transition).ended
    assert transition.ended_at is not None
    assert transition.error is None or len(transition.error) <= 4000
    if transition.follow_up is not None:
        assert transition.follow_up.state is RunState.WAITING
        assert transition.follow_up.attempt == run.attempt + 1
