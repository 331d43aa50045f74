"""Every decision the scheduler takes, as pure functions from values to values.

No I/O, no locks, no clock, no logging. The answers are written by a store, conditionally; what
was refused because its ground has moved is simply decided again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, cast

from apscheduler.clock import UTC
from apscheduler.runs import (
    LIVE_STATES,
    RUNNING,
    SLOT_RUN,
    WAITING,
    Due,
    Live,
    NewId,
    Outcome,
    Plan,
    Presence,
    Run,
    RunKind,
    RunState,
    Transition,
    replace,
    value,
)
from apscheduler.triggers._asked import asked_in, trigger_of

if TYPE_CHECKING:
    from apscheduler.job import Job
    from apscheduler.triggers.base import BaseTrigger

#: How many slots of a job that does not coalesce are opened at a time.
BATCH = 100
#: How much of an error is kept with its Run, in characters.
MAX_ERROR_LENGTH = 4000
#: Seconds until a submission that failed is tried again: at first, and at most.
RECOVERY_DELAY, MAX_RECOVERY_DELAY = 1.0, 60.0

#: Why a Run ends that a node begins in its place.
SHUT_DOWN_BEFORE = "its scheduler was shut down before it began"
STORE_FAILED_BEFORE = "its job store failed when it was to begin"
#: Why a waiting Run of a removed job ends.
JOB_REMOVED = "its job was removed"
#: Why a Run of a dead node ends, if it had begun and if it had not.
NODE_LOST = "its node died or was cut off"
NODE_LOST_BEFORE = "its node was lost before it began"

_INSTANT = timedelta(microseconds=1)


@value
class Site:
    """Where a decision is taken: what goes into each Run it opens."""

    jobstore: str
    node: str
    new_id: NewId


def plan(
    now: datetime, due: Due, site: Site, *, presence: Presence, room: int | None = None
) -> Plan | None:
    """Decide about a job whose time has come; None means "not now".

    :param now: the moment of the turn, in UTC
    :param presence: since when a slot could have been started here. Only the time before that
        counts as lateness: waiting for a worker is never a miss
    :param room: how many Runs the job's executor can take, None for any number
    :raises ValueError: if the job's trigger does not advance
    """
    # Moments are compared in UTC throughout: two times of one zone are compared by their wall
    # clocks, and those of two zones slowly. What is given here beside ``slot`` is in UTC.
    job, trigger, slot = due.job, trigger_of(due.job), due.slot
    if room == 0:
        return None
    moment = slot.astimezone(UTC)
    if due.last_slot is not None and moment <= due.last_slot:
        # Somebody wrote back an old next run time. That slot has had its answer.
        return Plan(_following(trigger, due.last_slot, now), due.last_slot)
    coalesce, live = job.coalesce, due.live
    if not coalesce and live.opened_until is not None and moment <= live.opened_until:
        return None  # The rest of a batch that was too long to be opened at once.

    closed: tuple[Run, ...] = ()
    startable, cause = None, ""
    if job.misfire_grace_time is not None:
        startable, cause = _earliest_startable(due, presence)
    if coalesce:
        last, count, following = _span(trigger, slot, now, now)
        if last is not slot:
            moment = last.astimezone(UTC)
        if startable is not None and moment < startable:
            missed = _record(RunState.MISSED, now, due, site, slot, last, count, cause)
            return Plan(following, moment, closed=(missed,))
    else:
        if startable is not None and moment < startable:
            last, count, following = _span(trigger, slot, startable - _INSTANT, now)
            missed = _record(RunState.MISSED, now, due, site, slot, last, count, cause)
            closed = (missed,)
            if following is None or following > now or following < startable:
                return Plan(following, last.astimezone(UTC), closed=closed)
            slot, moment = following, following.astimezone(UTC)
        last, count, following = slot, 1, _following(trigger, slot, now)

    if live.instances >= job.max_instances:
        if not coalesce:
            last, count, following = _span(trigger, slot, now, now)
        reason = overlap_reason(job)
        skipped = _record(RunState.SKIPPED, now, due, site, slot, last, count, reason)
        return Plan(following, last.astimezone(UTC), closed=(*closed, skipped))

    # Where the row goes with this write, what a recovery needs goes into the Runs. Where they are
    # to be recovered, it is needed whatever becomes of the row.
    keeps = job._options is not None and job.recover
    definition = job if keeps or following is None else None
    first = _record(RUNNING, now, due, site, slot, last, count, None, None, definition)
    if coalesce or following is None or following > now:
        return Plan(following, moment, (first,), closed)

    opened = [first]
    while following is not None and following <= now and len(opened) < BATCH:
        last, following = following, _following(trigger, following, now)
        waiting = _record(WAITING, now, due, site, last, last, 1, None, first.batch)
        opened.append(waiting)
    if keeps or following is None:
        opened = [replace(run, definition=job) for run in opened]
    return Plan(following, last.astimezone(UTC), tuple(opened), closed)


def plan_manual(
    now: datetime, job: Job, incarnation: str, live: Live, site: Site, *, here: bool = True
) -> Run:
    """Decide about a run that somebody asked for: `skipped` if it would overlap.

    :param here: whether this node runs it; if not, it waits for any node to start it at once
    """
    refused = live.instances >= job.max_instances
    state = RunState.RUNNING if here else RunState.WAITING
    run_id = site.new_id()
    return Run(
        run_id,
        job.id,
        RunState.SKIPPED if refused else state,
        RunKind.MANUAL,
        now,
        now,
        now,
        run_id,
        job.name,
        site.jobstore,
        job.executor,
        site.node,
        incarnation,
        attention_at=None if here or refused else now,
        ended_at=now if refused else None,
        reason=overlap_reason(job) if refused else None,
        definition=job if job.recover and not refused else None,
    )


def settle(now: datetime, run: Run, outcome: Outcome, new_id: NewId) -> Transition:
    """Decide what follows from the end of a Run.

    A Run that its executor did not take is opened again, later, if it holds its definition:
    because its job's row is gone, and nothing else would ever run it, or to be recovered.

    :raises TransitionError: if the Run is not in a state that can end this way
    """
    follow_up = None
    if outcome.refused and run.definition is not None:
        run_id = new_id()
        follow_up = _recovery(now, run, run_id, run_id, _recovery_delay(run.attempt))
    return Transition(
        run,
        outcome.state,
        outcome.ended_at or now,
        outcome.started_at,
        outcome.reason,
        None if outcome.exception is None else _error_text(outcome, outcome.exception),
        follow_up,
    )


def attend(now: datetime, run: Run, job: Job | None) -> Transition:
    """Decide about a waiting Run whose time for attention has come."""
    if job is None:
        return cancel(now, run, JOB_REMOVED)
    return start(run)


def lapse(now: datetime, run: Run, new_id: NewId) -> Transition:
    """Decide what becomes of a live Run whose node is dead.

    If its job is to be recovered, the Run is opened again, for any node to start: at once, but
    not if it has been lost before, since a job may be what kills its nodes. What was one batch
    stays one, and counts as one instance.
    """
    follow_up = None
    if run.definition is not None and run.definition.recover:
        delay = _recovery_delay(run.attempt) if run.attempt > 1 else timedelta(0)
        follow_up = _recovery(now, run, new_id(), run.batch, delay)
    if run.state is RunState.WAITING:
        return Transition(
            run, RunState.CANCELLED, now, reason=NODE_LOST_BEFORE, follow_up=follow_up
        )
    return Transition(run, RunState.LOST, now, reason=NODE_LOST, follow_up=follow_up)


def hand_over(now: datetime, run: Run, reason: str, new_id: NewId) -> Transition:
    """Leave a Run that has not begun, and cannot begin here, to whichever node can start it."""
    follow_up = _recovery(now, run, new_id(), run.batch)
    return Transition(run, RunState.CANCELLED, now, reason=reason, follow_up=follow_up)


def start(run: Run) -> Transition:
    """Let a waiting Run begin."""
    return Transition(run, RunState.RUNNING)


def cancel(now: datetime, run: Run, reason: str) -> Transition:
    """End a Run before its time."""
    return Transition(run, RunState.CANCELLED, now, reason=reason)


def first_fire_time(trigger: BaseTrigger, now: datetime) -> datetime | None:
    """Return when a job with this trigger first runs, if it is added, rescheduled or resumed now.

    The answer may lie in the past, and the job is then due at once; only a calendar interval,
    which counts from the day it started, goes on to its next day.
    """
    steps_over = trigger._steps_over_past_start
    trigger = asked_in(now.tzinfo, trigger)
    first = trigger.get_next_fire_time(None, now)
    if not steps_over or first is None:
        return first
    now = now.astimezone(UTC)
    if first < now:
        last, _ = trigger._last_due(first, now - _INSTANT)
        return _following(trigger, last, now)
    return first


def keeps_phase(stored: Job, replacement: Job) -> bool:
    """Tell whether a job that replaces another one of the same id goes on where that one was."""
    return stored.next_run_time is not None and stored.trigger._same_schedule(replacement.trigger)


def slots_between(trigger: BaseTrigger, run: Run, limit: int) -> list[datetime]:
    """Return the slots of ``run``: at most ``limit`` of them, and beyond that only the last."""
    slots, last = [run.first_scheduled_at], run.scheduled_at.astimezone(UTC)
    while len(slots) < limit:
        following = _following(trigger, slots[-1], run.opened_at)
        if following is None or following > last:
            return slots
        slots.append(following)
    if slots[-1].astimezone(UTC) < last:
        slots.append(run.scheduled_at)
    return slots


def overlap_reason(job: Job) -> str:
    """Return why a run of this job was skipped."""
    return f"maximum number of running instances reached ({job.max_instances})"


def _following(trigger: BaseTrigger, slot: datetime, now: datetime) -> datetime | None:
    following = trigger.get_next_fire_time(slot, now)
    # Only a past answer can keep a loop going for ever. In UTC, because two times of one zone
    # are compared by their wall clocks.
    if (
        following is not None
        and following <= now
        and following.astimezone(UTC) <= slot.astimezone(UTC)
    ):
        raise ValueError(
            f"the trigger {trigger} does not advance: after {slot} it answered {following}; "
            f"get_next_fire_time() must return a later time or None"
        )
    return following


def _span(
    trigger: BaseTrigger, first: datetime, until: datetime, now: datetime
) -> tuple[datetime, int, datetime | None]:
    """Return the last slot <= ``until``, how many there are since ``first``, and what follows."""
    following = _following(trigger, first, now)
    if following is None or following > until:
        return first, 1, following
    last, count = trigger._last_due(first, until)
    following = _following(trigger, last, now)
    if following is not None and following <= until:
        # Too many to be listed, by a trigger that cannot calculate: step over the rest, unless
        # it would begin anew.
        ahead = trigger.get_next_fire_time(None, until + _INSTANT)
        if ahead is None or ahead.astimezone(UTC) > following.astimezone(UTC):
            return _last_until(trigger, following, until), count, ahead
    return last, count, following


def _last_until(trigger: BaseTrigger, slot: datetime, until: datetime) -> datetime:
    """Return the last slot <= ``until``, by asking what comes first from ever later moments on.

    :param slot: a slot that is not after ``until``
    """
    begin, end = slot.astimezone(UTC), until.astimezone(UTC)
    while begin < end:
        middle = end - (end - begin) // 2
        found = trigger.get_next_fire_time(None, middle)
        if found is not None and middle <= found.astimezone(UTC) <= until:
            slot, begin = found, found.astimezone(UTC)
        else:
            end = middle - _INSTANT
    return slot


def _earliest_startable(due: Due, presence: Presence) -> tuple[datetime | None, str]:
    """Return the earliest slot that is still within grace, and why earlier ones are not."""
    grace = cast("int", due.job.misfire_grace_time)
    since, cause = presence.since, presence.cause
    if due.born is not None and due.born > since:
        since, cause = due.born, "it was scheduled for a time that had passed"
    try:
        return since - timedelta(seconds=grace), cause
    except OverflowError:
        return None, ""  # That is longer than the calendar reaches back.


def _record(
    state: RunState,
    now: datetime,
    due: Due,
    site: Site,
    first: datetime,
    last: datetime,
    count: int,
    reason: str | None = None,
    batch: str | None = None,
    definition: Job | None = None,
) -> Run:
    job, run_id = due.job, site.new_id()
    live = state in LIVE_STATES
    # By position throughout: this is made for each fire, and each keyword has its price.
    return Run(
        run_id,
        job.id,
        state,
        SLOT_RUN if live else RunKind.GAP,
        last,
        first,
        now,
        batch or run_id,
        job.name,
        site.jobstore,
        job.executor,
        site.node,
        due.incarnation,
        count,
        1,
        None,
        None,
        None if live else now,
        reason,
        None,
        definition,
    )


def _recovery(
    now: datetime, run: Run, run_id: str, batch: str, delay: timedelta = timedelta(0)
) -> Run:
    return replace(
        run,
        id=run_id,
        batch=batch,
        state=RunState.WAITING,
        kind=RunKind.RECOVERY,
        attempt=run.attempt + 1,
        opened_at=now,
        started_at=None,
        attention_at=now + delay,
    )


def _recovery_delay(attempt: int) -> timedelta:
    return timedelta(seconds=min(RECOVERY_DELAY * 2.0 ** min(attempt - 1, 30), MAX_RECOVERY_DELAY))


def _error_text(outcome: Outcome, error: BaseException) -> str:
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # a user's __str__
        text = type(error).__name__
    # The end of a traceback tells more than its beginning.
    room = max(0, MAX_ERROR_LENGTH - len(text))
    return ((outcome.traceback or "")[-room:] if room else "") + text[:MAX_ERROR_LENGTH]
