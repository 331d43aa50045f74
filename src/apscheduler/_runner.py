"""The life of a Run on this node, from its submission to its end."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from contextvars import ContextVar
from datetime import datetime
from threading import Condition
from typing import TYPE_CHECKING, Protocol, cast

from apscheduler import _engine
from apscheduler._foreign import Submissions, as_submitted, outcome_for, outcomes_of
from apscheduler._house import House, Voice
from apscheduler._notices import Notices
from apscheduler.executors._invoke import current_run_id
from apscheduler.executors.base import (
    BaseExecutor,
    MaxInstancesReachedError,
    RunExecutor,
    ShuttingDownError,
    takes_runs,
)
from apscheduler.runs import (
    NewId,
    Outcome,
    Run,
    RunQuery,
    RunState,
    Transition,
    moved,
    started,
    value,
)

if TYPE_CHECKING:
    from apscheduler.clock import Clock
    from apscheduler.events import JobExecutionEvent
    from apscheduler.job import Job
    from apscheduler.jobstores.base import ClaimingJobStore

#: The Run whose end is being told in this thread or task.
_ending: ContextVar[str | None] = ContextVar("apscheduler_ending", default=None)


class Work:
    """One submission: what an executor gets, and through which it answers."""

    __slots__ = ("_runner", "_runs", "alias", "job", "store")

    def __init__(
        self, runner: Runner, store: ClaimingJobStore, alias: str, job: Job, runs: Sequence[Run]
    ) -> None:
        self._runner = runner
        self.store = store
        self.alias = alias
        self.job = job
        # A tuple of one would be one more object for the garbage collector to look at.
        self._runs = runs[0] if len(runs) == 1 else runs

    @property
    def runs(self) -> Sequence[Run]:
        return (self._runs,) if isinstance(self._runs, Run) else self._runs

    @property
    def clock(self) -> Clock:
        return self._runner._house._clock

    def begin(self, run: Run) -> Run | None:
        return self._runner.begin(self, run)

    def finish(self, run: Run, outcome: Outcome) -> None:
        self._runner.finished(self, run, outcome)


@value
class End:
    """The end of a Run that is still to be written."""

    work: Work
    transition: Transition
    outcome: Outcome
    told: bool


class Turns(Protocol):
    """What the end of a Run may change for the turns to come."""

    stopping: bool

    def store_failed(self, alias: str, error: Exception, now: datetime) -> datetime: ...
    def run_ended(self, alias: str, run: Run, follow_up: Run | None) -> None: ...


class Runner:
    """Hands Runs to executors, and records what becomes of them.

    :param house: the scheduler
    :param turns: whoever claims Runs
    :param new_id: makes ids of Runs
    """

    def __init__(self, house: House, turns: Turns, new_id: NewId) -> None:
        self._house = house
        self._turns = turns
        self._new_id = new_id
        self._voice = Voice(house)
        self._notices = Notices(house)
        self._ours: dict[str, Run] = {}
        self._idle = Condition()
        self._awaited = 0
        # Which executors take Runs, found out once for each.
        self._ports: dict[str, tuple[BaseExecutor, bool]] = {}
        self._submissions = Submissions()
        # What a failing store has not taken yet.
        self._unwritten: deque[End] = deque()
        self._unbegun: dict[str, Transition] = {}
        self._interrupt: BaseException | None = None

    @property
    def clock(self) -> Clock:
        return self._house._clock

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._ours

    def here(self) -> str | None:
        """Return the id of the live Run of this node that the caller is part of, if any."""
        run_id = _ending.get() or current_run_id()
        return run_id if run_id in self._ours else None

    def running(self) -> list[Run]:
        """Return the Runs that are live on this node, as far as they have come."""
        return list(self._ours.values())

    def wait_until_idle(self, timeout: float | None, but: str | None = None) -> bool:
        """Wait for the live Runs of this node to end; return whether they did.

        :param timeout: for how many seconds at most, None for any time
        :param but: id of a Run that need not end: that of the caller
        """
        with self._idle:
            self._awaited += 1
            try:
                return self._idle.wait_for(lambda: self._is_idle(but), timeout)
            finally:
                self._awaited -= 1

    def _is_idle(self, but: str | None) -> bool:
        # What has ended, and is only not written yet, need not be waited for.
        ended = {end.transition.run.id for end in tuple(self._unwritten)}
        return not (self._ours.keys() - ended - {but})

    def abandon(self) -> None:
        """Do nothing any more: this is a fork, and all Runs are the parent's."""
        self.__class__ = _Abandoned

    def submit(self, work: Work) -> bool:
        """Hand work to its executor; return whether that took it."""
        for run in work.runs:
            self._ours[run.id] = run
        alias = work.job.executor
        try:
            executor = self._house._executors[alias]
            port = self._ports.get(alias)
            if port is None or port[0] is not executor:
                port = self._ports[alias] = executor, takes_runs(executor)
            if port[1]:
                cast("RunExecutor", executor).submit_runs(work)
            else:
                self._submit_to_foreign(executor, work)
        except Exception as error:
            self._refused(work, error)
            return False
        except BaseException as interrupt:
            # What else was won is handed on first; then the turn lets it pass.
            self._interrupt = interrupt
            if any(run.id in self._ours for run in work.runs):
                self._refused(work, interrupt)
                return False
            # It was raised by a job in line, which has been settled.
        return True

    def pass_interrupt_on(self) -> None:
        interrupt, self._interrupt = self._interrupt, None
        if interrupt is not None:
            raise interrupt

    def _refused(self, work: Work, error: BaseException) -> None:
        job, alias = work.job, work.job.executor
        state, reason = RunState.FAILED, f"it was not submitted: {error}"
        if isinstance(error, MaxInstancesReachedError):
            state, reason = RunState.SKIPPED, _engine.overlap_reason(job)
            self._voice.log(
                logging.WARNING,
                'Execution of job "%s" skipped: maximum number of running instances reached (%d)',
                job,
                job.max_instances,
            )
        elif isinstance(error, ShuttingDownError) and (self._turns.stopping or error.interpreter):
            self._voice.log(logging.DEBUG, 'Executor "%s" is shutting down: %s', alias, error)
        else:
            self._voice.log(
                logging.ERROR,
                'Error submitting job "%s" to executor "%s"',
                job,
                alias,
                exc_info=error,
            )
        outcome = Outcome(state, exception=error, reason=reason, refused=True)
        for run in work.runs:
            # As far as it has come: a foreign executor refuses what has begun already.
            known = self._ours.get(run.id)
            if known is not None and (begun := self.begin(work, known)) is not None:
                self.finished(work, begun, outcome)

    def _submit_to_foreign(self, executor: BaseExecutor, work: Work) -> None:
        """Hand work to an executor that knows nothing of Runs, and reports by job id."""
        begun = [self.begin(work, run) for run in work.runs]
        runs = [run for run in begun if run is not None]
        work = Work(self, work.store, work.alias, work.job, runs)
        alias = work.job.executor
        self._submissions.add(alias, work)
        try:
            job = as_submitted(work.job, runs)
            executor.submit_job(job, [run.scheduled_at for run in runs])
        except BaseException:
            self._submissions.take(alias, work)
            raise

    def submission_succeeded(
        self, executor: str, job_id: str, events: Sequence[JobExecutionEvent]
    ) -> None:
        """Settle a submission whose events a foreign executor reports, and sends, itself."""
        outcomes = outcomes_of(events)
        work = self._submissions.take_reported(executor, job_id, outcomes)
        for run in work.runs if work else ():
            self.finished(cast("Work", work), run, outcome_for(run, outcomes), told=True)

    def submission_failed(
        self, executor: str, job_id: str, error: BaseException, traceback: str | None
    ) -> None:
        """Settle the oldest submission of a job to a foreign executor as failed."""
        work = self._submissions.take_oldest(executor, job_id)
        outcome = Outcome(RunState.FAILED, exception=error, traceback=traceback)
        for run in work.runs if work else ():
            self.finished(cast("Work", work), run, outcome)

    # -- the end of a Run -----------------------------------------------------------------------

    def begin(self, work: Work, run: Run) -> Run | None:
        """Note that a worker begins a Run; None if it was cancelled before."""
        if run.state is RunState.WAITING:
            transition = _engine.start(run)
            try:
                (done,) = work.store.apply((transition,))
            except Exception as error:
                # Its slot is claimed, and nobody else will run it. It is written with its end.
                self._unbegun[run.id] = transition
                self._turns.store_failed(work.alias, error, self.clock.now())
                done = True
            if not done:
                self._ours.pop(run.id, None)
                self._tell_those_who_wait()
                return None
            run = moved(run, transition)
        run = started(run, self._house._clock.now())
        self._ours[run.id] = run
        return run

    def finished(self, work: Work, run: Run, outcome: Outcome, told: bool = False) -> None:
        """Settle a Run that has ended; never raises.

        :param told: whether the listeners know already
        """
        now = outcome.ended_at or self._house._clock.now()
        try:
            transition = _engine.settle(now, run, outcome, self._new_id)
        except Exception as error:
            # An executor of somebody else's has answered with something that is no end.
            outcome = Outcome(RunState.FAILED, exception=error, reason="its outcome is no outcome")
            transition = _engine.settle(now, run, outcome, self._new_id)
        try:
            self._write_end(work, transition, outcome, told)
        except Exception as error:
            self._voice.log(
                logging.ERROR,
                "Error recording the end of run %s of job %s (%s); it is recorded as soon as job "
                'store "%s" answers again',
                run.id,
                run.job_id,
                transition.after,
                work.alias,
                exc_info=error,
            )
            self._unwritten.append(End(work, transition, outcome, told))
            self._turns.store_failed(work.alias, error, now)
            self._tell_those_who_wait()
            self._voice.wake()

    def _write_end(
        self,
        work: Work,
        transition: Transition,
        outcome: Outcome,
        told: bool,
        again: bool = False,
    ) -> None:
        run = transition.run
        beginning = self._unbegun.get(run.id) if self._unbegun else None
        if beginning is None:
            (done,) = work.store.apply((transition,))
        else:
            _, done = work.store.apply((beginning, transition))
            del self._unbegun[run.id]
        if not done and again:
            # Has the write that failed been carried out after all?
            known = work.store.get_runs(RunQuery(run.job_id, transition.after))
            done = any(other.id == run.id for other in known)

        if not done:
            self._voice.log(
                logging.WARNING,
                "The result of run %s of job %s came too late and was refused: the run had been "
                "ended before",
                run.id,
                run.job_id,
            )
        elif not told and self._notices.anybody_hears_of(transition.after):
            after = moved(run, transition)
            # A listener is part of the Run: it may shut the scheduler down, too.
            token = _ending.set(run.id)
            self._voice.tell(self._notices.ended, work.alias, after, outcome)
            _ending.reset(token)
        # No lock where nobody waits: workers would queue for it.
        self._ours.pop(run.id, None)
        if self._awaited:
            self._tell_those_who_wait()
        self._turns.run_ended(work.alias, run, transition.follow_up)

    def _tell_those_who_wait(self) -> None:
        if self._awaited:
            with self._idle:
                self._idle.notify_all()

    def write_left_over(self, alias: str) -> None:
        """Write the ends of Runs that a failing store did not take."""
        for _ in range(len(self._unwritten)):
            end = self._unwritten.popleft()
            if end.work.alias != alias:
                self._unwritten.append(end)
                continue
            try:
                self._write_end(end.work, end.transition, end.outcome, end.told, again=True)
            except BaseException:
                self._unwritten.appendleft(end)
                raise


class _Abandoned(Runner):
    """What the runner of the parent is in a fork, where a job may go on that it has started."""

    def submit(self, work: Work) -> bool:
        return False

    def begin(self, work: Work, run: Run) -> Run | None:
        return None

    def finished(self, work: Work, run: Run, outcome: Outcome, told: bool = False) -> None:
        pass

    def write_left_over(self, alias: str) -> None:
        pass
