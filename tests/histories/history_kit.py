"""A scheduler to whom anything may happen, and beside it a ledger that is kept independently.

`World` has a method for each thing that can happen. What slots a job has is reckoned here from
its trigger alone, fire time by fire time; what became of them is asked of the scheduler.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, cast

from history_things import (
    EVERYTHING,
    START,
    STORES,
    Desk,
    Faults,
    ForeignExecutor,
    ForeignTask,
    HeldExecutor,
    nothing,
)

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    JobExecutionEvent,
)
from apscheduler.job import Job
from apscheduler.runs import TRANSITIONS, Run, RunKind, RunState
from apscheduler.schedulers.base import STATE_PAUSED, STATE_RUNNING
from apscheduler.testing import ManualScheduler, VirtualClock
from apscheduler.triggers.base import BaseTrigger

_IS_DUE = "it is due, and waits for the scheduler"


# -- the ledger ---------------------------------------------------------------------------------


class Era:
    """The time in which a job had one schedule: from one change by a user to the next.

    :ivar first: its next run time at the beginning; None if it was paused then
    :ivar undecided: slots that had passed, but had not been decided about when it ended
    """

    def __init__(self, job: Job, now: datetime, step: int) -> None:
        self.trigger = job.trigger
        self.first: datetime | None = job.next_run_time
        self.begin, self.end = now, datetime.max.replace(tzinfo=UTC)
        self.steps = [step, EVERYTHING]
        self.slots: list[datetime] = [] if self.first is None else [self.first]
        self.undecided: list[datetime] = []
        self.exhausted = self.first is None
        self.checked = 0
        self.explained = 0

    def reckon(self, until: datetime) -> None:
        """List the slots up to ``until``, and one more."""
        while not self.exhausted and self.slots[-1] <= until:
            following = self.trigger.get_next_fire_time(self.slots[-1], self.slots[-1])
            if following is None:
                self.exhausted = True
            else:
                self.slots.append(following)

    def close(self, job: Job | None, now: datetime, step: int) -> None:
        decided, due = self.split(job, now)
        self.slots, self.undecided = decided, due
        self.exhausted = True
        self.end, self.steps[1] = now, step

    def reopen(self) -> None:
        """Go on: what took the job's place has the same schedule."""
        self.slots = [*self.slots, *self.undecided] or [cast("datetime", self.first)]
        self.exhausted = False
        self.end, self.steps[1] = datetime.max.replace(tzinfo=UTC), EVERYTHING

    def forget(self) -> None:
        self.slots, self.undecided = self.slots[: self.checked], []

    def split(self, job: Job | None, now: datetime) -> tuple[list[datetime], list[datetime]]:
        """Return which slots have been decided about, and which have passed all the same."""
        if self.steps[1] != EVERYTHING:
            return self.slots, self.undecided
        if self.first is None:
            assert job is not None
            assert job.next_run_time is None
            return [], []
        if job is None:
            self.reckon(now)
            while not self.exhausted and self.slots[-1] <= now + timedelta(days=1):
                self.reckon(self.slots[-1])
            assert self.exhausted, "a job vanished"
            return self.slots, []
        assert job.next_run_time is not None, "a job was paused by nobody"
        self.reckon(max(job.next_run_time, now))
        assert job.next_run_time in self.slots, f"{job.next_run_time} is no slot"
        turn = self.slots.index(job.next_run_time)
        return self.slots[:turn], [slot for slot in self.slots[turn:] if slot <= now]


class World:
    """A scheduler, its clock, its store and its executors, and what is to be true of them."""

    def __init__(self, kind: str = "ours") -> None:
        self.kind = kind
        self.desk, self.faults = Desk(), Faults()
        store, self.methods = STORES[kind]
        self.store = store()
        self.store.faults = self.faults
        logger = logging.getLogger("silent")
        logger.disabled = True
        self.scheduler = ManualScheduler(
            clock=VirtualClock(START),
            timezone=UTC,
            jobstores={"default": self.store},
            executors={"held": HeldExecutor(self.desk), "foreign": ForeignExecutor(self.desk)},
            logger=logger,
            jobstore_retry_interval=4,
        )
        self.clock = self.scheduler.clock
        self.events: list[Any] = []
        self.scheduler.add_listener(self.events.append)
        self.deaf = False
        self.scheduler.add_listener(self._listen)
        self.eras: dict[str, list[Era]] = {}
        self.runs: dict[str, Run] = {}
        self.seen_at: dict[str, int] = {}
        self.steps = 0
        self.was_set_back = False
        self.latest = START
        # How many faults had fired when all was well again.
        self.made_good = 0
        self.scheduler.start()

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def _listen(self, event: Any) -> None:
        if self.deaf:
            raise RuntimeError("a listener")

    # -- what happens -------------------------------------------------------------------------

    def add(self, job_id: str, trigger: Any, executor: str = "held", **options: Any) -> None:
        """Add a job, or replace it if there is one."""
        arguments = {}
        if not isinstance(trigger, BaseTrigger):
            trigger, arguments = trigger
        with self._change(job_id):
            self.scheduler.add_job(
                nothing,
                trigger,
                id=job_id,
                executor=executor,
                replace_existing=True,
                **arguments,
                **options,
            )

    def modify(self, job_id: str, **changes: Any) -> None:
        with self._change(job_id) if "next_run_time" in changes else self._by_user():
            self.scheduler.modify_job(job_id, **changes)

    def reschedule(self, job_id: str, trigger: Any) -> None:
        arguments = {}
        if not isinstance(trigger, BaseTrigger):
            trigger, arguments = trigger
        with self._change(job_id):
            self.scheduler.reschedule_job(job_id, None, trigger, **arguments)

    def pause_job(self, job_id: str) -> None:
        with self._change(job_id):
            self.scheduler.pause_job(job_id)

    def resume_job(self, job_id: str) -> None:
        with self._change(job_id):
            self.scheduler.resume_job(job_id)

    def remove(self, job_id: str) -> None:
        with self._change(job_id):
            self.scheduler.remove_job(job_id)

    def remove_all(self) -> None:
        with self._change(*self.eras):
            self.scheduler.remove_all_jobs()

    def run_now(self, job_id: str) -> None:
        with self._by_user():
            self.scheduler.run_now(job_id)

    def pause(self) -> None:
        self.scheduler.pause()

    def resume(self) -> None:
        self.scheduler.resume()

    def shut_down(self) -> None:
        self.check()
        with self._by_user():
            self.scheduler.shutdown(wait=False)
        if self.kind != "rows":
            self.eras.clear()  # What is kept in memory ends with its scheduler.

    def start(self) -> None:
        with self._by_user():
            self.scheduler.start()

    def fail(self, method: str, times: int = 1, after: bool = False) -> None:
        """Let the next calls of the scheduler fail, before or after they did their work."""
        self.faults.plan[method] = times, after

    def refuse(self, times: int = 1) -> None:
        self.desk.refusals = times

    def end(self, position: int = 0, how: str = "succeed") -> None:
        """Let a Run that an executor has come to its end."""
        self._step()
        task = self.desk.open[position % len(self.desk.open)]
        if how == "die" and isinstance(task, ForeignTask):
            # It does not say which of them died: the oldest is taken at its word.
            task = next(t for t in self.desk.open if task.is_like(t))
        self.desk.step(task, how)

    def jump(self, seconds: float) -> None:
        """Set the clock."""
        self.was_set_back |= seconds < 0
        self.latest = max(self.latest, self.now)
        self.clock.jump(seconds=seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._step()
        if not self.scheduler.running:
            self.clock.advance(seconds=seconds)
            return
        fired = self.faults.fired
        self.scheduler.advance(seconds=seconds)
        if fired == self.faults.fired and self.scheduler.state == STATE_RUNNING:
            self.made_good = fired
        self._nothing_is_forgotten()

    def stored(self) -> list[str]:
        """Return the ids of the jobs that there are."""
        with self._by_user():
            return [job.id for job in self.scheduler.get_jobs()]

    def _step(self) -> None:
        self.steps += 1

    @contextmanager
    def _by_user(self) -> Iterator[None]:
        self._step()
        self.faults.asleep += 1
        try:
            yield
        finally:
            self.faults.asleep -= 1

    @contextmanager
    def _change(self, *job_ids: str) -> Iterator[None]:
        """Around what begins another era in the life of jobs."""
        self.observe()
        replaced: dict[str, datetime | None] = {}
        with self._by_user():
            for job_id in job_ids:
                if self.eras.get(job_id) and self.eras[job_id][-1].steps[1] == EVERYTHING:
                    job = self.scheduler.get_job(job_id)
                    replaced[job_id] = job.next_run_time if job else None
                    self.eras[job_id][-1].close(job, self.now, self.steps)
                    if self._is_unsure():
                        # What became of a write that failed is never found out then.
                        self.eras[job_id][-1].forget()
            self._step()
            yield
            for job_id in job_ids:
                changed = self.scheduler.get_job(job_id) if self.scheduler.running else None
                if changed is None:
                    continue
                last = self.eras[job_id][-1] if self.eras.get(job_id) else None
                if (
                    last is not None
                    and last.trigger is changed.trigger
                    and last.first is not None
                    and replaced.get(job_id) == changed.next_run_time
                ):
                    last.reopen()
                else:
                    self.eras.setdefault(job_id, []).append(Era(changed, self.now, self.steps))

    # -- what must be true --------------------------------------------------------------------

    def observe(self) -> None:
        """Take down what the scheduler has on record, and compare it with what it had."""
        with self._by_user():
            runs = {run.id: run for run in self.scheduler.get_runs(limit=EVERYTHING)}
        for run_id, before in self.runs.items():
            run = runs[run_id]
            assert _leads(before.state, run.state), (before, run)
            if before.ended:
                assert run == before
        for run_id in runs.keys() - self.runs.keys():
            self.seen_at[run_id] = self.steps
        self.runs = runs

    def check(self) -> None:
        """All that must be true at any time."""
        self.observe()
        assert self.desk.too_many == []
        self._no_slot_has_two_runs()
        if self.scheduler.running and not self._is_unsure():
            for job_id, eras in self.eras.items():
                self._slots_have_answers(job_id, eras)

    def _is_unsure(self) -> bool:
        # What a store of 3.x has made of a write that failed shows when it is asked again.
        health = self.scheduler.health()
        failing = any(store.error is not None for store in health.stores.values())
        return failing or self.faults.fired != self.made_good

    def _roots(self) -> dict[tuple[str, str], list[Run]]:
        """Return the first attempts at slots, and the gaps, by the lives of jobs."""
        roots: dict[tuple[str, str], list[Run]] = {}
        for run in self.runs.values():
            if run.kind in (RunKind.SLOT, RunKind.GAP):
                roots.setdefault((run.job_id, run.incarnation), []).append(run)
        return roots

    def _no_slot_has_two_runs(self) -> None:
        for runs in self._roots().values():
            runs.sort(key=lambda run: run.first_scheduled_at)
            for run, following in pairwise(runs):
                assert run.scheduled_at < following.first_scheduled_at, (run, following)

    def _slots_have_answers(self, job_id: str, eras: list[Era]) -> None:
        with self._by_user():
            job = self.scheduler.get_job(job_id)
        runs = [
            run
            for run in self.runs.values()
            if run.job_id == job_id and run.kind in (RunKind.SLOT, RunKind.GAP)
        ]
        runs.sort(key=lambda run: run.first_scheduled_at)
        for era in eras:
            if era.steps[1] != EVERYTHING:
                if era.explained == len(eras):
                    continue  # Nothing has changed since.
                era.explained = len(eras)
            decided, due = era.split(job, self.now)
            begin, end = era.steps
            answers = [run for run in runs if begin <= self.seen_at[run.id] <= end]
            position = 0
            for slot in decided[era.checked :]:
                while answers[position:] and answers[position].scheduled_at < slot:
                    position += 1
                told = [
                    run
                    for run in answers[position : position + 2]
                    if run.first_scheduled_at <= slot <= run.scheduled_at
                ]
                assert len(told) == 1, f"{job_id} at {slot} has {told}"
            for slot in decided[era.checked :][-1:]:
                text = self._explained(job_id, slot)
                assert text.startswith("The run of job"), text
            era.checked = len(decided)
            for slot in {*due[:1], *due[-1:]}:
                self._has_an_explanation(job_id, slot, era, runs)
            if era.first is None:
                self._tells_of_the_pause(job_id, era, runs)

    def _has_an_explanation(self, job_id: str, slot: datetime, era: Era, runs: list[Run]) -> None:
        text = self._explained(job_id, slot)
        if _covered(slot, runs):
            assert text.startswith("The run of job"), text
        elif (job_id, slot) in {(run.job_id, run.scheduled_at) for run in self.runs.values()}:
            assert text.startswith("The manual run of job"), text
        elif era.undecided:
            # Since the clock was set back, it may be to come.
            told = re.search("the job was .* at 2026-", text) or _IS_DUE in text
            assert told or slot > self.now, text
        else:
            assert _IS_DUE in text, text

    def _tells_of_the_pause(self, job_id: str, era: Era, runs: list[Run]) -> None:
        slot = era.trigger.get_next_fire_time(None, era.begin)
        if slot is None or not era.begin < slot < min(era.end, self.now):
            return
        if not _covered(slot, runs) and not self.was_set_back:
            text = self._explained(job_id, slot)
            by_hand = text.startswith("The manual run of job")
            assert "paused" in text or _IS_DUE in text or by_hand, text

    def _explained(self, job_id: str, slot: datetime) -> str:
        with self._by_user():
            return self.scheduler.explain(job_id, at=slot)

    def _nothing_is_forgotten(self) -> None:
        if self.scheduler.state != STATE_RUNNING:
            return
        with self._by_user():
            health = self.scheduler.health()
            jobs = self.scheduler.get_jobs()
        told = {overdue.job_id: overdue.reason for overdue in health.overdue}
        for job in jobs:
            if job.next_run_time and job.next_run_time <= self.now - timedelta(seconds=1):
                reason = told.get(job.id, "its job store fails" if self._is_unsure() else "")
                assert reason not in ("", "the scheduler has not come to it yet"), job
        if not self.faults.fired:
            assert set(told.values()) <= {"its last batch is still running"}, told

    def let_go(self) -> None:
        """Let everything that holds the scheduler up go: then all comes to its end."""
        self.faults.plan.clear()
        self.desk.refusals = 0
        self.deaf = False
        # A submission that failed is tried again by the clock on the wall.
        self.clock.jump(max(self.latest - self.now, timedelta(0)))
        if not self.scheduler.running:
            self.start()
        if self.scheduler.state == STATE_PAUSED:
            self.resume()
        self.desk.let_go = True
        while self.desk.open:
            self.end()
        for _ in range(3):
            self.advance(61)
        self.check()
        assert [run for run in self.runs.values() if not run.ended] == []
        with self._by_user():
            health = self.scheduler.health()
        assert health.ok, health
        self._events_tell_of_each_end()

    def _events_tell_of_each_end(self) -> None:
        heard: Counter[tuple[int, str, datetime]] = Counter()
        for event in self.events:
            if isinstance(event, JobExecutionEvent):
                heard[event.code, event.job_id, event.scheduled_run_time] += 1
            elif event.code == EVENT_JOB_MAX_INSTANCES:
                heard[event.code, event.job_id, event.scheduled_run_times[-1]] += 1
        wanted: Counter[tuple[int, str, datetime]] = Counter()
        for run in self.runs.values():
            code = {
                RunState.SUCCEEDED: EVENT_JOB_EXECUTED,
                RunState.FAILED: EVENT_JOB_ERROR,
                RunState.MISSED: EVENT_JOB_MISSED,
                RunState.SKIPPED: EVENT_JOB_MAX_INSTANCES,
            }.get(run.state)
            refused_again = run.kind is RunKind.RECOVERY and run.reason is not None
            if code is not None and not (code == EVENT_JOB_ERROR and refused_again):
                wanted[code, run.job_id, run.scheduled_at] += 1
        for code in (EVENT_JOB_EXECUTED, EVENT_JOB_ERROR):
            assert _of(heard, code) == _of(wanted, code)
        if not self.faults.fired:
            assert _of(heard, EVENT_JOB_MAX_INSTANCES) == _of(wanted, EVENT_JOB_MAX_INSTANCES)
            # Of a gap each slot is told, of which the last one is known here.
            assert not _of(wanted, EVENT_JOB_MISSED) - _of(heard, EVENT_JOB_MISSED)


def _of(counted: Counter[tuple[int, str, datetime]], code: int) -> Counter[Any]:
    return Counter({key: count for key, count in counted.items() if key[0] == code})


def _covered(slot: datetime, runs: list[Run]) -> bool:
    return any(run.first_scheduled_at <= slot <= run.scheduled_at for run in runs)


def _leads(before: RunState, after: RunState) -> bool:
    """Tell whether one state leads to another one, in any number of steps."""
    return after is before or any(_leads(state, after) for state in TRANSITIONS[before])
