"""Where the rooms meet: one turn of the scheduler, and the end of a Run.

A turn claims what is due, hands what it won to executors, tells the listeners, and answers how
long nothing needs doing. Whoever hosts it does the waiting. Nothing that a store, trigger,
executor or listener raises gets out of a turn.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from os import urandom
from threading import Condition
from typing import TYPE_CHECKING, Any, Protocol, cast

from apscheduler import _engine
from apscheduler._foreign import Submissions, outcome_for, outcomes_of
from apscheduler._holds import Hold, Holds
from apscheduler._log import say
from apscheduler._notices import Notices
from apscheduler.clock import UTC, Clock, JumpWatch
from apscheduler.executors._invoke import current_run_id
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
    RunKind,
    RunQuery,
    RunState,
    Transition,
    moved,
    started,
    value,
)

if TYPE_CHECKING:
    from apscheduler.events import JobExecutionEvent, SchedulerEvent
    from apscheduler.job import Job

#: How many decisions are asked of a store at a time: few, so that the first run of many starts
#: at once, and so that what is made for a decision is gone before the garbage collector sees it.
CLAIM = 100
#: How many decisions a turn makes before it lets the listeners, and other stores, come to theirs.
MAX_DECISIONS = 10_000
#: Seconds until a store or a job that failed is tried again; doubled up to the scheduler's
#: `jobstore_retry_interval`.
FIRST_RETRY = 0.5
#: Seconds after which a job that was "not now" is asked about again, whatever happens.
HOLD = 1.0

#: The Run whose end is being told in this thread or task.
_ending: ContextVar[str | None] = ContextVar("apscheduler_ending", default=None)


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
class End:
    """The end of a Run that is still to be written."""

    work: Work
    transition: Transition
    outcome: Outcome
    told: bool


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
        self._holds: dict[str, Holds] = {}
        self._ours: dict[str, Run] = {}
        self._idle = Condition()
        self._awaited = 0
        # Which executors take Runs, found out once for each.
        self._ports: dict[str, tuple[BaseExecutor, bool]] = {}
        self._submissions = Submissions()
        # What a failing store has not taken yet, and what it may have done unknown to us.
        self._unwritten: deque[End] = deque()
        self._unbegun: dict[str, Transition] = {}
        self._unsure: set[str] = set()
        self._opening = 0
        self._interrupt: BaseException | None = None
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
        self._watch = JumpWatch()
        self.troubles.clear()
        for holds in self._holds.values():
            holds.clear()
        self.promised = False
        self.promise = None
        self.stopping = False

    def store_added(self, alias: str) -> None:
        """A job store joins a running scheduler."""
        self._store_presence[alias] = Presence(
            self.clock.now(), "its job store did not belong to a running scheduler"
        )
        self.troubles.pop(alias, None)

    def executor_joins(self, alias: str) -> None:
        """An executor is about to join a running scheduler."""
        self._executor_presence[alias] = Presence(
            self.clock.now(), f'there was no executor "{alias}"'
        )

    def executor_joined(self, alias: str) -> None:
        """It has joined: what waited for it need not wait any longer."""
        for holds in self._holds.values():
            holds.release_for(_no_executor(alias))

    def holds(self, alias: str) -> Holds:
        """Return which jobs of a store the turns leave alone."""
        return self._holds.setdefault(alias, Holds())

    def must_wake_for(self, moment: datetime | None) -> bool:
        """Tell whether a change that makes ``moment`` the next run time needs a new turn."""
        if moment is None:
            return False
        return not self.promised or self.promise is None or moment < self.promise

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
        wakes = [
            self._turn_store(alias, now, deadline, late) for alias in list(self._house._jobstores)
        ]
        for event in late:
            self._tell(self._house._dispatch_event, event)
        self.promise = _earliest(wakes)
        self.promised = True
        self._pass_interrupt_on()
        return None if self.promise is None else self.clock.seconds_until(self.promise)

    def _read_clock(self) -> datetime:
        now = self.clock.now()
        if self._presence is None:
            self.present("no scheduler was running")
        jump = self._watch.observe(now, self.clock.monotonic())
        if jump:
            self._log(logging.WARNING, "The clock was moved by %s", jump)
            self.present(f"the clock was moved by {jump}")
            self._watch.observe(now, self.clock.monotonic())
        return now

    def _turn_store(
        self, alias: str, now: datetime, deadline: float | None, late: list[SchedulerEvent]
    ) -> datetime | None:
        trouble = self.troubles.get(alias)
        if trouble is not None:
            if now < trouble.retry_at:
                return trouble.retry_at
            # If it answers now, this is since when.
            self._store_presence[alias] = Presence(now, "its job store failed")
        holds = self.holds(alias)
        holds.expire(now)
        try:
            store = self._house._seam(alias)
            self._make_good(store, alias)
            for run, job in store.claim_waiting(now, partial(_engine.attend, now), CLAIM):
                if self._submit(Work(self, store, alias, job, (run,))):
                    self._tell(self._notices.submitted, alias, job, (run,), late)
            if not self._claim(store, alias, now, deadline, late):
                return now
            wake = store.next_wake(holds)
        except Exception as error:
            return self._store_failed(alias, error, now)
        except BaseException:
            self._unsure.add(alias)
            raise

        if trouble is not None and self.troubles.get(alias) is trouble:
            del self.troubles[alias]
            self._log(
                logging.INFO,
                "Job store %r answers again after %d failures since %s",
                alias,
                trouble.failures,
                trouble.since,
            )
        return _earliest((wake, holds.next_expiry()))

    def _claim(
        self,
        store: ClaimingJobStore,
        alias: str,
        now: datetime,
        deadline: float | None,
        late: list[SchedulerEvent],
    ) -> bool:
        """Claim what is due and hand it on; return whether that was all."""
        holds = self.holds(alias)
        site = _engine.Site(alias, self.node, self._new_id)
        decide = partial(self._decide, now, alias, site)
        decisions = 0
        while not self.stopping:
            claims = store.claim(now, decide, CLAIM, holds)
            for due, plan in claims.won:
                holds.succeeded(due.job.id)
                self._carry_out(store, alias, due.job, plan, late)
            for due, error in claims.failed:
                self._write_failed(alias, due.job, error, now)
            if len(claims.won) < CLAIM:
                break
            decisions += CLAIM
            if decisions >= MAX_DECISIONS or (
                deadline is not None and self.clock.monotonic() > deadline
            ):
                return False
        return True

    def _decide(self, now: datetime, alias: str, site: _engine.Site, due: Due) -> Plan | None:
        job, holds = due.job, self.holds(alias)
        try:
            if job.executor not in self._house._executors and self._lacks_executor(job, holds):
                return None
            presence = self._presence_for(alias, job.executor)
            plan = _engine.plan(now, due, site, presence=presence)
        except Exception as error:
            retry_at = self._retry(holds, job.id, now, f"its trigger failed: {error!r}")
            self._log(
                logging.ERROR,
                'Error in the trigger of job "%s"; the job is tried again at %s',
                job.id,
                retry_at,
                exc_info=error,
            )
            return None
        if plan is None:
            until = now + timedelta(seconds=HOLD)
            holds.put(job.id, Hold("its last batch is still running", until))
        return plan

    def _lacks_executor(self, job: Job, holds: Holds) -> bool:
        holds.put(job.id, Hold(_no_executor(job.executor)))
        # It may have joined before it was waited for.
        if job.executor in self._house._executors:
            holds.release(job.id)
            return False
        self._log(
            logging.WARNING,
            'Job "%s" is due, but there is no executor "%s": it waits until one is added under '
            "that alias, or until the job's executor is changed",
            job,
            job.executor,
        )
        return True

    def _presence_for(self, alias: str, executor: str) -> Presence:
        presence = cast("Presence", self._presence)
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
        told: Sequence[Run] = plan.opened
        if plan.closed:
            self._tell(self._notices.closed, alias, job, plan.closed, late)
            told = [run for run in plan.closed if run.state is RunState.MISSED]
            told += plan.opened
        if plan.opened and not self._submit(Work(self, store, alias, job, plan.opened)):
            told = told[: -len(plan.opened)]
        if told:
            self._tell(self._notices.submitted, alias, job, told, late)
        if plan.next_run_time is None:
            self._tell(self._notices.removed, alias, job.id)

    # -- submission -----------------------------------------------------------------------------

    def run_now(self, alias: str, job_id: str) -> Run:
        """Open and submit a Run outside the schedule."""
        store = self._house._seam(alias)
        site = _engine.Site(alias, self.node, self._new_id)
        now = self.clock.now()
        late: list[SchedulerEvent] = []
        self._opening += 1
        try:
            run, job = store.open_run(
                job_id, lambda job, life, live: _engine.plan_manual(now, job, life, live, site)
            )
            if run.state is not RunState.RUNNING:
                self._tell(self._notices.closed, alias, job, (run,), late)
            elif self._submit(Work(self, store, alias, job, (run,))):
                self._tell(self._notices.submitted, alias, job, (run,), late)
        except Exception:
            self._unsure.add(alias)
            raise
        finally:
            self._opening -= 1
        for event in late:
            self._tell(self._house._dispatch_event, event)
        self._pass_interrupt_on()
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
        except BaseException as interrupt:
            # What else was won is handed on first; then the turn lets it pass.
            self._interrupt = interrupt
            if any(run.id in self._ours for run in work.runs):
                self._refused(work, interrupt)
                return False
            # It was raised by a job in line, which has been settled.
        return True

    def _pass_interrupt_on(self) -> None:
        interrupt, self._interrupt = self._interrupt, None
        if interrupt is not None:
            raise interrupt

    def _refused(self, work: Work, error: BaseException) -> None:
        job, alias = work.job, work.job.executor
        state, reason = RunState.FAILED, f"it was not submitted: {error}"
        if isinstance(error, MaxInstancesReachedError):
            state, reason = RunState.SKIPPED, _engine.overlap_reason(job)
            self._log(
                logging.WARNING,
                'Execution of job "%s" skipped: maximum number of running instances reached (%d)',
                job,
                job.max_instances,
            )
        elif isinstance(error, ShuttingDownError) and (self.stopping or error.interpreter):
            self._log(logging.DEBUG, 'Executor "%s" is shutting down: %s', alias, error)
        else:
            self._log(
                logging.ERROR,
                'Error submitting job "%s" to executor "%s"',
                job,
                alias,
                exc_info=error,
            )
        outcome = Outcome(state, exception=error, reason=reason, refused=True)
        for run in work.runs:
            if run.id in self._ours and (begun := self.begin(work, run)) is not None:
                self.finished(work, begun, outcome)

    def _submit_to_foreign(self, executor: BaseExecutor, work: Work) -> None:
        """Hand work to an executor that knows nothing of Runs, and reports by job id."""
        begun = [self.begin(work, run) for run in work.runs]
        runs = [run for run in begun if run is not None]
        work = Work(self, work.store, work.alias, work.job, runs)
        alias = work.job.executor
        self._submissions.add(alias, work)
        try:
            executor.submit_job(work.job, [run.scheduled_at for run in runs])
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
                (begun,) = work.store.apply((transition,))
            except Exception as error:
                # Its slot is claimed, and nobody else will run it. It is written with its end.
                self._unbegun[run.id] = transition
                self._store_failed(work.alias, error, self.clock.now())
                begun = moved(run, transition)
            if begun is None:
                self._forget(run)
                return None
            run = begun
        run = started(run, self.clock.now())
        self._ours[run.id] = run
        return run

    def finished(self, work: Work, run: Run, outcome: Outcome, told: bool = False) -> None:
        """Settle a Run that has ended; never raises.

        :param told: whether the listeners know already
        """
        now = outcome.ended_at or self.clock.now()
        try:
            transition = _engine.settle(now, run, outcome, self._new_id)
        except Exception as error:
            # An executor of somebody else's has answered with something that is no end.
            outcome = Outcome(RunState.FAILED, exception=error, reason="its outcome is no outcome")
            transition = _engine.settle(now, run, outcome, self._new_id)
        end = End(work, transition, outcome, told)
        try:
            self._write_end(end)
        except Exception as error:
            self._log(
                logging.ERROR,
                "Error recording the end of run %s of job %s (%s); it is recorded as soon as job "
                'store "%s" answers again',
                run.id,
                run.job_id,
                transition.after,
                work.alias,
                exc_info=error,
            )
            self._unwritten.append(end)
            self._store_failed(work.alias, error, now)
            self._wake()

    def _write_end(self, end: End, again: bool = False) -> None:
        work, transition = end.work, end.transition
        run = transition.run
        beginning = self._unbegun.get(run.id)
        if beginning is None:
            (after,) = work.store.apply((transition,))
        else:
            _, after = work.store.apply((beginning, transition))
            del self._unbegun[run.id]
        if after is None and again:
            # Has the write that failed been carried out after all?
            known = work.store.get_runs(RunQuery(run.job_id, transition.after))
            after = next((other for other in known if other.id == run.id), None)

        if after is None:
            self._log(
                logging.WARNING,
                "The result of run %s of job %s came too late and was refused: the run had been "
                "ended before",
                run.id,
                run.job_id,
            )
        elif not end.told:
            # A listener is part of the Run: it may shut the scheduler down, too.
            token = _ending.set(run.id)
            self._tell(self._notices.ended, work.alias, after, end.outcome)
            _ending.reset(token)
        self._forget(run)
        follow_up = transition.follow_up
        if self.holds(work.alias).release(run.job_id) or (
            follow_up is not None and self.must_wake_for(follow_up.attention_at)
        ):
            self._wake()

    def _forget(self, run: Run) -> None:
        # No lock where nobody waits: workers would queue for it.
        self._ours.pop(run.id, None)
        if self._awaited:
            with self._idle:
                self._idle.notify_all()

    # -- trouble --------------------------------------------------------------------------------

    def _make_good(self, store: ClaimingJobStore, alias: str) -> None:
        """Write what a failing store did not take, and take up what it did unknown to us."""
        for _ in range(len(self._unwritten)):
            end = self._unwritten.popleft()
            if end.work.alias != alias:
                self._unwritten.append(end)
                continue
            try:
                self._write_end(end, again=True)
            except BaseException:
                self._unwritten.appendleft(end)
                raise
        # While a Run is being opened by `run_now`, it looks like one that nobody has taken up.
        if alias in self._unsure and not self._opening:
            self._take_up(store, alias)
            self._unsure.discard(alias)

    def _take_up(self, store: ClaimingJobStore, alias: str) -> None:
        """Run what was claimed by a call of the store that failed all the same."""
        batches: dict[str, list[Run]] = {}
        for state in (RunState.RUNNING, RunState.WAITING):
            for run in store.get_runs(RunQuery(state=state, limit=sys.maxsize)):
                if run.node == self.node and run.id not in self._ours and not run.attention_at:
                    batches.setdefault(run.batch, []).append(run)
        for runs in batches.values():
            runs.sort(key=lambda run: run.id)
            job = runs[0].definition or store.lookup_job(runs[0].job_id)
            if job is None or runs[0].kind is RunKind.MANUAL:
                # Whoever asked for it was told that it failed.
                reason = "the answer of its job store was lost"
                store.apply([_engine.cancel(self.clock.now(), run, reason) for run in runs])
            else:
                self._submit(Work(self, store, alias, job, runs))

    def _store_failed(self, alias: str, error: Exception, now: datetime) -> datetime:
        before = self.troubles.get(alias)
        failures = before.failures + 1 if before else 1
        retry_at = now + timedelta(seconds=self._delay(failures))
        self._unsure.add(alias)
        self.troubles[alias] = Trouble(
            _text(error), before.since if before else now, failures, retry_at
        )
        self._log(
            logging.WARNING,
            "Error getting due jobs from job store %r: %s; it is asked again at %s",
            alias,
            error,
            retry_at,
            # The place of the failure is worth its lines once, not at every retry.
            exc_info=error if before is None else None,
        )
        return retry_at

    def _write_failed(self, alias: str, job: Job, error: Exception, now: datetime) -> None:
        """A decision about one job could not be written, so nothing of it was done."""
        reason = "its job store did not take it"
        retry_at = self._retry(self.holds(alias), job.id, now, reason, _text(error))
        self._log(
            logging.ERROR,
            'Error updating job "%s" in job store %r; it has not run, and is tried again at %s',
            job.id,
            alias,
            retry_at,
            exc_info=error,
        )

    def _retry(
        self,
        holds: Holds,
        job_id: str,
        now: datetime,
        reason: str,
        store_error: str | None = None,
    ) -> datetime:
        """Leave a job that failed alone for a while, longer each time."""
        retry_at = now + timedelta(seconds=self._delay(holds.failed(job_id)))
        holds.put(job_id, Hold(reason, retry_at, store_error))
        return retry_at

    def _delay(self, failures: int) -> float:
        longest = self._house.jobstore_retry_interval
        return min(longest, FIRST_RETRY * 2.0 ** min(failures - 1, 30))

    def _tell(self, notice: Callable[..., None], *args: Any) -> None:
        """Tell somebody; that they cannot hear must not stop us."""
        try:
            notice(*args)
        except Exception as error:
            self._log(logging.ERROR, "Error telling of an event", exc_info=error)

    def _wake(self) -> None:
        self._tell(self._house.wakeup)

    def _log(
        self, level: int, message: str, *args: Any, exc_info: BaseException | None = None
    ) -> None:
        say(self._house._logger, level, message, *args, exc_info=exc_info)

    def _new_id(self) -> str:
        # Sorts by the time it was made, and within one moment by the order in which it was made.
        return f"{self._stamp}{next(self._numbers):08x}{self.node}"


def _no_executor(alias: str) -> str:
    return f'there is no executor "{alias}"'


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _earliest(moments: Sequence[datetime | None]) -> datetime | None:
    # In UTC, because two times of one zone are compared by their wall clocks.
    return min((moment.astimezone(UTC) for moment in moments if moment), default=None)
