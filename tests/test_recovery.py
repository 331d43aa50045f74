"""What becomes of Runs whose node is dead, and of those of jobs that are to be recovered."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apscheduler import _engine, events
from apscheduler._explain import explain
from apscheduler.job import Job
from apscheduler.runs import (
    LIVE_STATES,
    NOTHING_LIVE,
    Due,
    Live,
    NewId,
    Outcome,
    Plan,
    Presence,
    Run,
    RunKind,
    RunState,
    Transition,
    TransitionError,
    moved,
    replace,
)
from apscheduler.testing import ManualScheduler
from apscheduler.triggers.base import BaseTrigger
from job_kit import NOON, at, make_job, make_run, slots

S = RunState
LONG_HERE = Presence(at(-1e6), "nobody was there")


def new_ids() -> NewId:
    numbers = count(1)
    return lambda: f"new{next(numbers)}"


def job_to_recover(trigger: BaseTrigger | None = None, *, coalesce: bool = True) -> Job:
    job = make_job(trigger, coalesce=coalesce, misfire_grace_time=None)
    job._modify(recover=True)
    return job


def lapse(run: Run) -> Transition:
    return _engine.lapse(at(60), run, new_ids())


def plan(job: Job, seconds: float) -> Plan:
    site = _engine.Site("store", "node", new_ids())
    due = Due(job, NOON, "life", None, None, NOTHING_LIVE)
    made = _engine.plan(at(seconds), due, site, presence=LONG_HERE)
    assert made is not None
    return made


def manual(job: Job, live: Live = NOTHING_LIVE, *, here: bool = True) -> Run:
    site = _engine.Site("store", "node", new_ids())
    return _engine.plan_manual(at(5), job, "life", live, site, here=here)


# -- what is kept for a recovery ----------------------------------------------------------------


def test_a_run_that_is_to_be_recovered_holds_its_definition_while_its_job_is_stored() -> None:
    job = job_to_recover(slots(0, 60))
    (run,) = plan(job, 0).opened
    assert run.definition is job


def test_each_run_of_a_batch_that_is_to_be_recovered_holds_its_definition() -> None:
    job = job_to_recover(slots(0, 1, 2, 60), coalesce=False)
    assert [run.definition for run in plan(job, 2).opened] == [job, job, job]


def test_what_was_not_opened_holds_no_definition() -> None:
    job = job_to_recover(slots(0, 60))
    due = Due(job, NOON, "life", None, None, Live(1))
    made = _engine.plan(at(0), due, _engine.Site("store", "node", new_ids()), presence=LONG_HERE)
    assert made is not None
    assert [run.definition for run in made.closed] == [None]


def test_a_job_that_is_not_to_be_recovered_any_more_leaves_no_definitions() -> None:
    job = job_to_recover(slots(0, 60))
    job._modify(recover=False)
    (run,) = plan(job, 0).opened
    assert run.definition is None


@pytest.mark.parametrize("here", [True, False])
def test_a_manual_run_is_recovered_too(here: bool) -> None:
    job = job_to_recover()
    assert manual(job, here=here).definition is job
    assert manual(make_job(), here=here).definition is None
    assert manual(job, Live(1), here=here).definition is None


# -- Runs of a dead node ------------------------------------------------------------------------


def test_what_a_dead_node_was_running_is_lost() -> None:
    run = make_run(started_at=at(1))
    assert lapse(run) == Transition(run, S.LOST, at(60), reason="its node died or was cut off")


def test_the_rest_of_the_batch_of_a_dead_node_is_cancelled() -> None:
    run = make_run(state=S.WAITING)
    assert lapse(run) == Transition(
        run, S.CANCELLED, at(60), reason="its node was lost before it began"
    )


@pytest.mark.parametrize("state", [S.RUNNING, S.WAITING])
def test_a_one_shot_whose_row_is_gone_is_not_repeated_unasked(state: RunState) -> None:
    assert lapse(make_run(state=state, definition=make_job())).follow_up is None


@pytest.mark.parametrize("state", [S.RUNNING, S.WAITING])
def test_a_run_that_is_to_be_recovered_waits_to_be_started_at_once(state: RunState) -> None:
    job = job_to_recover()
    run = make_run(
        state=state,
        scheduled_at=at(2),
        first_scheduled_at=at(0),
        count=3,
        batch="b",
        definition=job,
        started_at=at(9),
    )
    follow_up = lapse(run).follow_up
    assert follow_up == replace(
        run,
        id="new1",
        state=S.WAITING,
        kind=RunKind.RECOVERY,
        attempt=2,
        opened_at=at(60),
        started_at=None,
        attention_at=at(60),
    )

    assert follow_up is not None
    assert follow_up.definition is job


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 0), (2, 2), (3, 4), (9, 60)])
def test_a_job_that_kills_its_nodes_does_so_ever_more_rarely(attempt: int, seconds: int) -> None:
    follow_up = lapse(make_run(attempt=attempt, definition=job_to_recover())).follow_up
    assert follow_up is not None
    assert follow_up.attention_at == at(60 + seconds)


def test_what_is_recovered_of_a_batch_counts_as_one_instance() -> None:
    opened = plan(job_to_recover(slots(0, 1, 2, 60), coalesce=False), 2).opened
    new_id = new_ids()
    recovered = [_engine.lapse(at(60), run, new_id).follow_up for run in opened]
    assert len({run.id for run in recovered if run}) == 3
    assert {run.batch for run in recovered if run} == {opened[0].batch}


@given(st.sampled_from(RunState), st.none() | st.booleans())
def test_every_live_run_of_a_dead_node_ends_and_what_is_over_stays_so(
    state: RunState, recover: bool | None
) -> None:
    definition = None if recover is None else make_job()
    if definition is not None:
        definition._modify(recover=recover)
    run = make_run(state=state, definition=definition)
    if state not in LIVE_STATES:
        with pytest.raises(TransitionError):
            lapse(run)
        return
    transition = lapse(run)
    assert moved(run, transition).ended
    assert (transition.follow_up is not None) == bool(recover)
    if transition.follow_up is not None:
        assert transition.follow_up.state is S.WAITING
        assert transition.follow_up.attention_at == at(60)


def test_what_a_node_hands_over_as_it_stops_is_started_by_another_at_once() -> None:
    run = make_run(state=S.WAITING, batch="b")
    transition = _engine.hand_over(at(60), run, _engine.SHUT_DOWN_BEFORE, new_ids())
    assert (transition.after, transition.ended_at) == (S.CANCELLED, at(60))
    assert transition.reason == "its scheduler was shut down before it began"
    follow_up = transition.follow_up
    assert follow_up is not None
    assert (follow_up.id, follow_up.batch, follow_up.attempt) == ("new1", "b", 2)
    assert (follow_up.state, follow_up.attention_at) == (S.WAITING, at(60))


# -- refusals, and other nodes ------------------------------------------------------------------


def test_a_run_that_its_executor_did_not_take_is_recovered_though_its_job_is_stored() -> None:
    run = make_run(definition=job_to_recover(slots(0, 60)))
    refused = Outcome(S.FAILED, reason="it was not submitted", refused=True)
    follow_up = _engine.settle(at(10), run, refused, new_ids()).follow_up
    assert follow_up is not None
    assert (follow_up.state, follow_up.attention_at) == (S.WAITING, at(11))


def test_the_failure_of_a_function_is_not_recovered() -> None:
    run = make_run(definition=job_to_recover())
    assert _engine.settle(at(10), run, Outcome(S.FAILED), new_ids()).follow_up is None


def test_a_manual_run_may_wait_for_another_node_to_start_it_at_once() -> None:
    run = manual(make_job(), here=False)
    assert (run.state, run.kind, run.attention_at) == (S.WAITING, RunKind.MANUAL, at(5))
    assert run.ended_at is None
    assert _engine.attend(at(6), run, make_job()).after is S.RUNNING


def test_a_manual_run_that_would_overlap_waits_for_nobody() -> None:
    run = manual(make_job(), Live(1), here=False)
    assert (run.state, run.attention_at, run.ended_at) == (S.SKIPPED, None, at(5))


def test_a_lost_run_and_its_recovery_are_told_in_words() -> None:
    run = make_run()
    transition = lapse(replace(run, definition=job_to_recover()))
    lost = moved(run, transition)
    assert explain("j", None, [lost], [], NOON, at(61)) == (
        'The run of job "j" scheduled at 2026-03-01 12:00:00 UTC was lost: its node died or was '
        "cut off."
    )
    assert transition.follow_up is not None
    assert explain("j", None, [transition.follow_up, lost], [], NOON, at(61)) == (
        'The run of job "j" scheduled at 2026-03-01 12:00:00 UTC (attempt 2) is waiting until '
        "2026-03-01 12:01:00 UTC."
    )


def test_what_waits_for_any_node_is_started_by_the_next_turn() -> None:
    scheduler = ManualScheduler(timezone="UTC")
    calls: list[int] = []
    scheduler.add_job(calls.append, "interval", hours=1, args=[1], id="j", recover=True)
    scheduler.start()
    store = scheduler._seam("default")
    scheduler.clock.advance(hours=1)
    now = scheduler.clock.now()
    site = _engine.Site("default", "dead", new_ids())
    store.claim(now, lambda due: _engine.plan(now, due, site, presence=Presence(now, "")), 1, ())
    (running,) = scheduler.get_runs()
    assert store.apply([_engine.lapse(now, running, site.new_id)]) == [True]

    scheduler.run_due()
    assert calls == [1]
    assert [(run.attempt, run.state) for run in scheduler.get_runs("j")] == [
        (2, S.SUCCEEDED),
        (1, S.LOST),
    ]
    scheduler.shutdown()


def test_the_code_of_lost_jobs_is_not_among_all_of_3_11() -> None:
    assert events.EVENT_JOB_LOST == 1 << 17
    assert not events.EVENT_ALL & events.EVENT_JOB_LOST
    assert "EVENT_JOB_LOST" in events.__all__
