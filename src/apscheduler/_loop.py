"""Where the rooms meet: one turn of the scheduler, and the end of a Run.

A turn claims what is due, hands what it won to executors, tells the listeners, and answers how
long nothing needs doing. Whoever hosts it does the waiting. Nothing that a store, trigger,
executor or listener raises gets out of a turn.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Generator, Sequence
from datetime import datetime, timedelta
from functools import partial
from os import urandom
from threading import RLock
from typing import TYPE_CHECKING, Any

from apscheduler import _engine
from apscheduler._company import Company, room_in_all, with_room
from apscheduler._holds import Hold, Holds
from apscheduler._house import House, Voice
from apscheduler._ids import RunIds
from apscheduler._leftovers import Leftovers
from apscheduler._notices import Notices
from apscheduler._presences import Presences
from apscheduler._runner import Runner
from apscheduler._troubles import Troubles
from apscheduler._walk import Steps, Walk, earliest
from apscheduler._work import Work
from apscheduler.clock import UTC, Clock, JumpWatch
from apscheduler.jobstores.base import ClaimingJobStore, LeaseLostError, SharedJobStore
from apscheduler.runs import Due, Live, NewId, Plan, Presence, Run, RunState

if TYPE_CHECKING:
    from apscheduler.events import SchedulerEvent
    from apscheduler.job import Job

#: How many decisions a turn makes before it lets the listeners, and other stores, come to theirs.
MAX_DECISIONS = 10_000
#: Seconds after which a job that was "not now" is asked about again, whatever happens.
HOLD = 1.0
#: How many jobs are handed over between two moments at which a host's event loop goes on.
AT_ONCE_ASIDE = 100
_FOREVER = datetime.max.replace(tzinfo=UTC)


class Loop:
    """The scheduler's loop, without anything that waits.

    :param house: the scheduler; its registries are read at each turn
    """

    def __init__(self, house: House) -> None:
        self._house = house
        self._voice = Voice(house)
        self._notices = Notices(house)
        self._watch = JumpWatch()
        self._presences = Presences()
        self._holds: dict[str, Holds] = {}
        # Stores whose waiting Runs would wait until a clock that was set back has caught up.
        self._put_off: set[str] = set()
        self._walk = Walk(lambda: self.clock.now())
        self._opening = 0
        self._lock = RLock()
        self.node = urandom(4).hex()
        self._run_ids = RunIds(self.node)
        self._new_id: NewId = self._run_ids.new
        self.troubles = Troubles(house, self._voice)
        self.leftovers = Leftovers(house, self._voice, self)
        self.company = Company(house, self._voice, self)
        self.last_turn: datetime | None = None
        self.promise: datetime | None = None
        self.promised = False
        self.stopping = False
        self.runner = Runner(house, self, self._new_id)

    @property
    def clock(self) -> Clock:
        return self._house._clock

    # -- what the scheduler tells the loop ------------------------------------------------------

    def begin(self, is_client: bool, is_paused: bool) -> None:
        """The scheduler starts, and is another node now, or only a client of those that are."""
        self.node = urandom(4).hex()
        self.company.is_client = is_client
        self.company.is_paused = is_paused
        self.present("no scheduler was running")

    def present(self, cause: str) -> None:
        """Slots can be started from now on; ``cause`` says why earlier ones could not."""
        self._presences.begin(self.clock.now(), cause)
        self._watch = JumpWatch()
        self.troubles.clear()
        for holds in tuple(self._holds.values()):
            holds.clear()
        self._walk.clear()
        self.promised = False
        self.promise = None
        self.stopping = False

    def abandon(self) -> None:
        """Do nothing any more: this is a fork, and the loop is the parent's."""
        self.stopping = True
        self.company.abandon()
        self.runner.abandon()

    def store_added(self, alias: str) -> None:
        """A job store joins a running scheduler."""
        self._presences.store_came(alias, self.clock.now())
        self.troubles.pop(alias, None)
        self.holds(alias).clear()

    def executor_joins(self, alias: str) -> None:
        """An executor is about to join a running scheduler."""
        self._presences.executor_came(alias, self.clock.now())

    def executor_joined(self, alias: str) -> None:
        """It has joined: what waited for it need not wait any longer."""
        for holds in tuple(self._holds.values()):
            holds.release_for(_no_executor(alias))
        self.company.executors_changed()

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
        if (
            (holds is not None and holds.release(run.job_id))
            or (follow_up is not None and self.must_wake_for(follow_up.attention_at))
            or self.company.has_room_again(run.executor)
        ):
            self._voice.wake()

    def may_begin(self, alias: str) -> bool:
        """Tell whether a Run may begin: not if others may take this node for dead."""
        return self.company.is_safe(alias)

    def store_failed(self, alias: str, error: Exception, now: datetime) -> None:
        """A write failed elsewhere than in a turn."""
        self.troubles.store_failed(alias, error, now)

    def clock_was_corrected(self, by: timedelta) -> None:
        """The clock was corrected: that is no jump, and nobody was away meanwhile."""
        self._watch = JumpWatch()
        self._presences.clock_was_corrected(by)
        # What waits until a moment waits until it by the wrong time.
        self.troubles.ask_again()
        for holds in tuple(self._holds.values()):
            holds.clear()
        self._walk.clear()
        self._voice.wake()

    def was_cut_off(self, alias: str) -> None:
        """The others took this node for dead, and it goes on as if it were new."""
        self._presences.was_cut_off(alias, self.clock.now())

    # -- the turn -------------------------------------------------------------------------------

    def turn(self, budget: float | None = None) -> float | None:
        """Do what is due; return in how many seconds to come again, None if nothing is planned.

        :param budget: seconds after which to stop and ask to be called again at once
        """
        self.promised = False
        now = self._read_clock()
        self.last_turn = now
        self._run_ids.moment_is(now, self.node)
        deadline = None if budget is None else self.clock.monotonic() + budget
        late: list[SchedulerEvent] = []
        for alias in list(self._house._jobstores):
            self._turn_store(alias, now, deadline, late)
        self._tell_late(late)
        self.runner.pass_interrupt_on()
        return self._plan_ahead()

    def _plan_ahead(self) -> float | None:
        self.promise = self._walk.earliest(self._house._jobstores)
        self.promised = not self._walk.is_aside
        return None if self.promise is None else self.clock.seconds_until(self.promise)

    def _tell_late(self, late: list[SchedulerEvent]) -> None:
        for event in late:
            self._voice.tell(self._house._dispatch_event, event)

    def _turn_store(
        self, alias: str, now: datetime, deadline: float | None, late: list[SchedulerEvent]
    ) -> None:
        if self._walk.is_going_on_aside(alias):
            return
        known = self._walk.take_plan(alias)
        is_due = known is not None and known <= now
        waiter = self._house._waiter(alias) if self.company.shares(alias) else None
        if waiter is None:
            steps = self._steps(alias, now, is_due, deadline, late, sys.maxsize)
            self._walk.take(alias, steps)
            return
        late = []

        def landed(failed: bool) -> None:
            self._tell_late(late)
            seconds = self._plan_ahead()
            self._house._come_again(HOLD if failed else seconds)
            if not failed:
                self.runner.pass_interrupt_on()

        steps = self._steps(alias, now, is_due, None, late, AT_ONCE_ASIDE)
        self._walk.take_aside(alias, steps, waiter, landed)

    def wait_for_turn(self, alias: str, timeout: float | None) -> bool:
        """Wait for the turn of a job store to end; return whether it did."""
        return self._walk.wait_for(alias, timeout)

    def _read_clock(self) -> datetime:
        now = self.clock.now()
        if not self._presences.has_begun:
            self.present("no scheduler was running")
        jump = self._watch.observe(now, self.clock.monotonic())
        if jump:
            self._voice.log(logging.WARNING, "The clock was moved by %s", jump)
            self.present(f"the clock was moved by {jump}")
            if jump < timedelta(0):
                self._put_off.update(self._house._jobstores)
            self._watch.observe(now, self.clock.monotonic())
        return now

    def _steps(
        self,
        alias: str,
        now: datetime,
        is_due: bool,
        deadline: float | None,
        late: list[SchedulerEvent],
        at_once: int,
    ) -> Steps:
        """Do what is due in one job store.

        :param is_due: whether something is known to be
        :param at_once: how many jobs are handed over between two calls of the store
        """
        if self.stopping:
            return None
        trouble = self.troubles.get(alias)
        if trouble is not None:
            if now < trouble.retry_at:
                return trouble.retry_at
            # If it answers now, this is since when.
            self._presences.store_failed(alias, now)
        holds = self.holds(alias)
        holds.expire(now)
        try:
            store = self._house._seam(alias)
            yield partial(self.leftovers.make_good, store, alias, lambda: self._opening > 0)
            scope = {}
            # Asked once: an abstract class takes its time to answer.
            shared = store if isinstance(store, SharedJobStore) else None
            if shared is not None:
                nodes = yield from self.company.look_after(shared, alias, now, late)
                scope = {"executors": self.company.executors_with_room()}
                if not is_due:
                    wake = yield partial(store.next_wake, holds, **scope)
                    is_due = wake is not None and wake <= now
            if is_due or not scope:
                if not (
                    yield from self._do_what_is_due(
                        store, alias, now, deadline, late, at_once, shared is not None
                    )
                ):
                    return now
                if scope:
                    scope = {"executors": self.company.executors_with_room()}
                wake = yield partial(store.next_wake, holds, **scope)
            if shared is not None and nodes:
                yield from self.company.look_for_homeless(shared, alias, now, nodes)
        except LeaseLostError:
            if not self.stopping:  # else it has left
                self.company.lease_lost(alias)
            return now
        except Exception as error:
            return self.troubles.store_failed(alias, error, now)
        except BaseException:
            self.troubles.unsure.add(alias)
            raise

        if trouble is not None:
            self.troubles.store_answers(alias, trouble)
        return earliest((wake, holds.next_expiry(), self.company.next_look(store, alias, now)))

    def _do_what_is_due(
        self,
        store: ClaimingJobStore,
        alias: str,
        now: datetime,
        deadline: float | None,
        late: list[SchedulerEvent],
        at_once: int,
        shared: bool,
    ) -> Generator[Callable[[], Any], Any, bool]:
        """Start what waits, claim what is due and hand it on; return whether that was all."""
        limit = min(store.claim_limit, at_once)
        until = now
        if alias in self._put_off:
            until, limit = _FOREVER, sys.maxsize
        scope: dict[str, Any] = {}
        rooms: dict[str, int | None] = {}
        if shared:
            rooms.update(self.company.rooms())
            limit = min(limit, room_in_all(rooms))
            scope = {"executors": with_room(rooms), "node": self.company.node_of(alias)}
        attend = partial(_engine.attend, now)
        waiting: Sequence[tuple[Run, Job]] = ()
        if not _is_calm(store, until):
            waiting = yield partial(store.claim_waiting, until, attend, limit, **scope)
        self._put_off.discard(alias)
        for run, job in waiting:
            if self.runner.submit(Work(self.runner, store, alias, job, (run,))):
                self._voice.tell(self._notices.submitted, alias, job, (run,), late)

        holds = self.holds(alias)
        site = _engine.Site(alias, self.company.node_of(alias), self._run_ids.next)
        limit = min(store.claim_limit, at_once)
        decisions = 0
        presences: dict[str, Presence] = {}  # asked for once in each claim
        decide = partial(self._decide, now, alias, site, holds, rooms, presences)
        while not self.stopping:
            scope = {}
            if shared:
                rooms.clear()
                rooms.update(self.company.rooms())
                # What is read in vain, others read in vain too.
                limit = min(limit, room_in_all(rooms))
                if not limit:
                    break
                scope = {"executors": with_room(rooms)}
            presences.clear()
            claims = yield partial(store.claim, now, decide, limit, holds, **scope)
            heard = self._notices.anybody_hears_of_submissions()
            self._carry_out(store, alias, claims.won, holds, late, heard)
            for due, error in claims.failed:
                self.troubles.write_failed(alias, due.job, holds, error, now)
            if len(claims.won) < limit:
                break
            limit = min(store.claim_limit, at_once)
            decisions += len(claims.won)
            if decisions >= MAX_DECISIONS or (
                deadline is not None and self.clock.monotonic() > deadline
            ):
                return False
        return not self.stopping

    def _decide(
        self,
        now: datetime,
        alias: str,
        site: _engine.Site,
        holds: Holds,
        rooms: dict[str, int | None],
        presences: dict[str, Presence],
        due: Due,
    ) -> Plan | None:
        job = due.job
        try:
            room = None
            if rooms:
                room = rooms.get(job.executor, 0)
                if room == 0:
                    return None  # Another node may have room for it, or this one, later.
            elif job.executor not in self._house._executors and self._lacks_executor(job, holds):
                return None
            presence = presences.get(job.executor)
            if presence is None:
                others_since = self.company.others_since(alias, job.executor)
                presence = self._presences.of(alias, job.executor, others_since)
                presences[job.executor] = presence
            plan = _engine.plan(now, due, site, presence=presence, room=room)
            if room is not None and plan is not None and plan.opened:
                rooms[job.executor] = room - 1
                if room == 1:
                    self.company.is_full(job.executor)
        except Exception as error:
            self.troubles.trigger_failed(job, holds, error, now)
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

    def _carry_out(
        self,
        store: ClaimingJobStore,
        alias: str,
        won: Sequence[tuple[Due, Plan]],
        holds: Holds,
        late: list[SchedulerEvent],
        heard: bool,
    ) -> None:
        """Do what was decided, now that it is written.

        :param heard: whether anybody hears of what is submitted, or removed. If so it is done job
            by job, so that what is told of one comes together
        """
        runner, works = self.runner, list[Work]()
        holds.succeeded(due.job.id for due, _ in won)
        for due, plan in won:
            job = due.job
            if plan.closed:
                self._voice.tell(self._notices.closed, alias, job, plan.closed, late)
            work = Work(runner, store, alias, job, plan.opened) if plan.opened else None
            if heard:
                submitted = work is not None and runner.submit(work)
                self._tell_carried_out(alias, job, plan, submitted, late)
            elif work is not None:
                works.append(work)
        runner.submit_all(works)

    def _tell_carried_out(
        self, alias: str, job: Job, plan: Plan, submitted: bool, late: list[SchedulerEvent]
    ) -> None:
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
        now = self.clock.now()
        self._run_ids.moment_is(now, self.node)
        site = _engine.Site(alias, self.company.node_of(alias), self._run_ids.next)
        late: list[SchedulerEvent] = []

        def decide(job: Job, life: str, live: Live) -> Run:
            here = self.company.runs_here(alias, job.executor)
            return _engine.plan_manual(now, job, life, live, site, here=here)

        with self._lock:
            self._opening += 1
        try:
            run, job = store.open_run(job_id, decide)
            if run.state is RunState.SKIPPED:
                self._voice.tell(self._notices.closed, alias, job, (run,), late)
            elif run.state is RunState.WAITING:
                pass  # Another node starts it.
            elif self.runner.submit(Work(self.runner, store, alias, job, (run,))):
                self._voice.tell(self._notices.submitted, alias, job, (run,), late)
        except Exception:
            self.troubles.unsure.add(alias)
            raise
        finally:
            with self._lock:
                self._opening -= 1
        self._tell_late(late)
        self.runner.pass_interrupt_on()
        return run


def _is_calm(store: ClaimingJobStore, until: datetime) -> bool:
    """Tell whether no waiting Run is known to need attention, and another look at it follows."""
    if not isinstance(store, SharedJobStore):
        return False
    # Known for one turn, at the end of which it is asked for again, if that turn does all.
    calm_until, store.calm_until = store.calm_until, None
    return calm_until is not None and until < calm_until


def _no_executor(alias: str) -> str:
    return f'there is no executor "{alias}"'
