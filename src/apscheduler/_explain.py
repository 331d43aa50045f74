"""What became of a slot, in one sentence, from what is on record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from apscheduler.clock import UTC
from apscheduler.runs import JobChange, JobChangeKind, Run, RunKind, RunState
from apscheduler.triggers._asked import trigger_of

if TYPE_CHECKING:
    from apscheduler.job import Job

_REMEDIES = {
    RunState.MISSED: "a longer misfire_grace_time, or None, lets it run late",
    RunState.SKIPPED: "a higher max_instances lets runs overlap",
}

#: Changes that explain nothing of a slot at their own moment.
_BEGINNINGS = (JobChangeKind.ADDED, JobChangeKind.RESUMED)


def explain(
    job_id: str,
    job: Job | None,
    runs: Sequence[Run],
    changes: Sequence[JobChange],
    at: datetime | None,
    now: datetime,
) -> str:
    """Return the fate of a slot of a job, or of its latest one and what is next.

    :param job: the job as it is now, None if it is gone
    :param runs: its Runs on record, the newest first
    :param changes: its changes on record, the oldest first
    :param at: the slot; None for the latest
    """
    if at is None:
        latest = max(
            runs, key=lambda run: (run.scheduled_at.timestamp(), run.attempt), default=None
        )
        told = _tell(latest) if latest else f'Job "{job_id}" has no run on record'
        return f"{told}; {_what_is_next(job, changes, now)}."

    shown, at = _time(at), at.astimezone(UTC)
    answers = [run for run in runs if run.first_scheduled_at <= at <= run.scheduled_at]
    if answers:
        # The last attempt is what became of it; a Run that is about this time alone says more.
        # That somebody asked for a run at this very moment says nothing of the slot.
        answer = max(
            answers,
            key=lambda run: (
                run.kind is not RunKind.MANUAL,
                _is(run.scheduled_at, at),
                run.attempt,
                run.id,
            ),
        )
        return f"{_tell(answer)}."
    return f'Job "{job_id}" has no run for {shown}: {_why_none(job, changes, at, now)}.'


def _tell(run: Run) -> str:
    what = "The manual run" if run.kind is RunKind.MANUAL else "The run"
    subject = f'{what} of job "{run.job_id}" scheduled at {_time(run.scheduled_at)}'
    if run.count > 1:
        subject += f", which stands for {_count(run.count)} run times since "
        subject += f"{_time(run.first_scheduled_at)},"
    if run.attempt > 1:
        subject += f" (attempt {run.attempt})"
    reason = f": {run.reason}" if run.reason else ""
    match run.state:
        case RunState.WAITING:
            return f"{subject} is waiting{_until(run)}"
        case RunState.RUNNING:
            return f"{subject} is running since {_time(run.started_at or run.opened_at)}"
        case RunState.MISSED | RunState.SKIPPED:
            return f"{subject} was {run.state}{reason}; {_REMEDIES[run.state]}"
        case RunState.CANCELLED | RunState.LOST:
            return f"{subject} was {run.state}{reason}"
    end = "succeeded" if run.state is RunState.SUCCEEDED else str(run.state).replace("_", " ")
    cause = _cause(run)
    if run.started_at is None or run.ended_at is None:
        return f"{subject} {end}{cause}"
    late = _duration(run.started_at - run.scheduled_at)
    took = _duration(run.ended_at - run.started_at)
    return f"{subject} started {late} late and {end} after {took}{cause}"


def _cause(run: Run) -> str:
    """Return why a Run ended as it did, without saying it twice."""
    reason = run.reason or ""
    if not run.error or not run.error.strip():
        return f": {reason}" if reason else ""
    error = run.error.splitlines()[-1]
    if reason in run.error:
        return f" with {error}"
    # The text of an exception is at the end of many a reason; its type says more.
    text = error.partition(": ")[2]
    if text and reason.endswith(text):
        return f": {reason.removesuffix(text)}{error}"
    return f" with {error}: {reason}"


def _what_is_next(job: Job | None, changes: Sequence[JobChange], now: datetime) -> str:
    if job is None:
        last = _last(changes, JobChangeKind.REMOVED, JobChangeKind.ADDED)
        if last is not None and last.kind is JobChangeKind.REMOVED:
            return f"the job was removed at {_time(last.at)}"
        return "the job is gone: its schedule ended, or all jobs were removed"
    if not hasattr(job, "next_run_time"):
        return "the job is pending until the scheduler starts"
    next_run_time = job.next_run_time
    if next_run_time is None:
        return _why_not_scheduled(changes)
    if next_run_time <= now:
        return f"the next one has been due since {_time(next_run_time)}"
    return f"the next one is due at {_time(next_run_time)}"


def _why_not_scheduled(changes: Sequence[JobChange]) -> str:
    last = _last(
        changes,
        JobChangeKind.EXHAUSTED,
        JobChangeKind.PAUSED,
        JobChangeKind.ADDED,
        JobChangeKind.REMOVED,
    )
    if last is not None and last.kind is JobChangeKind.EXHAUSTED:
        return "its trigger is exhausted"
    if last is not None and last.kind is JobChangeKind.PAUSED:
        return f"the job is paused since {_time(last.at)}"
    return "the job is paused"


def _why_none(job: Job | None, changes: Sequence[JobChange], at: datetime, now: datetime) -> str:
    next_run_time: datetime | None = getattr(job, "next_run_time", None)
    fires, following = False, None
    if job is not None and next_run_time is not None:
        fires, following = _whether_it_fires(job, next_run_time, at)
        if fires and at >= next_run_time:
            # Whatever was changed before, that is how it is now.
            if at > now:
                return "that time is still to come"
            return "it is due, and waits for the scheduler"
    before = [change for change in changes if change.at <= at]
    after = [change for change in changes if change.at > at]
    # What the changes had made of the job by then: the last of those that still hold.
    ruling = [c for c in before if c.kind is not JobChangeKind.MODIFIED or c.next_run_time]
    if ruling:
        kind, since = ruling[-1].kind, _time(ruling[-1].at)
        if kind is JobChangeKind.PAUSED:
            return f"the job was paused at {since}{_resumed(after)}"
        # A job that was added together with many others need not have a note of that.
        is_back = job is not None and not _last(after, JobChangeKind.ADDED)
        if kind is JobChangeKind.REMOVED and not is_back:
            return f"the job was removed at {since}"
        if kind is JobChangeKind.EXHAUSTED:
            return "its trigger was exhausted"
    # At the moment of a change itself, too, a slot may have been planned.
    at_once = [c for c in before if _is(c.at, at) and c.kind not in _BEGINNINGS]
    if after or at_once:
        return _why_not_after(after[0] if after else at_once[-1])
    if job is None:
        return "the job does not exist, and nothing that old is on record"
    if not hasattr(job, "next_run_time"):
        return "the job is pending until the scheduler starts"
    if next_run_time is None:
        return _why_not_scheduled(changes)
    if not fires:
        then = f"; the next one is {_time(following)}" if following else ""
        return f"its trigger does not fire then{then}"
    if at > now:
        return f"the job does not run before {_time(next_run_time)}"
    return "that was before the job was added, or longer ago than records are kept"


def _why_not_after(change: JobChange) -> str:
    """Return why there is no run for a time before a change."""
    when = _time(change.at)
    match change.kind:
        case JobChangeKind.ADDED:
            return f"the job was added at {when}"
        case JobChangeKind.RESUMED:
            return f"the job was paused until it was resumed at {when}"
        case JobChangeKind.REMOVED:
            return f"the job was removed at {when}, before a run for that time began"
    return f"the job was {change.kind} at {when}, after that time had been planned"


def _whether_it_fires(
    job: Job, next_run_time: datetime, at: datetime
) -> tuple[bool, datetime | None]:
    """Tell whether a job has a slot at a moment, and which one follows if it has not."""
    trigger = trigger_of(job)
    if at >= next_run_time:
        last, _ = trigger._last_due(next_run_time, at)
        following = trigger.get_next_fire_time(last, at)
        if _is(last, at) or following is None or following.timestamp() > at.timestamp():
            return _is(last, at), following
        # Those between are too many to be listed.
    following = trigger.get_next_fire_time(None, at)
    return following is not None and _is(following, at), following


def _resumed(after: Sequence[JobChange]) -> str:
    for change in after:
        if change.kind is JobChangeKind.REMOVED:
            break
        if change.kind is JobChangeKind.RESUMED or change.next_run_time is not None:
            return f" and resumed at {_time(change.at)}"
    return ""


def _last(changes: Sequence[JobChange], *kinds: JobChangeKind) -> JobChange | None:
    return next((change for change in reversed(changes) if change.kind in kinds), None)


def _is(moment: datetime, at: datetime) -> bool:
    # Two times of different zones are never equal where the wall clock of one is set back.
    return moment.timestamp() == at.timestamp()


def _until(run: Run) -> str:
    return f" until {_time(run.attention_at)}" if run.attention_at else " for its batch"


def _count(count: int) -> str:
    return f"{count:,}" if count != 1000 else "at least 1,000"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S %Z}"


def _duration(delta: timedelta) -> str:
    seconds = max(delta.total_seconds(), 0.0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))
