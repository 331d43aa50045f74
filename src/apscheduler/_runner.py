"""The life of a Run on this node, from its submission to its end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import partial
from operator import length_hint
from threading import Condition
from typing import TYPE_CHECKING, Protocol, cast

from apscheduler import _engine
from apscheduler._foreign import Submissions, as_submitted, outcome_for, outcomes_of
from apscheduler._house import House, Voice
from apscheduler._notices import Notices
from apscheduler._work import End, Work, runs_of
from apscheduler.clock import SystemClock
from apscheduler.executors._invoke import current_run_id
from apscheduler.executors.base import (
    BaseExecutor,
    ManyRunsExecutor,
    MaxInstancesReachedError,
    RunExecutor,
    ShuttingDownError,
    takes_many,
    takes_runs,
)
from apscheduler.runs import (
    WAITING,
    NewId,
    Outcome,
    Run,
    RunQuery,
    RunState,
    Transition,
    moved,
    started,
)

if TYPE_CHECKING:
    from apscheduler._scribe import Scribe
    from apscheduler.clock import Clock
    from apscheduler.events import JobExecutionEvent
    from apscheduler.jobstores.base import ClaimingJobStore

#: The Run whose end is being told in this thread or task.
_ending: ContextVar[str | None] = ContextVar("apscheduler_ending", default=None)


class Turns(Protocol):
    """What the end of a Run may change for the turns to come."""

    stopping: bool

    def may_begin(self, alias: str) -> bool: ...
    def store_failed(self, alias: str, error: Exception, now: datetime) -> None: ...
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
        # Which executors take Runs, and many at a time, found out once for each.
        self._ports: dict[str, tuple[BaseExecutor, bool, bool]] = {}
        self._submissions = Submissions()
        # What is still to be written: by stores that do I/O, and what a failing one refused.
        self._scribes: dict[tuple[str, int], Scribe[End]] = {}
        # Runs that are over but for what is still to be told of them.
        self._telling: set[str] = set()
        # What has been submitted since somebody wants to know it.
        self._seen: set[str] | None = None
        self._unbegun: dict[str, Transition] = {}
        self._interrupt: BaseException | None = None

    @property
    def clock(self) -> Clock:
        return self._house._clock

    def here(self) -> str | None:
        """Return the id of the live Run of this node that the caller is part of, if any."""
        run_id = _ending.get() or current_run_id()
        return run_id if run_id in self._ours or run_id in self._telling else None

    def running(self) -> list[Run]:
        """Return the Runs that are live on this node, as far as they have come."""
        return list(self._ours.values())

    def wait_until_idle(
        self, timeout: float | None, but: str | None = None, node: str | None = None
    ) -> bool:
        """Wait for the live Runs of this node to end; return whether they did.

        :param timeout: for how many seconds at most, None for any time
        :param but: id of a Run that need not end: that of the caller
        :param node: only Runs of that node are waited for
        """
        with self._idle:
            self._awaited += 1
            try:
                return self._idle.wait_for(lambda: self._is_idle(but, node), timeout)
            finally:
                self._awaited -= 1

    def _is_idle(self, but: str | None, node: str | None) -> bool:
        # What has ended, and is only not written yet, need not be waited for.
        ended = {
            end.transition.run.id for scribe in tuple(self._scribes.values()) for end in scribe
        }
        return not any(
            run.id not in ended and run.id != but and node in (None, run.node)
            for run in tuple(self._ours.values())
        )

    def abandon(self) -> None:
        """Do nothing any more: this is a fork, and all Runs are the parent's."""
        self.__class__ = _Abandoned

    def submit(self, work: Work) -> bool:
        """Hand work to its executor; return whether that took it."""
        work.note(self._ours)
        if self._seen is not None:
            self._seen.update(run.id for run in work.runs)
        if work.store.blocking and self._turns.stopping:
            self._hand_over(work)
            return False
        alias = work.job.executor
        try:
            executor, takes, _ = self._port(alias)
            if takes:
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

    def submit_all(self, works: Sequence[Work]) -> None:
        """Hand works of one store to their executors, all at a time to those that take many."""
        many: dict[str, list[Work]] = {}
        together = others = list[Work]()
        alias = None
        for work in works:
            if work.job.executor != alias:  # mostly that of the one before
                alias = work.job.executor
                at_a_time = not work.store.blocking and self._takes_many(alias)
                together = many.setdefault(alias, []) if at_a_time else others
            together.append(work)
        for alias, together in many.items():
            self._submit_many(alias, together)
        # These last: a job in line may take its time, or wait for what runs elsewhere.
        for work in others:
            self.submit(work)

    def _submit_many(self, alias: str, works: Sequence[Work]) -> None:
        ours = runs_of(works)
        # Whoever takes them takes them out of this, all at once.
        left = iter(works)
        try:
            executor = cast("ManyRunsExecutor", self._house._executors[alias])
            self._ours.update(ours)
            executor.submit_all(left)
        except BaseException as error:
            if not isinstance(error, Exception):
                # What else was won is handed on first; then the turn lets it pass.
                self._interrupt = error
            if length_hint(left):
                self._ours.update(ours)
                for work in works:
                    self._refused(work, error)

    def _port(self, alias: str) -> tuple[BaseExecutor, bool, bool]:
        executor = self._house._executors[alias]
        port = self._ports.get(alias)
        if port is None or port[0] is not executor:
            port = executor, takes_runs(executor), takes_many(executor)
            self._ports[alias] = port
        return port

    def _takes_many(self, alias: str) -> bool:
        return self._seen is None and alias in self._house._executors and self._port(alias)[2]

    def pass_interrupt_on(self) -> None:
        interrupt, self._interrupt = self._interrupt, None
        if interrupt is not None:
            raise interrupt

    def _refused(self, work: Work, error: BaseException) -> None:
        job, alias = work.job, work.job.executor
        ends = isinstance(error, ShuttingDownError) and (self._turns.stopping or error.interpreter)
        if ends and work.store.blocking:
            self._hand_over(work)
            return
        state, reason = RunState.FAILED, f"it was not submitted: {error}"
        if isinstance(error, MaxInstancesReachedError):
            state, reason = RunState.SKIPPED, _engine.overlap_reason(job)
            self._voice.log(
                logging.WARNING,
                'Execution of job "%s" skipped: maximum number of running instances reached (%d)',
                job,
                job.max_instances,
            )
        elif ends:
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
        if work.store.blocking and not self._turns.may_begin(work.alias):
            # Others take this node for dead, and may have begun it again.
            self._end_unbegun(work, _engine.lapse(self.clock.now(), run, self._new_id))
            return None
        if run.state is WAITING:
            transition = _engine.start(run)
            try:
                (done,) = work.store.apply((transition,))
            except Exception as error:
                self._turns.store_failed(work.alias, error, self.clock.now())
                if work.store.blocking:
                    # Others may take this node for dead by now, and end it in its place.
                    now, reason = self.clock.now(), _engine.STORE_FAILED_BEFORE
                    transition = _engine.hand_over(now, run, reason, self._new_id)
                    self._end_unbegun(work, transition)
                    return None
                # Its slot is claimed, and nobody else will run it. It is written with its end.
                self._unbegun[run.id] = transition
                done = True
            if not done:
                self._ours.pop(run.id, None)
                self._tell_those_who_wait()
                return None
            run = moved(run, transition)
        run = started(run, self._house._clock.now())
        self._ours[run.id] = run
        return run

    def _hand_over(self, work: Work) -> None:
        """Leave what was won too late to others who share the store, or to the next start."""
        now = self.clock.now()
        for run in work.runs:
            transition = _engine.hand_over(now, run, _engine.SHUT_DOWN_BEFORE, self._new_id)
            self._end_unbegun(work, transition)

    def _end_unbegun(self, work: Work, transition: Transition) -> None:
        outcome = Outcome(transition.after, reason=transition.reason)
        self._end(work, transition, outcome, told=True)

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
        self._end(work, transition, outcome, told)

    def _end(self, work: Work, transition: Transition, outcome: Outcome, told: bool) -> None:
        # Where a test lets time pass, it does not pass while another thread writes.
        if work.store.blocking and isinstance(self.clock, SystemClock):
            self._scribe(work).put(End(work, transition, outcome, told))
            self._tell_those_who_wait()
            return
        try:
            if self._unbegun and transition.run.id in self._unbegun:
                tell = self._write_ends([End(work, transition, outcome, told)])
                if tell is not None:
                    tell()
            else:
                (done,) = work.store.apply((transition,))
                if not done or (not told and self._notices.anybody_hears_of(transition.after)):
                    self._tell(work, transition, outcome, told, done)
                self._over(work.alias, transition)
        except Exception as error:
            end = End(work, transition, outcome, told)
            end.again = True
            self._scribe(work).keep(end)
            self._not_written(work.alias, work.store, error)

    def _not_written(self, alias: str, store: ClaimingJobStore, error: Exception) -> None:
        ends = list(self._scribes[alias, id(store)])
        if ends:
            transition = ends[0].transition
            self._voice.log(
                logging.ERROR,
                "Error recording the end of run %s of job %s (%s)%s; it is recorded as soon as "
                'job store "%s" answers again',
                transition.run.id,
                transition.run.job_id,
                transition.after,
                f", and of {len(ends) - 1} more" if len(ends) > 1 else "",
                alias,
                exc_info=error,
            )
        self._turns.store_failed(alias, error, self.clock.now())
        self._tell_those_who_wait()
        self._voice.wake()

    def _scribe(self, work: Work) -> Scribe[End]:
        # Under one alias there may be one store after the other.
        alias, key = work.alias, (work.alias, id(work.store))
        scribe = self._scribes.get(key)
        if scribe is None:
            # Stores in memory need none.
            from apscheduler._scribe import Scribe

            failed = partial(self._not_written, alias, work.store)
            scribe = Scribe(f"APScheduler-{alias}", self._write_ends, failed)
            scribe = self._scribes.setdefault(key, scribe)
        return scribe

    def _write_ends(self, ends: Sequence[End]) -> Callable[[], None] | None:
        """Write the ends of Runs, all into one job store; return what tells of them."""
        store = ends[0].work.store
        if not self._unbegun:
            transitions = [end.transition for end in ends]
        else:
            transitions = []
            for end in ends:
                beginning = self._unbegun.get(end.transition.run.id)
                transitions += (beginning, end.transition) if beginning else (end.transition,)
        try:
            # Of a beginning and an end that are written together the end comes last, and counts.
            answers = {
                transition.run.id: done
                for transition, done in zip(transitions, store.apply(transitions), strict=True)
            }
        except BaseException:
            for end in ends:
                end.again = True
            raise
        settled: list[tuple[End, bool]] = []
        for end in ends:
            run = end.transition.run
            self._unbegun.pop(run.id, None)
            done = answers[run.id]
            if not done and end.again:
                # Has the write that failed been carried out after all?
                known = store.get_runs(RunQuery(run.job_id, end.transition.after))
                done = any(other.id == run.id for other in known)
            settled.append((end, done))
        if not any(
            not done or (not end.told and self._notices.anybody_hears_of(end.transition.after))
            for end, done in settled
        ):
            for end, _ in settled:
                self._over(end.work.alias, end.transition)
            return None
        # They are over, also for those who wait for them while they hear of another one.
        for end, _ in settled:
            self._telling.add(end.transition.run.id)
            self._over(end.work.alias, end.transition)
        # Listeners are called where the scheduler's host calls them.
        return partial(self._house._call_listeners, partial(self._tell_all, settled))

    def _tell_all(self, settled: Sequence[tuple[End, bool]]) -> None:
        for end, done in settled:
            self._tell(end.work, end.transition, end.outcome, end.told, done)
            self._telling.discard(end.transition.run.id)

    def _tell(
        self, work: Work, transition: Transition, outcome: Outcome, told: bool, done: bool
    ) -> None:
        run = transition.run
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

    def _over(self, alias: str, transition: Transition) -> None:
        # No lock where nobody waits: workers would queue for it.
        self._ours.pop(transition.run.id, None)
        if self._awaited:
            self._tell_those_who_wait()
        self._turns.run_ended(alias, transition.run, transition.follow_up)

    def _tell_those_who_wait(self) -> None:
        if self._awaited:
            with self._idle:
                self._idle.notify_all()

    def write_left_over(self, alias: str, tell: bool = False) -> None:
        """Write the ends of Runs that are not written yet.

        :param tell: whether to tell of them, and of those that are just being told of, before
            this returns
        """
        for (other, _), scribe in tuple(self._scribes.items()):
            if other == alias:
                scribe.flush(tell)

    @contextmanager
    def seeing(self) -> Iterator[set[str]]:
        """Lend the ids of Runs that this node has, or gets meanwhile."""
        self._seen = seen = set(self._ours)
        try:
            yield seen
        finally:
            self._seen = None


class _Abandoned(Runner):
    """What the runner of the parent is in a fork, where a job may go on that it has started."""

    def submit(self, work: Work) -> bool:
        return False

    def begin(self, work: Work, run: Run) -> Run | None:
        return None

    def finished(self, work: Work, run: Run, outcome: Outcome, told: bool = False) -> None:
        pass

    def write_left_over(self, alias: str, tell: bool = False) -> None:
        pass
