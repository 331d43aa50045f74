"""Whatever fails, how often and in whatever company: no slot runs twice, and none is forgotten."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loop_kit import (
    ERRORS,
    RAN,
    STORES,
    FaultyTrigger,
    HandScheduler,
    assert_at_rest,
    at,
    faulty,
    ran,
)

from apscheduler.executors.debug import DebugExecutor

OurExecutor = faulty(DebugExecutor, ["submit_runs"])

METHODS = {
    "claiming": ("claim", "claim_waiting", "apply", "next_wake"),
    "rows": ("get_due_jobs", "get_next_run_time", "update_job", "remove_job", "lookup_job"),
    "objects": ("get_due_jobs", "get_next_run_time", "update_job", "remove_job", "lookup_job"),
}
STEPS = {"every": 10, "each": 7, "tricky": 6}
END, CALM = 120, 180


def faults(kind: str) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """Draw what happens when: calls that fail, pauses, and jumps of the clock."""
    seconds = st.floats(0, END)
    failure = st.tuples(
        seconds,
        st.sampled_from([*METHODS[kind], "submit_runs", "next"]),
        st.sampled_from(ERRORS),
        st.integers(1, 3),
        st.integers(1, 4),
        st.booleans(),
    )
    change = st.tuples(seconds, st.sampled_from(["pause", "resume", "jump"]))
    return st.lists(failure | change, max_size=8).map(sorted_by_time)


def sorted_by_time(what: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(what, key=lambda happens: happens[0])


def live_through(kind: str, happenings: list[tuple[Any, ...]]) -> HandScheduler:
    RAN.clear()
    store, executor, trigger = STORES[kind](), OurExecutor(), FaultyTrigger(STEPS["tricky"])
    scheduler = HandScheduler(
        jobstores={"default": store},
        executors={"default": executor},
        job_defaults={"misfire_grace_time": None},
        jobstore_retry_interval=4,
    )
    scheduler.start()
    scheduler.add_job(ran, "interval", seconds=STEPS["every"], id="every")
    scheduler.add_job(ran, "interval", seconds=STEPS["each"], id="each", coalesce=False)
    # What can be pickled must not be shared: a store of rows copies the reference alone.
    scheduler.add_job(ran, trigger, id="tricky")
    scheduler.add_job(ran, "date", run_date=at(25), id="once")
    for seconds, what, *details in happenings:
        scheduler.run_until(max(seconds, (scheduler.clock.now() - at(0)).total_seconds()))
        if what == "jump":
            scheduler.clock.jump(seconds=5)
        elif what in ("pause", "resume"):
            getattr(scheduler, what)()
        else:
            error, nth, times, after = details
            owner = {"submit_runs": executor, "next": trigger}.get(what, store)
            # An executor that fails must not have taken the work.
            after = after and owner is store
            owner.faults.fail(what, error, nth=nth, times=times, after=after)
    scheduler.run_until(max(END, (scheduler.clock.now() - at(0)).total_seconds()))
    for owner in (store, executor, trigger):
        owner.faults.mend()
    scheduler.resume()
    scheduler.run_until(CALM)
    return scheduler


@pytest.mark.parametrize("kind", STORES)
def test_no_slot_runs_twice_and_each_has_one_answer_whatever_fails(kind: str) -> None:
    @settings(
        max_examples=60, deadline=None, suppress_health_check=[HealthCheck.differing_executors]
    )
    @given(faults(kind))
    def live(happenings: list[tuple[Any, ...]]) -> None:
        scheduler = live_through(kind, happenings)
        assert len(RAN) == len(set(RAN))
        assert ("once", at(25)) in RAN
        for job_id, step in STEPS.items():
            runs = scheduler.get_runs(job_id, limit=10_000)
            for slot in range(step, CALM + 1, step):
                answers = [
                    run for run in runs if run.first_scheduled_at <= at(slot) <= run.scheduled_at
                ]
                assert [run.state.ended for run in answers] == [True], (job_id, slot, answers)
            assert (job_id, at(CALM // step * step)) in RAN
        seen = {(run.job_id, run.scheduled_at) for run in scheduler.get_runs(limit=10_000)}
        assert set(RAN) <= seen
        assert_at_rest(scheduler)
        scheduler.shutdown()

    live()
