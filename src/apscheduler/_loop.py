"""Where the rooms meet: one turn of the scheduler, and the end of a Run.

A turn claims what is due, hands what it won to executors, tells the listeners, and answers how
long nothing needs doing. Whoever hosts it does the waiting. Nothing that a store, trigger,
executor or listener raises gets out of a turn.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from os import urandom
from threading import RLock
from typing import TYPE_CHECKING, cast

from apscheduler import _engine
from apscheduler._holds import Hold, Holds
from apscheduler._house import House, Voice
from apscheduler._notices import Notices
from apscheduler._runner import Runner, Work
from apscheduler.clock import UTC, Clock, JumpWatch
from apscheduler.jobstores.base import ClaimingJobStore
from apscheduler.runs import (
    Due,
    Plan,
    Presence,
    Run,
    RunKind,
    RunQuery,
    RunState,
    value,
)

if TYPE_CHECKING:
    from apscheduler.events import SchedulerEvent
    from apscheduler.job import Job

#: How many decisions a turn makes before it lets the listeners, and other stores, come to theirs.
MAX_DECISIONS = 10_000
#: Seconds until a store or a job that failed is tried again; doubled up to the scheduler's
#: `jobstore_retry_interval`.
FIRST_RETRY = 0.5
SHORTEST_RETRY = 0.01
#: Seconds after which a job that was "not now" is asked about again, whatever happens.
HOLD = 1.0
_FOREVER = datetime.max.replace(tzinfo=UTC)


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
        self._voice = Voice(house)
        self._notices = Notices(house)
        self._watch = JumpWatch()
        self._presence: Presence | None = None
        self._store_presence: dict[str, Presence] = {}
        self._executor_presence: dict[str, Presence] = {}
        self._holds: dict[str, Holds] = {}
        # Stores that may have carried out a call that failed.
        self._unsure: set[str] = set()
        # Stores whose waiting Runs would wait until a clock that was set back has caught up.
        self._put_off: set[str] = set()
        self._opening = 0
        self._lock = RLock()
        self._numbers = count()
        self._stamp = "0" * 14
        self.node = urandom(4).hex()
        self.troubles: dict[str, Trouble] = {}
        self.last_turn: datetime | None = None
        self.promise: datetime | None = None
        self.promised = False
        self.stopping = False
        self.runner = Runner(house, self, self._new_id)

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
        for holds in tuple(self._holds.values()):
            holds.clear()
        self.promised = False
        self.promise = None
        self.stopping = False

    def abandon(self) -> None:
        """Do nothing any more: this is a fork, and the loop is the parent's."""
        self.stopping = True
        self.runner.abandon()

    def store_added(self, alias: str) -> None:
        """A job store joins a running scheduler."""
        self._store_presence[alias] = Presence(
            self.clock.now(), "its job store did not belong to a running scheduler"
        )
        self.troubles.pop(alias, None)
        self.holds(alias).clear()

    def executor_joins(self, alias: str) -> None:
        """An executor is about to join a running scheduler."""
        self._executor_presence[alias] = Presence(
            self.clock.now(), f'there was no executor "{alias}"'
        )

    def executor_joined(self, alias: str) -> None:
        """It has joined: what waited for it need not wait any longer."""
        for holds in tuple(self._holds.values()):
            holds.release_for(_no_executor(alias))

    def holds(self, alias: str) -> Holds:
        """Return which jobs of a store the turns leave alone."""
        holds = self._holds.get(alias)
        return holds if holds is not None else self._holds.setdefault(alias, Holds())

    def must_wake_for(self, moment: datetime | None) -> bool:
        """Tell whether a change that makes ``moment`` the next run time needs a new turn."""
        if moment is None:
            return False
        return not self.promised or self.promise is None or moment < self.promise

    def run_ended(self, alias: str, run: Run, follow_up: Run | None) -> None:
        """What waited for a Run to end need not wait any longer."""
        holds = self._holds.get(alias)
        if (holds and holds.release(run.job_id)) or (
            follow_up is not None and self.must_wake_for(follow_up.attention_at)
        ):
            self._voice.wake()

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
            self._voice.tell(self._house._dispatch_event, event)
        self.promise = _earliest(wakes)
        self.promised = True
        self.runner.pass_interrupt_on()
        return None if self.promise is None else self.clock.seconds_until(self.promise)

    def _read_clock(self) -> datetime:
        now = self.clock.now()
        if self._presence is None:
            self.present("no scheduler was running")
        jump = self._watch.observe(now, self.clock.monotonic())
        if jump:
            self._voice.log(logging.WARNING, "The clock was moved by %s", jump)
            self.present(f"the clock was moved by {jump}")
            if jump < timedelta(0):
                self._put_off.update(self._house._jobstores)
            self._watch.observe(now, self.clock.monotonic())
        return now

    def _turn_store(
        self, alias: str, now: datetime, deadline: float | None, late: list[SchedulerEvent]
    ) -> datetime | None:
        if self.stopping:
            return None
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
            until, limit = now, store.claim_limit
            if alias in self._put_off:
                until, limit = _FOREVER, sys.maxsize
            waiting = store.claim_waiting(until, partial(_engine.attend, now), limit)
            self._put_off.discard(alias)
            for run, job in waiting:
                if self.runner.submit(Work(self.runner, store, alias, job, (run,))):
                    self._voice.tell(self._notices.submitted, alias, job, (run,), late)
            if not self._claim(store, alias, now, deadline, late):
                return now
            wake = store.next_wake(holds)
        except Exception as error:
            return self.store_failed(alias, error, now)
        except BaseException:
            self._unsure.add(alias)
            raise

        if trouble is not None and self.troubles.get(alias) is trouble:
            del self.troubles[alias]
            self._voice.log(
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
        decide = partial(self._decide, now, alias, site, holds)
        decisions = 0
        while not self.stopping:
            claims = store.claim(now, decide, store.claim_limit, holds)
            heard = self._notices.anybody_hears_of_submissions()
            for due, plan in claims.won:
                holds.succeeded(due.job.id)
                self._carry_out(store, alias, due.job, plan, late, heard)
            for due, error in claims.failed:
                self._write_failed(alias, due.job, error, now)
            if len(claims.won) < store.claim_limit:
                break
            decisions += len(claims.won)
            if decisions >= MAX_DECISIONS or (
                deadline is not None and self.clock.monotonic() > deadline
            ):
                return False
        return True

    def _decide(
        self, now: datetime, alias: str, site: _engine.Site, holds: Holds, due: Due
    ) -> Plan | None:
        job = due.job
        try:
            if job.executor not in self._house._executors and self._lacks_executor(job, holds):
                return None
            presence = self._presence_for(alias, job.executor)
            plan = _engine.plan(now, due, site, presence=presence)
        except Exception as error:
            retry_at = self._retry(holds, job.id, now, f"its trigger failed: {error!r}")
            self._voice.log(
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
        self._voice.log(
            logging.WARNING,
            'Job "%s" is due, but there is no executor "%s": it waits until one is added under '
            "that alias, or until the job's executor is changed",
            job,
            job.executor,
        )
        return True

    def _presence_for(self, alias: str, executor: str) -> Presence:
        presence = cast("Presence", self._presence)
        if not self._store_presence and not self._executor_presence:
            return presence
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
        heard: bool,
    ) -> None:
        """Do what was decided, now that it is written.

        :param heard: whether anybody hears of what is submitted, or removed
        """
        if plan.closed:
            self._voice.tell(self._notices.closed, alias, job, plan.closed, late)
        submitted = plan.opened and self.runner.submit(
            Work(self.runner, store, alias, job, plan.opened)
        )
        if heard:
            told = [run for run in plan.closed if run.state is RunState.MISSED]
            if submitted:
                told += plan.opened
            if told:
                self._voice.tell(self._notices.submitted, alias, job, told, late)
            if plan.next_run_time is None:
                self._voice.tell(self._notices.removed, alias, job.id)

    # -- submission -----------------------------------------------------------------------------

    def run_now(self, alias: str, job_id: str) -> Run:
        """Open and submit a Run outside the schedule."""
        store = self._house._seam(alias)
        site = _engine.Site(alias, self.node, self._new_id)
        now = self.clock.now()
        late: list[SchedulerEvent] = []
        with self._lock:
            self._opening += 1
        try:
            run, job = store.open_run(
                job_id, lambda job, life, live: _engine.plan_manual(now, job, life, live, site)
            )
            if run.state is not RunState.RUNNING:
                self._voice.tell(self._notices.closed, alias, job, (run,), late)
            elif self.runner.submit(Work(self.runner, store, alias, job, (run,))):
                self._voice.tell(self._notices.submitted, alias, job, (run,), late)
        except Exception:
            self._unsure.add(alias)
            raise
        finally:
            with self._lock:
                self._opening -= 1
        for event in late:
            self._voice.tell(self._house._dispatch_event, event)
        self.runner.pass_interrupt_on()
        return run

    # -- trouble --------------------------------------------------------------------------------

    def _make_good(self, store: ClaimingJobStore, alias: str) -> None:
        """Write what a failing store did not take, and take up what it did unknown to us."""
        self.runner.write_left_over(alias)
        # While a Run is being opened by `run_now`, it looks like one that nobody has taken up.
        if alias in self._unsure and not self._opening:
            self._take_up(store, alias)
            self._unsure.discard(alias)

    def _take_up(self, store: ClaimingJobStore, alias: str) -> None:
        """Run what was claimed by a call of the store that failed all the same."""
        batches: dict[str, list[Run]] = {}
        for state in (RunState.RUNNING, RunState.WAITING):
            for run in store.get_runs(RunQuery(state=state, limit=sys.maxsize)):
                if run.node == self.node and run.id not in self.runner and not run.attention_at:
                    batches.setdefault(run.batch, []).append(run)
        for runs in batches.values():
            runs.sort(key=lambda run: run.id)
            job = runs[0].definition or store.lookup_job(runs[0].job_id)
            if job is None or runs[0].kind is RunKind.MANUAL:
                # Whoever asked for it was told that it failed.
                reason = "the answer of its job store was lost"
                store.apply([_engine.cancel(self.clock.now(), run, reason) for run in runs])
            else:
                self.runner.submit(Work(self.runner, store, alias, job, runs))

    def store_failed(self, alias: str, error: Exception, now: datetime) -> datetime:
        before = self.troubles.get(alias)
        failures = before.failures + 1 if before else 1
        retry_at = now + timedelta(seconds=self._delay(failures))
        self._unsure.add(alias)
        self.troubles[alias] = Trouble(
            _text(error), before.since if before else now, failures, retry_at
        )
        self._voice.log(
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
        self._voice.log(
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
        delay = FIRST_RETRY * 2.0 ** min(failures - 1, 30)
        # 3.x accepts any number. One that is no time must not make the loop spin.
        return min(longest, delay) if longest >= SHORTEST_RETRY else SHORTEST_RETRY

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
