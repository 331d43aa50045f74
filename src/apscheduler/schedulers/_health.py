"""The face of a scheduler that tells how it is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from threading import Event, Thread
from typing import TYPE_CHECKING, TypeAlias

from apscheduler.health import ExecutorHealth, Health, OverdueJob, StoreHealth
from apscheduler.jobstores.base import ClaimingJobStore, QuarantinedJob, SharedJobStore
from apscheduler.schedulers._core import (
    STATE_PAUSED,
    STATE_RUNNING,
    STATE_STOPPED,
    SchedulerCore,
    seconds_given,
)

if TYPE_CHECKING:
    from apscheduler.job import Job

#: Seconds by which a due job may lack an answer before it is called overdue.
OVERDUE_AFTER = 1.0
#: Seconds within which a job store that several share has to answer.
ANSWERS_WITHIN = 1.0


#: The jobs of a store that are due, and those that cannot be read.
_Answer: TypeAlias = "tuple[list[Job], list[QuarantinedJob]]"


class _Question:
    """Something that a job store is asked in a thread of its own."""

    def __init__(self, ask: Callable[[], _Answer]) -> None:
        self.answered = Event()
        self.answer: _Answer = [], []
        self.error: Exception | None = None
        # A daemon: a store that does not answer must not keep the program from ending.
        Thread(target=self._wait, args=(ask,), name="APScheduler-health", daemon=True).start()

    def _wait(self, ask: Callable[[], _Answer]) -> None:
        try:
            self.answer = ask()
        except Exception as error:
            self.error = error
        finally:
            self.answered.set()


class HealthMethods(SchedulerCore):
    """Health."""

    def __init__(self) -> None:
        super().__init__()
        # What each job store was asked last.
        self._asked: dict[str, _Question] = {}

    def _after_fork(self) -> None:
        super()._after_fork()
        self._asked = {}

    def health(self, stuck_after: float = 3600.0) -> Health:
        """Return how the scheduler really is.

        :param stuck_after: seconds after which a Run that has not ended counts as stuck
        :raises TypeError: if ``stuck_after`` is not a number
        :raises ValueError: if it is not positive
        """
        stuck_after = seconds_given("stuck_after", stuck_after, positive=True)
        now = self._clock.now()
        overdue: list[OverdueJob] = []
        quarantined: list[QuarantinedJob] = []
        unanswered: dict[str, Exception] = {}
        if self.state != STATE_STOPPED:
            for alias in list(self._jobstores):
                try:
                    due, unreadable = self._due(alias, now)
                    overdue += self._overdue(alias, due)
                    quarantined += unreadable
                except Exception as error:
                    unanswered[alias] = error
        return Health(
            running=self.state != STATE_STOPPED
            and (self._loop.company.is_client or self._is_alive()),
            paused=self.state == STATE_PAUSED,
            last_turn=self._loop.last_turn,
            loop_lag=self._loop_lag(now),
            stores={
                alias: self._store_health(alias, unanswered.get(alias))
                for alias in list(self._jobstores)
            },
            executors={
                alias: self._executor_health(alias, now - timedelta(seconds=stuck_after))
                for alias in list(self._executors)
            },
            overdue=tuple(overdue),
            quarantined=tuple(quarantined),
        )

    def _is_alive(self) -> bool:
        """Tell whether what drives the loop is still there."""
        return True

    def _loop_lag(self, now: datetime) -> timedelta:
        # Of a turn that is not done it counts since when it goes on.
        since = self._loop.promise if self._loop.promised else self._loop.last_turn
        if self.state != STATE_RUNNING or since is None:
            return timedelta(0)
        return max(now - since, timedelta(0))

    def _store_health(self, alias: str, unanswered: Exception | None) -> StoreHealth:
        trouble = self._loop.troubles.get(alias)
        if trouble is not None:
            return StoreHealth(trouble.error, trouble.since, trouble.failures)
        for hold, failures in self._loop.holds(alias).failures():
            if hold.store_error is not None:
                return StoreHealth(hold.store_error, None, failures)
        if unanswered is not None:
            return StoreHealth(f"{type(unanswered).__name__}: {unanswered}", None, 1)
        return StoreHealth()

    def _executor_health(self, alias: str, stuck_since: datetime) -> ExecutorHealth:
        try:
            load = self._executors[alias].load()
        except Exception as error:
            self._log(
                logging.ERROR, 'Error asking executor "%s" for its load', alias, exc_info=error
            )
            load = None
        stuck = tuple(
            run.id
            for run in self._loop.runner.running()
            if run.executor == alias
            and run.started_at is not None
            and run.started_at < stuck_since
        )
        if load is None:
            return ExecutorHealth(None, None, None, stuck)
        return ExecutorHealth(load.workers, load.busy, load.queued, stuck)

    def _due(self, alias: str, now: datetime) -> _Answer:
        question = partial(_due, self._seam(alias), now - timedelta(seconds=OVERDUE_AFTER))
        return self._ask(alias, question) if self._loop.company.waits_for(alias) else question()

    def _overdue(self, alias: str, jobs: list[Job]) -> list[OverdueJob]:
        holds = self._loop.holds(alias)
        overdue: list[OverdueJob] = []
        for job in jobs:
            if job.next_run_time is not None:
                why = holds.get(job.id)
                reason = why.reason if why else self._why_late(alias, job.executor)
                overdue.append(OverdueJob(job.id, alias, job.next_run_time, reason))
        return overdue

    def _ask(self, alias: str, question: Callable[[], _Answer]) -> _Answer:
        """Ask a job store that may be cut off, and does not even fail then.

        :raises TimeoutError: if there is no answer soon, or still none to an earlier question
        """
        asked = self._asked.get(alias)
        if asked is None or asked.answered.is_set():
            asked = self._asked[alias] = _Question(question)
        if not asked.answered.wait(ANSWERS_WITHIN):
            raise TimeoutError(f"the job store has not answered for {ANSWERS_WITHIN:g} s")
        if asked.error is not None:
            raise asked.error
        return asked.answer

    def _why_late(self, alias: str, executor: str) -> str:
        if self._loop.company.is_client:
            return "no scheduler has come to it yet"
        if executor not in self._executors:
            return f'there is no executor "{executor}" here'
        if self.state == STATE_PAUSED:
            return "the scheduler is paused"
        if alias in self._loop.troubles:
            return "its job store fails"
        return "the scheduler has not come to it yet"


def _due(store: ClaimingJobStore, before: datetime) -> _Answer:
    jobs = store.get_due_jobs(before)
    return jobs, store.get_quarantined_jobs() if isinstance(store, SharedJobStore) else []
