"""The job store in memory does what a naive model of it does, whatever it is asked."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.runs import Due, Plan, RunQuery
from apscheduler.testing.decisions import SECOND, run_for, run_of
from job_kit import at, make_job

IDS = "abcdef"
# Few moments, so that many jobs share one.
MOMENTS = [at(number) for number in range(8)]

ids = st.sampled_from(IDS)
some_ids = st.sets(ids)
moments = st.sampled_from(MOMENTS)
next_run_times = st.none() | moments


class Model:
    """What the store must know of one job."""

    def __init__(self, next_run_time: datetime | None, born: datetime | None) -> None:
        self.next_run_time = next_run_time
        self.born = born
        self.last_slot: datetime | None = None

    def begins(self, born: datetime | None) -> None:
        if born is not None:
            self.born, self.last_slot = born, None


class MemoryAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryJobStore()
        self.jobs: dict[str, Model] = {}
        self.runs = 0

    def due_until(self, now: datetime) -> list[str]:
        return sorted(
            (
                id
                for id, job in self.jobs.items()
                if job.next_run_time and job.next_run_time <= now
            ),
            key=lambda id: (self.jobs[id].next_run_time, id),
        )

    @rule(id=ids, next_run_time=next_run_times, born=next_run_times)
    def add(self, id: str, next_run_time: datetime | None, born: datetime | None) -> None:
        job = make_job(id=id, next_run_time=next_run_time)
        if id in self.jobs:
            with pytest.raises(ConflictingIdError):
                self.store.add_job(job, born)
        else:
            self.store.add_job(job, born)
            self.jobs[id] = Model(next_run_time, born)

    @rule(id=ids, next_run_time=next_run_times, born=next_run_times, by_update=st.booleans())
    def change(
        self, id: str, next_run_time: datetime | None, born: datetime | None, by_update: bool
    ) -> None:
        def change() -> None:
            if by_update:
                self.store.update_job(make_job(id=id, next_run_time=next_run_time), born)
            else:
                self.store.modify_job(
                    id, lambda job: setattr(job, "next_run_time", next_run_time), born
                )

        if id in self.jobs:
            change()
            self.jobs[id].next_run_time = next_run_time
            self.jobs[id].begins(born)
        else:
            with pytest.raises(JobLookupError):
                change()

    @rule(id=ids)
    def remove(self, id: str) -> None:
        if self.jobs.pop(id, None):
            self.store.remove_job(id)
        else:
            with pytest.raises(JobLookupError):
                self.store.remove_job(id)

    @rule()
    @precondition(lambda self: len(self.jobs) > 3)
    def remove_all(self) -> None:
        self.store.remove_all_jobs()
        self.jobs.clear()

    @rule(id=ids)
    @precondition(lambda self: self.jobs)
    def run_by_hand(self, id: str) -> None:
        if id in self.jobs:
            self.store.open_run(
                id, lambda job, incarnation, live: run_for(job, MOMENTS[0], incarnation)
            )
            self.runs += 1

    @rule(
        now=moments,
        limit=st.integers(1, 4),
        without=some_ids,
        not_now=some_ids,
        step=st.none() | st.integers(1, 4),
    )
    def claim(
        self, now: datetime, limit: int, without: set[str], not_now: set[str], step: int | None
    ) -> None:
        following = None if step is None else now + step * SECOND
        told: list[Due] = []

        def decide(due: Due) -> Plan | None:
            told.append(due)
            model = self.jobs[due.job.id]
            assert (due.born, due.last_slot) == (model.born, model.last_slot)
            return None if due.job.id in not_now else Plan(following, due.slot, (run_of(due),))

        asked = [id for id in self.due_until(now) if id not in without]
        to_be_won = [id for id in asked if id not in not_now][:limit]
        times = {id: self.jobs[id].next_run_time for id in asked}

        claims = self.store.claim(now, decide, limit, without)

        assert [due.job.id for due, _ in claims.won] == to_be_won
        # Nobody is passed over, and nobody is asked about twice.
        assert [due.job.id for due in told] == asked[: len(told)]
        assert [due.slot for due in told] == [times[due.job.id] for due in told]
        self.runs += len(to_be_won)
        for id in to_be_won:
            if following is None:
                del self.jobs[id]
            else:
                self.jobs[id].last_slot, self.jobs[id].next_run_time = times[id], following

    @invariant()
    def it_lists_the_jobs_of_the_model(self) -> None:
        scheduled = sorted(
            (id for id, job in self.jobs.items() if job.next_run_time),
            key=lambda id: (self.jobs[id].next_run_time, id),
        )
        paused = sorted(id for id, job in self.jobs.items() if not job.next_run_time)
        assert [job.id for job in self.store.get_all_jobs()] == [*scheduled, *paused]
        for id in IDS:
            job = self.store.lookup_job(id)
            assert (job is not None) == (id in self.jobs)
            if job is not None:
                assert job.next_run_time == self.jobs[id].next_run_time

    @invariant()
    def it_knows_what_is_due(self) -> None:
        for now in (MOMENTS[0], MOMENTS[3], MOMENTS[-1]):
            assert [job.id for job in self.store.get_due_jobs(now)] == self.due_until(now)

    @invariant()
    def it_knows_what_comes_next(self) -> None:
        times = {id: job.next_run_time for id, job in self.jobs.items() if job.next_run_time}
        assert self.store.get_next_run_time() == min(times.values(), default=None)
        for without in (set(), {"a", "b", "c"}, set(IDS)):
            counted = [moment for id, moment in times.items() if id not in without]
            assert self.store.next_wake(without) == min(counted, default=None)

    @invariant()
    def it_keeps_every_run(self) -> None:
        assert len(self.store.get_runs(RunQuery(limit=10_000))) == self.runs


TestMemoryAgainstModel = MemoryAgainstModel.TestCase
TestMemoryAgainstModel.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
