"""Where the rooms meet: one turn of the scheduler, and the end of a Run.

A turn claims what is due, hands what it won to executors, tells the listeners, and answers how
long nothing needs doing. Whoever hosts it does the waiting. Nothing that a store, trigger,
executor or listener raises gets out of a turn.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from os import urandom
from typing import TYPE_CHECKING, Any, Protocol, cast

from apscheduler import _engine
from apscheduler._notices import Notices
from apscheduler.clock import Clock, JumpWatch
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MISSED
from apscheduler.executors.base import (
    BaseExecutor,
    MaxInstancesReachedError,
    RunExecutor,
    ShuttingDownError,
    takes_runs,
)
from apscheduler.jobstores.base import ClaimingJobStore
from apscheduler.runs import (
    Due,
    Outcome,
    Plan,
    Presence,
    Run,
    RunState,
    Transition,
    started,
    value,
)

if TYPE_CHECKING:
    import logging

    from apscheduler.events import JobExecutionEvent, SchedulerEvent
    from apscheduler.job import Job

#: How many decisions are asked of a store at a time: few, so that the first run of many starts
#: at once, and so that what is made for a decision is gone before the garbage collector sees it.
CLAIM = 100
#: Seconds until a store or a job that failed is tried again; doubled up to the scheduler's
#: `jobstore_retry_interval`.
FIRST_RETRY = 0.5
#: Seconds after which a job that was "not now" is asked about again, whatever happens.
HOLD = 1.0


class House(Protocol):
    """What the loop needs of the scheduler it belongs to."""

    _jobstores: dict[str, Any]
    _executors: dict[str, BaseExecutor]
    _clock: Clock
    _logger: logging.Logger
    jobstore_retry_interval: float

    def _seam(self, alias: str) -> ClaimingJobStore: ...
    def _dispatch_event(self, event: SchedulerEvent) -> None: ...
    def _hears(self, code: int) -> bool: ...
    def wakeup(self) -> None: ...


class Work:
    """One submission: what an executor gets, and through which it answers."""

    __slots__ = ("_loop", "_runs", "alias", "job", "store")

    def __init__(
        self, loop: Loop, store: ClaimingJobStore, alias: str, job: Job, runs: Sequence[Run]
    ) -> None:
        self._loop = loop
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
        return self._loop.clock

    def begin(self, run: Run) -> Run | None:
        return self._loop.begin(self, run)

    def finish(self, run: Run, outcome: Outcome) -> None:
        self._loop.finished(self, run, outcome)


@value
class Held:
    """Why a due job is not asked about, and until when."""

    reason: str
    until: datetime | None = None
    #: Set where it is the job store that failed.
    store_error: str | None = None


@value
class Trouble:
    """A store that failed."""

    error: str
    since: datetime
    failures: int
    retry_at: datetime


class Loop:
    """The scheduler's loop, without anything that waits.

    :param house: the scheduler; its registries are read at each turn
    """

    def __init__(self, house: House) -> None:
        self._house = house
        self._notices = Notices(house)
        self._watch = JumpWatch()
        self._presence: Presence | None = None
        self._store_presence: dict[str, Presence] = {}
        self._executor_presence: dict[str, Presence] = {}
        self._held: dict[str, dict[str, Held]] = {}
        self._failures: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()
        self._ours: dict[str, Run] = {}
        self._idle = threading.Condition()
        self._awaited = 0
        # Which executors take Runs, found out once for each.
        self._ports: dict[str, tuple[BaseExecutor, bool]] = {}
        self._foreign: dict[tuple[str, str], list[Work]] = {}
        self._unwritten: deque[tuple[Work, Transition, Outcome, bool]] = deque()
        self._numbers = count()
        self._stamp = "0" * 14
        self.node = urandom(4).hex()
        self.troubles: dict[str, Trouble] = {}
        self.last_turn: datetime | None = None
        self.promise: datetime | None = None
        self.promised = False
        self.stopping = False

    @property
    def clock(self) -> Clock:
        return self._house._clock

    # -- what the scheduler tells the loop ------------------------------------------------------

    def present(self, cause: str) -> None:
        """Slots can be started from now on; ``cause`` says why earlier ones could not."""
        self._presence = Presence(self.clock.now(), cause)
        self._store_presence.clear()
        self._executor_presence.clear()
        self.troubles.clear()
        self._held.clear()
        self._watch = JumpWatch()
        self.promised = False
        self.stopping = False

    def store_added(self, alias: str) -> None:
        self._store_presence[alias] = Presence(
            self.clock.now(), "its job store did not belong to a running scheduler"
        )
        self.troubles.pop(alias, None)

    def executor_added(self, alias: str) -> None:
        self._executor_presence[alias] = Presence(
            self.clock.now(), f'there was no executor "{alias}"'
        )
        for held in self._held.values():
            for job_id, why in list(held.items()):
                if why.reason == _no_executor(alias):
                    del held[job_id]

    def hold(self, alias: str, job_id: str, reason: str) -> None:
        """Leave a job out of the turns until it is released."""
        self._held.setdefault(alias, {})[job_id] = Held(reason)

    def release(self, alias: str, job_id: str) -> None:
        self._held.get(alias, {}).pop(job_id, None)

    def held(self, alias: str) -> Mapping[str, Held]:
        """Return the jobs of a store that are left out of the turns, and why."""
        return dict(self._held.get(alias, {}))

    def must_wake_for(self, moment: datetime | None) -> bool:
        """Tell whether a change that makes ``moment`` the next run time needs a new turn."""
        if moment is None:
            return False
        return not self.promised or self.promise is None or moment < self.promise

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
                return self._idle.wait_for(lambda: not (self._ours.keys() - {but}), timeout)
            finally:
                self._awaited -= 1

    # -- the turn -------------------------------------------------------------------------------

    def turn(self, budget: float | None = None) -> float | None:
        """Do what is due; return in how many seconds to come again, None if nothing is planned.

        :param budget: seconds after which to stop and ask to be called again at once
        """
        self.promised = False
        now = self._read_clock()
        self.last_turn = now
        self._stamp = f"{int(now.timestamp() * 1e6):014x}"
        deadline = None if budget is None else self.clock.monotonic() + budget
        late: list[SchedulerEvent] = []
        wakes: list[datetime] = []
        try:
            for alias in list(self._house._jobstores):
                wake = self._turn_store(alias, now, deadline, late)
                if wake is not None:
                    wakes.append(wake)
        finally:
            for event in late:
                self._house._dispatch_event(event)
        self.promise = min(wakes, default=None)
        self.promised = True
        return None if self.promise is None else self.clock.seconds_until(self.promise)

    def _read_clock(self) -> datetime:
        now = self.clock.now()
        if self._presence is None:
            self.present("no scheduler was running")
        jump = self._watch.observe(now, self.clock.monotonic())
        if jump:
            self._house._logger.warning("The clock was moved by %s", jump)
            self.present(f"the clock was moved by {jump}")
            self._watch.observe(now, self.clock.monotonic())
        return now

    def _turn_store(
        self, alias: str, now: datetime, deadline: float | None, late: list[SchedulerEvent]
    ) -> datetime | None:
        trouble = self.troubles.get(alias)
        if trouble is not None and now < trouble.retry_at:
            return trouble.retry_at
        held = self._expire_holds(alias, now)
        try:
            store = self._house._seam(alias)
            self._write_left_over(alias)
            for run, job in store.claim_waiting(now, partial(_engine.attend, now), CLAIM):
                if self._submit(Work(self, store, alias, job, (run,))):
                    self._notices.submitted(alias, job, (run,), late)

            site = _engine.Site(alias, self.node, self._new_id)
            decide = partial(self._decide, now, alias, site)
            while not self.stopping:
                claims = store.claim(now, decide, CLAIM, held)
                for due, plan in claims.won:
                    if self._failures:
                        self._failures.pop((alias, due.job.id), None)
                    self._carry_out(store, alias, due.job, plan, late)
                for due, error in claims.failed:
                    self._write_failed(alias, due.job, error, now)
                if len(claims.won) < CLAIM:
                    break
                if deadline is not None and self.clock.monotonic() > deadline:
                    return now
            wake = store.next_wake(held)
        except Exception as error:
            return self._store_failed(alias, error, now)

        if trouble is not None:
            self._store_recovered(alias, trouble, now)
        return min(
            (moment for moment in (wake, *(why.until for why in held.values())) if moment),
            default=None,
        )

    def _expire_holds(self, alias: str, now: datetime) -> dict[str, Held]:
        held = self._held.setdefault(alias, {})
        for job_id, why in list(held.items()):
            if why.until is not None and why.until <= now:
                held.pop(job_id, None)
        return held

    def _decide(self, now: datetime, alias: str, site: _engine.Site, due: Due) -> Plan | None:
        job = due.job
        if job.executor not in self._house._executors:
            self._house._logger.warning(
                'Job "%s" is due, but there is no executor "%s": it waits until one is added '
                "under that alias, or until the job's executor is changed",
                job,
                job.executor,
            )
            self.hold(alias, job.id, _no_executor(job.executor))
            return None
        try:
            presence = self._presence_for(alias, job.executor)
            plan = _engine.plan(now, due, site, presence=presence)
        except Exception as error:
            retry_at = self._retry(alias, job.id, now, f"its trigger failed: {error!r}")
            self._house._logger.exception(
                'Error in the trigger of job "%s"; the job is tried again at %s', job.id, retry_at
            )
            return None
        if plan is None:
            self._held.setdefault(alias, {})[job.id] = Held(
                "its last batch is still running", now + timedelta(seconds=HOLD)
            )
        return plan

    def _presence_for(self, alias: str, executor: str) -> Presence:
        presence = self._presence
        assert presence is not None
        for other in (self._store_presence.get(alias), self._executor_presence.get(executor)):
            if other is not None and other.since > presence.since:
                presence = other
        return presence

    def _carry_out(
        self,
        store: ClaimingJobStore,
        alias: str,
        job: Job,
        plan: Plan,
        late: list[SchedulerEvent],
    ) -> None:
        """Do what was decided, now that it is written."""
        if plan.closed:
            self._notices.closed(alias, job, plan.closed, late)
        told = [run for run in plan.closed if run.state is RunState.MISSED]
        if plan.opened and self._submit(Work(self, store, alias, job, plan.opened)):
            told += plan.opened
        if told:
            self._notices.submitted(alias, job, told, late)
        if plan.next_run_time is None:
            self._notices.removed(alias, job.id)

    # -- submission -----------------------------------------------------------------------------

    def run_now(self, alias: str, job_id: str) -> Run:
        """Open and submit a Run outside the schedule."""
        store = self._house._seam(alias)
        site = _engine.Site(alias, self.node, self._new_id)
        now = self.clock.now()
        run, job = store.open_run(
            job_id,
            lambda job, incarnation, live: _engine.plan_manual(now, job, incarnation, live, site),
        )
        late: list[SchedulerEvent] = []
        if run.state is RunState.RUNNING:
            if self._submit(Work(self, store, alias, job, (run,))):
                self._notices.submitted(alias, job, (run,), late)
        else:
            self._notices.closed(alias, job, (run,), late)
        for event in late:
            self._house._dispatch_event(event)
        return run

    def _submit(self, work: Work) -> bool:
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
        return True

    def _refused(self, work: Work, error: Exception) -> None:
        job, alias = work.job, work.job.executor
        state, reason = RunState.FAILED, f"it was not submitted: {error}"
        if isinstance(error, MaxInstancesReachedError):
            state, reason = RunState.SKIPPED, _engine.overlap_reason(job)
            self._house._logger.warning(
                'Execution of job "%s" skipped: maximum number of running instances reached (%d)',
                job,
                job.max_instances,
            )
        elif isinstance(error, ShuttingDownError) and (self.stopping or error.interpreter):
            self._house._logger.debug('Executor "%s" is shutting down: %s', alias, error)
        else:
            self._house._logger.error(
                'Error submitting job "%s" to executor "%s"', job, alias, exc_info=error
            )
        outcome = Outcome(state, exception=error, reason=reason, refused=True)
        for run in work.runs:
            begun = self.begin(work, run)
            if begun is not None:
                self.finished(work, begun, outcome)

    # -- the end of a Run -----------------------------------------------------------------------

    def begin(self, work: Work, run: Run) -> Run | None:
        """Note that a worker begins a Run; None if it was cancelled before."""
        now = self.clock.now()
        if run.state is RunState.WAITING:
            try:
                (begun,) = work.store.apply((_engine.start(run),))
            except Exception:
                # Its slot is claimed and nobody else will run it: better run than lost.
                self._house._logger.exception("Error recording that run %s begins", run.id)
                begun = run
            if begun is None:
                self._forget(run)
                return None
            run = begun
        run = started(run, now)
        self._ours[run.id] = run
        return run

    def finished(self, work: Work, run: Run, outcome: Outcome, told: bool = False) -> None:
        """Settle a Run that has ended; never raises.

        :param told: whether the listeners know already
        """
        try:
            now = outcome.ended_at or self.clock.now()
            transition = _engine.settle(now, run, outcome, self._new_id)
            self._write_end(work, transition, outcome, told)
        except Exception:
            self._house._logger.exception("Error settling run %s of job %s", run.id, run.job_id)
            self._forget(run)

    def _write_end(self, work: Work, transition: Transition, outcome: Outcome, told: bool) -> None:
        run = transition.run
        try:
            (after,) = work.store.apply((transition,))
        except Exception as error:
            self._house._logger.exception(
                "Error recording the end of run %s of job %s (%s); it is recorded as soon as job "
                'store "%s" answers again',
                run.id,
                run.job_id,
                transition.after,
                work.alias,
            )
            self._unwritten.append((work, transition, outcome, told))
            self._store_failed(work.alias, error, self.clock.now())
            self._house.wakeup()
            return

        if after is None:
            self._house._logger.warning(
                "The result of run %s of job %s came too late and was refused: the run had been "
                "ended before",
                run.id,
                run.job_id,
            )
        elif not told:
            self._notices.ended(work.alias, after, outcome)
        self._forget(run)
        waiting = self._held.get(work.alias)
        if waiting and waiting.pop(run.job_id, None) is not None:
            self._house.wakeup()
        follow_up = transition.follow_up
        if follow_up is not None and self.must_wake_for(follow_up.attention_at):
            self._house.wakeup()

    def _write_left_over(self, alias: str) -> None:
        """Write the ends of Runs that a failing store did not take."""
        for _ in range(len(self._unwritten)):
            end = self._unwritten.popleft()
            if end[0].alias == alias:
                self._write_end(*end)
            else:
                self._unwritten.append(end)

    def _forget(self, run: Run) -> None:
        # No lock where nobody waits: workers would queue for it.
        self._ours.pop(run.id, None)
        if self._awaited:
            with self._idle:
                self._idle.notify_all()

    # -- executors of 3.x -----------------------------------------------------------------------

    def _submit_to_foreign(self, executor: BaseExecutor, work: Work) -> None:
        """Hand work to an executor that knows nothing of Runs, and reports by job id."""
        begun = [self.begin(work, run) for run in work.runs]
        work = Work(
            self, work.store, work.alias, work.job, [run for run in begun if run is not None]
        )
        key = work.job.executor, work.job.id
        with self._lock:
            self._foreign.setdefault(key, []).append(work)
        try:
            executor.submit_job(work.job, [run.scheduled_at for run in work.runs])
        except BaseException:
            self._take_foreign(key, work)
            raise

    def submission_succeeded(
        self, executor: str, job_id: str, events: Sequence[JobExecutionEvent]
    ) -> None:
        """Settle a submission whose events a foreign executor reports, and sends, itself."""
        outcomes = {event.scheduled_run_time: _outcome_of(event) for event in events}
        key = executor, job_id
        submissions = self._foreign.get(key, ())
        for work in submissions:
            if any(run.scheduled_at in outcomes for run in work.runs):
                break
        else:
            if not submissions:
                return
            work = submissions[0]
        self._take_foreign(key, work)
        for run in work.runs:
            self.finished(work, run, outcomes.get(run.scheduled_at, _UNREPORTED), told=True)

    def submission_failed(
        self, executor: str, job_id: str, error: BaseException, traceback: str | None
    ) -> None:
        """Settle the oldest submission of a job to a foreign executor as failed."""
        key = executor, job_id
        submissions = self._foreign.get(key)
        if submissions:
            work = submissions[0]
            self._take_foreign(key, work)
            outcome = Outcome(RunState.FAILED, exception=error, traceback=traceback)
            for run in work.runs:
                self.finished(work, run, outcome)

    def _take_foreign(self, key: tuple[str, str], work: Work) -> None:
        with self._lock:
            submissions = self._foreign.get(key, [])
            if work in submissions:
                submissions.remove(work)
            if not submissions:
                self._foreign.pop(key, None)

    # -- trouble --------------------------------------------------------------------------------

    def _store_failed(self, alias: str, error: Exception, now: datetime) -> datetime:
        before = self.troubles.get(alias)
        failures = before.failures + 1 if before else 1
        retry_at = now + timedelta(seconds=self._delay(failures))
        self.troubles[alias] = Trouble(
            f"{type(error).__name__}: {error}", before.since if before else now, failures, retry_at
        )
        self._house._logger.warning(
            "Error getting due jobs from job store %r: %s; it is asked again at %s",
            alias,
            error,
            retry_at,
            # The place of the failure is worth its lines once, not at every retry.
            exc_info=error if before is None else None,
        )
        return retry_at

    def _store_recovered(self, alias: str, trouble: Trouble, now: datetime) -> None:
        del self.troubles[alias]
        self._store_presence[alias] = Presence(now, "its job store failed")
        self._house._logger.info(
            "Job store %r answers again after %d failures since %s",
            alias,
            trouble.failures,
            trouble.since,
        )

    def _write_failed(self, alias: str, job: Job, error: Exception, now: datetime) -> None:
        """A decision about one job could not be written, so nothing of it was done."""
        retry_at = self._retry(
            alias, job.id, now, "its job store did not take it", f"{type(error).__name__}: {error}"
        )
        self._house._logger.error(
            'Error updating job "%s" in job store %r; it has not run, and is tried again at %s',
            job.id,
            alias,
            retry_at,
            exc_info=error,
        )

    def _retry(
        self, alias: str, job_id: str, now: datetime, reason: str, store_error: str | None = None
    ) -> datetime:
        """Leave a job that failed alone for a while, longer each time."""
        failures = self._failures[alias, job_id] = self._failures.get((alias, job_id), 0) + 1
        retry_at = now + timedelta(seconds=self._delay(failures))
        self._held.setdefault(alias, {})[job_id] = Held(reason, retry_at, store_error)
        return retry_at

    def _delay(self, failures: int) -> float:
        longest = self._house.jobstore_retry_interval
        return min(longest, FIRST_RETRY * 2.0 ** min(failures - 1, 30))

    def _new_id(self) -> str:
        # Sorts by the time it was made, and within one moment by the order in which it was made.
        return f"{self._stamp}{next(self._numbers):08x}{self.node}"


def _no_executor(alias: str) -> str:
    return f'there is no executor "{alias}"'


def _outcome_of(event: JobExecutionEvent) -> Outcome:
    if event.code == EVENT_JOB_MISSED:
        return Outcome(RunState.MISSED, reason="its executor reported it as missed")
    if event.code == EVENT_JOB_ERROR:
        return Outcome(RunState.FAILED, exception=event.exception, traceback=event.traceback)
    return Outcome(RunState.SUCCEEDED, value=event.retval)


_UNREPORTED = Outcome(RunState.FAILED, reason="its executor ended without a report of it")
