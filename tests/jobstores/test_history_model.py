"""Which ended Runs are kept: what a naive model says, with bounds small enough to be reached."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from apscheduler.job import Job
from apscheduler.jobstores import _archive
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.runs import Live, Run, RunQuery, RunState, Transition, moved, replace
from apscheduler.testing.decisions import run_for
from job_kit import at, make_job

S = RunState
PER_JOB, IN_ALL = 3, 4

IDS = "abcd"
ids = st.sampled_from(IDS)
ends = st.sampled_from([S.SUCCEEDED, S.FAILED, S.LOST, S.SKIPPED, S.CANCELLED])


class HistoryAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.bounds = pytest.MonkeyPatch()
        self.bounds.setattr(_archive, "RUNS_PER_JOB", PER_JOB)
        self.bounds.setattr(_archive, "RUNS_IN_ALL", IN_ALL)
        self.store = MemoryJobStore()
        self.live: list[Run] = []
        # What counts for the bounds, oldest first.
        self.window: list[Run] = []
        # The last success and failure of each job that is stored.
        self.last: dict[str, dict[str, Run]] = {}
        # The same of each id, in whatever life of a job.
        self.last_of_id: dict[str, dict[str, Run]] = {id: {} for id in IDS}
        self.number = 0

    def teardown(self) -> None:
        self.bounds.undo()

    @rule(id=ids)
    def add(self, id: str) -> None:
        if id not in self.last:
            self.store.add_job(make_job(id=id))
            self.last[id] = {}

    @rule(id=ids)
    def remove(self, id: str) -> None:
        if id in self.last:
            self.store.remove_job(id)
            del self.last[id]

    @rule(id=ids)
    def begin(self, id: str) -> None:
        def decide(job: Job, incarnation: str, live: Live) -> Run:
            return run_for(job, at(self.number), incarnation)

        if id in self.last:
            self.number += 1
            self.live.append(self.store.open_run(id, decide)[0])

    @rule(position=st.integers(0, 100), state=ends)
    @precondition(lambda self: self.live)
    def end(self, position: int, state: RunState) -> None:
        run = self.live.pop(position % len(self.live))
        transition = Transition(run, state, at(self.number))
        assert self.store.apply([transition]) == [True]
        ended = moved(run, transition)
        self.window.append(ended)
        of_job = [other for other in self.window if other.job_id == run.job_id]
        if len(of_job) > PER_JOB:
            self.window.remove(of_job[0])
        del self.window[:-IN_ALL]
        if state not in (S.SKIPPED, S.CANCELLED):
            kind = "success" if state is S.SUCCEEDED else "failure"
            self.last_of_id[run.job_id][kind] = ended
            if run.job_id in self.last:
                self.last[run.job_id][kind] = ended

    @invariant()
    def it_keeps_what_counts_and_the_last_success_and_failure(self) -> None:
        found = {run.id for run in self.store.get_runs(RunQuery(limit=1000))}
        window = {run.id for run in (*self.window, *self.live)}
        kept = {run.id for last in self.last.values() for run in last.values()}
        # Those of a former life of a job may be kept with the Runs it has left.
        known = {*self.last, *(run.job_id for run in self.window)}
        may_be = {run.id for id in known for run in self.last_of_id[id].values()}
        assert window | kept <= found <= window | kept | may_be

    @invariant()
    def it_tells_of_each_job_what_it_tells_of_all(self) -> None:
        everything = self.store.get_runs(RunQuery(limit=1000))
        for id in IDS:
            of_job = [run for run in everything if run.job_id == id]
            assert self.store.get_runs(RunQuery(id, limit=1000)) == of_job


TestHistoryAgainstModel = HistoryAgainstModel.TestCase
TestHistoryAgainstModel.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


def test_of_a_job_that_ended_once_the_run_is_kept_while_it_counts_or_is_its_last_success(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_archive, "RUNS_IN_ALL", 2)
    store = MemoryJobStore()
    ends = {"a": S.SKIPPED, "b": S.SUCCEEDED, "c": S.FAILED, "d": S.SKIPPED, "e": S.SKIPPED}
    for number, (id, state) in enumerate(ends.items()):
        store.add_job(make_job(id=id))
        ended = replace(run_for(make_job(id=id), at(number), "1"), state=state)
        store.open_run(id, partial(_opened, ended))

    def found() -> str:
        return "".join(run.job_id for run in store.get_runs(RunQuery(limit=1000)))

    assert found() == "edcb"
    store.remove_job("b")
    store.remove_job("e")
    assert found() == "edc"


def _opened(run: Run, job: Job, incarnation: str, live: Live) -> Run:
    return run


def test_a_job_that_runs_often_neither_displaces_the_runs_of_others_nor_costs_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_archive, "RUNS_PER_JOB", 2)
    monkeypatch.setattr(_archive, "RUNS_IN_ALL", 4)
    archive = _archive.Archive(lambda job_id: True)
    runs = [
        replace(run_for(make_job(id="a" if number else "b"), at(number), "1"), id=f"{number}")
        for number in range(30)
    ]
    for run in runs:
        archive.add(_archive.packed(replace(run, state=S.SUCCEEDED)))
    assert [run.id for run in archive.of_job("b")] == ["0"]
    assert [run.id for run in archive.of_job("a")] == ["28", "29"]
    assert len(archive._order) <= 3 + 4
    for number in range(30, 33):
        other = replace(runs[0], id=f"{number}", job_id=f"c{number}", state=S.SKIPPED)
        archive.add(_archive.packed(other))
    assert sorted(run.id for run in archive) == ["0", "29", "30", "31", "32"]
